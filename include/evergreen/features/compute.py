"""Feature and label SQL, run by DuckDB over exactly the rows that a window may know.

The query sees one view a declared source, named like it, with the declared columns. The view holds each key once, in the
newest version known by the window's end, and of those the rows whose event time lies in the window. Times are UTC, without a
zone. Nothing else is in reach (`spec.query`): no file, no network, no extension, no clock.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from evergreen.errors import PermanentError
from evergreen.features.rules import Window
from evergreen.lake import tables
from evergreen.lake.schema import RAW
from evergreen.quoting import shown
from evergreen.spec import files
from evergreen.spec import query as queries
from evergreen.spec.asking import EveryInterval, OnRequest
from evergreen.spec.columns import EVENT, KNOWN_AT, PARTITION
from evergreen.spec.kinds import KINDS, KindName
from evergreen.spec.schema import ModelSpec, Source

TIMESTAMP = KINDS["timestamp"].stored()
_LEAK_PROBES = 3  # moments of a day at which requests are replayed without what came later
_MINUTES = 20  # a query may take; the task that runs it has 30


def features(spec: ModelSpec, view: str, window: Window) -> pa.Table:
    """The rows of one feature partition: key, features as declared, event_timestamp = known_at = as_of, partition."""
    declared, entity = spec.features[view], spec.entity_of(view)
    as_of, file = window.interval.as_of, spec.view_sql(view)
    doing = f"computing {spec.model}/{view} of {window.partition}"
    with _opened(spec, declared.sources, window) as tables_of:
        result = _result(tables_of, file, {"as_of": as_of}, doing)
    result = _checked(result, entity.key, {entity.key: entity.type, **declared.features}, file, doing)
    return _stamped(result, window.partition, event_timestamp=as_of, known_at=as_of)


def labels(spec: ModelSpec, window: Window) -> tuple[pa.Table, int]:
    """The rows of one label partition: what a prediction was asked with, what came of it, and when that was known.

    Returns:
        keys, inputs of the request, label, event_timestamp (the moment of the prediction: the cutoff, or the request's own),
        known_at = cutoff + horizon, partition; and how many requests have no outcome, and so no row.
    """
    cutoff, name, key, file = window.interval.as_of, spec.label.name, spec.entity.key, spec.label_sql()
    doing = f"computing the label {spec.model}/{name} of {window.partition}"
    seen = dataclasses.replace(window, start=window.interval.start)  # a request's query may look back further
    with _opened(spec, spec.label.sources, seen) as tables_of:
        result = _result(tables_of, file, {"cutoff": cutoff, "horizon_end": window.end}, doing)
    position = result.schema.get_field_index(name)
    if position >= 0 and pa.types.is_boolean(result.schema.field(position).type):
        result = result.set_column(position, name, result[name].cast(pa.int64()))
    problem = spec.problem
    result = _checked(result, key, {key: spec.entity.type, name: problem.stored}, file, doing)
    values = problem.values
    allowed = pc.is_finite(result[name]) if values is None else pc.is_in(result[name], pa.array(values))
    wrong = pc.unique(result[name].filter(pc.invert(pc.fill_null(allowed, False))))
    if len(wrong):
        raise _wrong_query(
            file,
            doing,
            f"`{name}` is {_listed(wrong.to_pylist())}",
            f"{problem.described}, never null; leave out what has no outcome",
        )
    if isinstance(spec.asking, EveryInterval):
        return _stamped(result, window.partition, event_timestamp=cutoff, known_at=window.end), 0
    asked = requests(spec.asking, window)
    unasked = sorted(set(result[key].to_pylist()) - set(asked[key].to_pylist()))
    if unasked:
        raise _wrong_query(
            file,
            doing,
            f"{len(unasked)} outcomes without a request: {_listed(unasked)}",
            f"a `{key}` that {spec.asking.file} returns",
        )
    joined = (
        asked.join(result, key, join_type="inner").sort_by(key).select([*spec.keys, *spec.asking.inputs, name, EVENT])
    )
    return _stamped(joined, window.partition, known_at=window.end), asked.num_rows - joined.num_rows


def requests(asking: OnRequest, window: Window) -> pa.Table:
    """The requests of an interval as history has them: keys, event_timestamp (when it was asked), inputs.

    Raises:
        PermanentError: the query does not return what is declared, or its inputs depend on rows from after the request.
    """
    spec, file, expected, interval = asking.spec, asking.file, asking.columns, window.interval
    key = spec.entity.key
    doing = f"replaying the requests of {spec.model} of {window.partition}"
    parameters = {"start": interval.start, "end": interval.end}
    seen = dataclasses.replace(window, start=interval.start - asking.look_back, end=max(interval.end, window.end))
    with _opened(spec, asking.sources, seen, outcome=False) as tables_of:
        found = _checked(_result(tables_of, file, parameters, doing), key, expected, file, doing)
        moments = found[EVENT]
        if moments.null_count:
            raise _wrong_query(
                file, doing, f"{moments.null_count} rows without {EVENT}", f"the moment of the request as {EVENT}"
            )
        bounds = pc.min_max(moments).as_py()
        earliest = interval.start - asking.longest_lead
        if found.num_rows and not earliest <= bounds["min"] <= bounds["max"] <= interval.end:
            raise _wrong_query(
                file,
                doing,
                f"requests from {bounds['min']} to {bounds['max']}",
                f"requests from {earliest} to {interval.end}, of this interval",
            )
        ordered, others = sorted(set(moments.to_pylist())), asking.sources[1:]
        probed = (
            {ordered[len(ordered) * n // _LEAK_PROBES] for n in range(_LEAK_PROBES)} if ordered and others else set()
        )
        for moment in probed:
            for source in others:
                tables_of.cut(source, moment)
            then = _checked(_result(tables_of, file, parameters, doing), key, expected, file, doing)
            known, then = (
                table.filter(pc.equal(table[EVENT], pa.scalar(moment, TIMESTAMP))) for table in (found, then)
            )
            if not known.equals(then):
                raise _wrong_query(
                    file, doing, f"the inputs at {moment} change when rows after it are taken away from {', '.join(others)}",
                    "inputs that were known when the prediction was asked for",
                )  # fmt: skip
    return found


class _Tables:
    """The newest known rows of sources, as tables of a connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, spec: ModelSpec, rows: Mapping[str, pa.Table]) -> None:
        self.connection = connection
        self.spec = spec
        self._rows = rows
        for source, table in rows.items():
            connection.register(source, table)

    @property
    def sources(self) -> Collection[str]:
        return self._rows.keys()

    def cut(self, source: str, moment: datetime) -> None:
        """Leave out the rows of a source from after a moment."""
        rows = self._rows[source]
        at = rows[self.spec.sources[source].event_time]
        self.connection.register(source, rows.filter(pc.less_equal(at, pa.scalar(_naive(moment), at.type))))

    def __str__(self) -> str:
        return ", ".join(f"{source}({', '.join(table.column_names)})" for source, table in self._rows.items())


