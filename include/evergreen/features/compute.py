"""Feature and label SQL, run by DuckDB over exactly the rows that a window may know.

The query sees one view a declared source, named like it, with the declared columns. The view holds each key once, in the
newest version known by the window's end, and of those the rows whose event time lies in the window. Times are UTC, without a
zone. Nothing else is in reach: no file, no network, no extension.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from evergreen.errors import PermanentError
from evergreen.features.rules import Window
from evergreen.lake import tables
from evergreen.spec.schema import ModelSpec, Source

TIMESTAMP = pa.timestamp("us", tz="UTC")
_COLUMN_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(),
    "timestamp": pa.timestamp("us"), "date": pa.date32(),
}  # fmt: skip
# What a declared type is stored as, and which types of the query's result may become it without loss.
_RESULT_TYPES: dict[str, tuple[pa.DataType, Callable[[pa.DataType], bool]]] = {
    "int": (pa.int64(), lambda t: pa.types.is_integer(t) or pa.types.is_decimal(t) or pa.types.is_floating(t)),
    "float": (pa.float64(), lambda t: pa.types.is_floating(t) or pa.types.is_integer(t) or pa.types.is_decimal(t)),
    "bool": (pa.bool_(), pa.types.is_boolean),
    "category": (
        pa.string(),
        lambda t: pa.types.is_string(t) or pa.types.is_large_string(t) or pa.types.is_dictionary(t),
    ),
    "string": (pa.string(), lambda t: pa.types.is_string(t) or pa.types.is_large_string(t)),
    "timestamp": (TIMESTAMP, pa.types.is_timestamp),
}
EVENT = "event_timestamp"
_LONGEST_LEAD = timedelta(days=1)  # a request is made at most so long before the interval that its row belongs to
_LEAK_PROBES = 3  # moments of a day at which requests are replayed without what came later
_INSTANT = timedelta(microseconds=1)
_OPTIONS: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,  # with more, a float sum depends on timing, and the same inputs would not give the same bytes
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "python_enable_replacements": False,  # a misspelt source must not find a Python variable
}


def features(spec: ModelSpec, view: str, window: Window) -> pa.Table:
    """The rows of one feature partition: key, features as declared, event_timestamp = known_at = as_of, partition."""
    declared, entity = spec.features[view], spec.entity_of(view)
    as_of, file = window.interval.as_of, spec.view_sql(view)
    doing = f"computing {spec.model}/{view} of {window.partition}"
    result = _query(spec, declared.sources, window, file, {"as_of": as_of}, doing)
    result = _checked(result, entity.key, {entity.key: entity.type, **declared.features}, file, doing)
    return _stamped(result, as_of, as_of, window.partition)


def labels(spec: ModelSpec, window: Window) -> tuple[pa.Table, int]:
    """The rows of one label partition: what a prediction was asked with, what came of it, and when that was known.

    Returns:
        keys, inputs of the request, label, event_timestamp (the moment of the prediction: the cutoff, or the request's own),
        known_at = cutoff + horizon, partition; and how many requests have no outcome, and so no row.
    """
    cutoff, name, key, file = window.interval.as_of, spec.label.name, spec.entity.key, spec.label_sql()
    doing = f"computing the label {spec.model}/{name} of {window.partition}"
    seen = dataclasses.replace(window, start=window.interval.start)  # a request's query may look back further
    result = _query(spec, spec.label.sources, seen, file, {"cutoff": cutoff, "horizon_end": window.end}, doing)
    position = result.schema.get_field_index(name)
    if position >= 0 and pa.types.is_boolean(result.schema.field(position).type):
        result = result.set_column(position, name, result[name].cast(pa.int64()))
    kind = "int" if spec.label.type == "binary" else "float"
    result = _checked(result, key, {key: spec.entity.type, name: kind}, file, doing)
    allowed = pc.is_in(result[name], pa.array([0, 1])) if spec.label.type == "binary" else pc.is_finite(result[name])
    wrong = pc.unique(result[name].filter(pc.invert(pc.fill_null(allowed, False))))
    if len(wrong):
        expected = "0 or 1 (or true, false)" if spec.label.type == "binary" else "a number"
        shown = ", ".join(map(str, wrong.to_pylist()[:5]))
        raise _wrong_query(
            file, doing, f"`{name}` is {shown}", f"{expected}, never null; leave out what has no outcome"
        )
    if spec.request is None:
        return _stamped(result, cutoff, window.end, window.partition), 0
    asked = requests(spec, window)
    unasked = sorted(set(result[key].to_pylist()) - set(asked[key].to_pylist()))
    if unasked:
        shown = ", ".join(map(str, unasked[:5]))
        raise _wrong_query(
            file,
            doing,
            f"{len(unasked)} outcomes without a request: {shown}",
            f"a `{key}` that {spec.request_sql()} returns",
        )
    moments = asked[EVENT]
    joined = asked.drop_columns([EVENT]).append_column(EVENT, moments).join(result, key, join_type="inner").sort_by(key)
    joined = joined.select([*spec.keys, *spec.request.inputs, name, EVENT])
    stamped = joined.append_column("known_at", pa.repeat(pa.scalar(window.end, TIMESTAMP), joined.num_rows))
    stamped = stamped.append_column("partition", pa.repeat(pa.scalar(window.partition), joined.num_rows))
    return stamped, asked.num_rows - joined.num_rows


def requests(spec: ModelSpec, window: Window) -> pa.Table:
    """The requests of an interval as history has them: keys, event_timestamp (when it was asked), inputs.

    Raises:
        PermanentError: the query does not return what is declared, or its inputs depend on rows from after the request.
    """
    declared, file, key = spec.request, spec.request_sql(), spec.entity.key
    assert declared is not None
    interval = window.interval
    doing = f"replaying the requests of {spec.model} of {window.partition}"
    parameters = {"start": interval.start, "end": interval.end}
    seen = dataclasses.replace(window, start=interval.start - declared.look_back, end=max(interval.end, window.end))

    def replayed(until: datetime | None) -> pa.Table:
        hidden = {name: list(spec.sources[name].outcome) for name in declared.sources}
        late = {} if until is None else dict.fromkeys(declared.sources[1:], until)
        result = _query(spec, declared.sources, seen, file, parameters, doing, hidden=hidden, until=late)
        expected = {**spec.keys, EVENT: "timestamp", **declared.inputs}
        return _checked(result, key, expected, file, doing)

    found = replayed(None)
    moments = found[EVENT]
    if moments.null_count:
        raise _wrong_query(
            file, doing, f"{moments.null_count} rows without {EVENT}", f"the moment of the request as {EVENT}"
        )
    bounds = pc.min_max(moments).as_py()
    earliest = interval.start - _LONGEST_LEAD
    if found.num_rows and not earliest <= bounds["min"] <= bounds["max"] <= interval.end:
        raise _wrong_query(
            file,
            doing,
            f"requests from {bounds['min']} to {bounds['max']}",
            f"requests from {earliest} to {interval.end}, of this interval",
        )
    if len(declared.sources) > 1:
        ordered = sorted(set(moments.to_pylist()))
        for moment in {ordered[len(ordered) * n // _LEAK_PROBES] for n in range(_LEAK_PROBES)} if ordered else ():
            known, then = (
                table.filter(pc.equal(table[EVENT], pa.scalar(moment, TIMESTAMP)))
                for table in (found, replayed(moment))
            )
            if not known.equals(then):
                raise _wrong_query(
                    file, doing, f"the inputs at {moment} change when rows after it are taken away from {', '.join(declared.sources[1:])}",
                    "inputs that were known when the prediction was asked for",
                )  # fmt: skip
    return found


def _query(
    spec: ModelSpec,
    sources: Sequence[str],
    window: Window,
    file: Path,
    parameters: Mapping[str, datetime],
    doing: str,
    *,
    hidden: Mapping[str, Sequence[str]] | None = None,
    until: Mapping[str, datetime] | None = None,
) -> pa.Table:
    """The query's result over the window's rows of its sources; `hidden` columns are not there, nor rows after `until`."""
    with duckdb.connect(config=_OPTIONS) as connection:
        for source in sources:
            declared = spec.sources[source]
            stop = min(window.end, (until or {}).get(source, window.end) + _INSTANT)
            bounds = {"start": _naive(window.start), "stop": _naive(stop), "known": _naive(window.end)}
            connection.register(f"_{source}", _raw(spec, source, window.days))
            keys = ", ".join(map(_quoted, declared.keys))
            visible = [name for name in declared.columns if name not in (hidden or {}).get(source, ())]
            columns = ", ".join(_known(declared, name) for name in visible)
            # The newest known version of a key counts even where it moved the event out of the window: so rank first.
            newest = connection.sql(
                f"select {columns} from (select *, row_number() over (partition by {keys} order by known_at desc) as _rank"
                f" from {_quoted('_' + source)} where known_at <= $known)"
                f" where _rank = 1 and {_quoted(declared.event_time)} >= $start and {_quoted(declared.event_time)} < $stop",
                params=bounds,
            ).to_arrow_table()
            connection.unregister(f"_{source}")
            connection.register(source, newest)
        try:
            statements = connection.extract_statements(file.read_text(encoding="utf-8"))
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                kinds = ", ".join(statement.type.name for statement in statements) or "nothing"
                raise _wrong_query(file, doing, f"the file holds {kinds}", "one SELECT")
            unknown = statements[0].named_parameters - set(parameters)
            if unknown:
                names = ", ".join(f"${name}" for name in sorted(unknown))
                raise _wrong_query(
                    file, doing, f"unknown parameters {names}", ", ".join(f"${name}" for name in parameters)
                )
            used = {
                name: _naive(moment) for name, moment in parameters.items() if name in statements[0].named_parameters
            }
            return connection.sql(statements[0], params=used).to_arrow_table()
        except (duckdb.Error, OSError, UnicodeDecodeError) as error:
            shown = {
                name: [c for c in spec.sources[name].columns if c not in (hidden or {}).get(name, ())]
                for name in sources
            }
            seen = ", ".join(f"{source}({', '.join(columns)})" for source, columns in shown.items())
            raise _wrong_query(
                file, doing, f"{type(error).__name__}: {error}".strip(), f"a query over {seen}"
            ) from error


def _known(source: Source, column: str) -> str:
    """A column of the newest rows; an outcome is null as long as it is not known."""
    if column not in source.outcome:
        return _quoted(column)
    hours = source.outcome[column] // timedelta(hours=1)
    return f"case when {_quoted(source.event_time)} + interval {hours} hour <= $known then {_quoted(column)} end as {_quoted(column)}"


def _raw(spec: ModelSpec, source: str, days: Sequence[str]) -> pa.Table:
    """The published rows of a source's days, with the declared columns and types, and known_at; times lose their zone."""
    columns = {name: _COLUMN_TYPES[kind] for name, kind in spec.sources[source].columns.items()} | {
        "known_at": pa.timestamp("us")
    }
    stored = tables.read(spec.model, "raw", source, partitions=list(days)) if days else None
    if stored is None:
        return pa.schema(columns.items()).empty_table()
    # A column that was declared later is missing from a table whose partitions are all older.
    missing = pa.nulls(stored.num_rows)
    return pa.table({
        name: (stored[name] if name in stored.column_names else missing).cast(kind) for name, kind in columns.items()
    })  # fmt: skip


def _checked(result: pa.Table, key: str, expected: Mapping[str, str], file: Path, doing: str) -> pa.Table:
    """The result with the expected types and order, sorted by key.

    Raises:
        PermanentError: other columns than expected, a value that does not fit its type, a key that is null or repeated.
    """
    if sorted(result.column_names) != sorted(expected):
        raise _wrong_query(file, doing, f"columns {', '.join(result.column_names)}", f"columns {', '.join(expected)}")
    columns = {}
    for name, kind in expected.items():
        stored, fits = _RESULT_TYPES[kind]
        column, found = result[name], result[name].type
        if pa.types.is_floating(found):  # 0/0 is missing; NaN in Arrow would pass for a value
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, found), column)
        if not fits(found) and not pa.types.is_null(found):
            raise _wrong_query(file, doing, f"`{name}` is {found}", f"{kind}, as the spec declares it")
        try:
            columns[name] = column.cast(stored)
        except pa.ArrowInvalid as error:
            raise _wrong_query(
                file, doing, f"`{name}` is {found}: {error}", f"{kind}, as the spec declares it"
            ) from error
    table = pa.table(columns).sort_by(key)
    if table[key].null_count:
        raise _wrong_query(file, doing, f"{table[key].null_count} rows without `{key}`", "a key in every row")
    repeated = [row["values"] for row in table[key].value_counts().to_pylist() if row["counts"] > 1]
    if repeated:
        shown = ", ".join(map(str, repeated[:5]))
        raise _wrong_query(
            file, doing, f"{len(repeated)} values of `{key}` more than once: {shown}", f"one row per `{key}`"
        )
    return table


def _stamped(table: pa.Table, event_timestamp: datetime, known_at: datetime, partition: str) -> pa.Table:
    rows = table.num_rows
    return (
        table.append_column("event_timestamp", pa.repeat(pa.scalar(event_timestamp, TIMESTAMP), rows))
        .append_column("known_at", pa.repeat(pa.scalar(known_at, TIMESTAMP), rows))
        .append_column("partition", pa.repeat(pa.scalar(partition), rows))
    )


def _wrong_query(file: Path, doing: str, found: str, expected: str) -> PermanentError:
    return PermanentError(
        f"{doing} by {file}", found=found, expected=expected, next_step=f"correct {file}, then clear this task"
    )


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