@contextmanager
def _opened(spec: ModelSpec, sources: Sequence[str], window: Window, *, outcome: bool = True) -> Iterator[_Tables]:
    """The window's rows of sources; without `outcome`, columns that are known only afterwards are not there."""
    bounds = {"start": _naive(window.start), "stop": _naive(window.end)}
    with queries.connected() as connection:
        rows = {}
        for source in sources:
            declared = spec.sources[source]
            connection.register(f"_{source}", _raw(spec, source, window.days))
            keys = ", ".join(map(_quoted, declared.keys))
            unidentified = " or ".join(f"{_quoted(key)} is null" for key in declared.keys)
            columns = ", ".join(_known(declared, name) for name in declared.visible(outcome=outcome))
            # The newest known version of a key counts even where it moved the event out of the window: so rank first.
            # A row without a complete key is the version of no other, as for quarantine.
            rows[source] = connection.sql(
                f"select {columns} from (select *, row_number() over (partition by {keys} order by known_at desc) as _rank"
                f" from {_quoted('_' + source)} where known_at <= $stop)"
                f" where (_rank = 1 or {unidentified}) and {_quoted(declared.event_time)} >= $start and {_quoted(declared.event_time)} < $stop",
                params=bounds,
            ).to_arrow_table()
            connection.unregister(f"_{source}")
        yield _Tables(connection, spec, rows)


def _result(tables_of: _Tables, file: Path, parameters: Mapping[str, datetime], doing: str) -> pa.Table:
    """What a file's one SELECT returns."""
    connection = tables_of.connection
    text = files.query(tables_of.spec, file)
    try:
        for refusal in queries.refusals(text, tables_of.sources, parameters):
            raise _wrong_query(file, doing, refusal.found, f"{refusal.allowed} ({refusal.fix})")
        (statement,) = connection.extract_statements(text)
        used = {name: _naive(moment) for name, moment in parameters.items() if name in statement.named_parameters}
        with queries.interrupted_after(connection, 60 * _MINUTES):
            return connection.sql(statement, params=used).to_arrow_table()
    except duckdb.InterruptException as error:
        raise _wrong_query(file, doing, f"no result after {_MINUTES} minutes", "a query that ends sooner") from error
    except duckdb.Error as error:
        raise _wrong_query(
            file, doing, f"{type(error).__name__}: {error}".strip(), f"a query over {tables_of}"
        ) from error


def _known(source: Source, column: str) -> str:
    """A column of the newest rows; an outcome is null as long as it is not known."""
    if column not in source.outcome:
        return _quoted(column)
    hours = source.outcome[column] // timedelta(hours=1)
    return f"case when {_quoted(source.event_time)} + interval {hours} hour <= $stop then {_quoted(column)} end as {_quoted(column)}"


def _raw(spec: ModelSpec, source: str, days: Sequence[str]) -> pa.Table:
    """The published rows of a source's days, with the declared columns and types, and known_at; times lose their zone."""
    columns = {name: KINDS[kind].queried() for name, kind in spec.sources[source].columns.items()}
    columns[KNOWN_AT] = KINDS["timestamp"].queried()
    stored = tables.read(RAW.of(spec.model, source), partitions=list(days)) if days else None
    if stored is None:
        return pa.schema(columns.items()).empty_table()
    # A column that was declared later is missing from a table whose partitions are all older.
    missing = pa.nulls(stored.num_rows)
    return pa.table({
        name: (stored[name] if name in stored.column_names else missing).cast(kind) for name, kind in columns.items()
    })  # fmt: skip


def _checked(result: pa.Table, key: str, expected: Mapping[str, KindName], file: Path, doing: str) -> pa.Table:
    """The result with the expected types and order, sorted by key.

    Raises:
        PermanentError: other columns than expected, a value that does not fit its type, a key that is null or repeated.
    """
    if sorted(result.column_names) != sorted(expected):
        raise _wrong_query(file, doing, f"columns {', '.join(result.column_names)}", f"columns {', '.join(expected)}")
    columns = {}
    for name, kind in expected.items():
        found = result[name].type
        if not KINDS[kind].returned(found):
            raise _wrong_query(file, doing, f"`{name}` is {found}", f"{kind}, as the spec declares it")
        try:
            columns[name] = KINDS[kind].of_result(result[name])
        except pa.ArrowInvalid as error:
            raise _wrong_query(
                file, doing, f"`{name}` is {found}: {error}", f"{kind}, as the spec declares it"
            ) from error
    table = pa.table(columns).sort_by(key)
    if table[key].null_count:
        raise _wrong_query(file, doing, f"{table[key].null_count} rows without `{key}`", "a key in every row")
    repeated = [row["values"] for row in table[key].value_counts().to_pylist() if row["counts"] > 1]
    if repeated:
        raise _wrong_query(
            file,
            doing,
            f"{len(repeated)} values of `{key}` more than once: {_listed(repeated)}",
            f"one row per `{key}`",
        )
    return table


def _stamped(table: pa.Table, partition: str, **moments: datetime) -> pa.Table:
    """The rows with a column for each moment, and `partition`."""
    for name, moment in moments.items():
        table = table.append_column(name, pa.repeat(pa.scalar(moment, TIMESTAMP), table.num_rows))
    return table.append_column(PARTITION, pa.repeat(pa.scalar(partition), table.num_rows))


def _wrong_query(file: Path, doing: str, found: str, expected: str) -> PermanentError:
    return PermanentError(
        f"{doing} by {file}", found=found, expected=expected, next_step=f"correct {file}, then clear this task"
    )


def _listed(values: Sequence[object]) -> str:
    """The first of some values of the data, as a message shows them."""
    return ", ".join(map(shown, values[:5])) + (", …" if len(values) > 5 else "")


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
