"""Feature and label SQL over exactly the rows that a span may know: `spec.runner` over the lake."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from evergreen.features import due, own_moments, rules
from evergreen.features.own_moments import wrong_query
from evergreen.features.rules import Span
from evergreen.lake import tables
from evergreen.lake.schema import RAW, Partition
from evergreen.quoting import listed
from evergreen.settings import settings
from evergreen.spec import files
from evergreen.spec.asking import EveryInterval, OnRequest
from evergreen.spec.columns import EVENT, KNOWN_AT, PARTITION
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.durations import duration_text
from evergreen.spec.keyed import keys_of
from evergreen.spec.kinds import KINDS
from evergreen.spec.lent import lent_to_query
from evergreen.spec.runner import Query, QueryRefused, Tables, opened, schema
from evergreen.spec.schema import ModelSpec

TIMESTAMP = KINDS["timestamp"].stored()
_LEAK_PROBES = 3  # moments of an interval at which requests are replayed without what came later
RowsInstead = Mapping[Partition, pa.Table]  # the rows of raw partitions as they would be, were they published
NOTHING: RowsInstead = MappingProxyType({})
_MINUTES = 20  # a query may take; the task that runs it has 30


def features(spec: DatasetSpec, view: str, span: Span, instead: RowsInstead = NOTHING) -> pa.Table:
    """The rows of one feature partition: key, features as declared, event_timestamp = known_at = as_of, partition.

    Args:
        instead: the rows of raw partitions that are read in place of the published ones.
    """
    query, as_of = Query.of_view(spec, view), span.interval.as_of
    doing = f"computing {spec.name}/{view} of {span.partition}"
    with _opened(query, span, span.known_at, instead) as tables_of:
        result = _result(tables_of, {"as_of": as_of}, doing)
    return _stamped(result, span.partition, event_timestamp=as_of, known_at=as_of)


def labels(spec: ModelSpec, span: Span, instead: RowsInstead = NOTHING) -> tuple[pa.Table, int]:
    """The rows of one label partition: what a prediction was asked with, what came of it, and when that was known.

    Args:
        instead: the rows of raw partitions that are read in place of the published ones.

    Returns:
        keys, inputs of the request, label, event_timestamp (the moment of the prediction: the cutoff, or the request's
        own), known_at (when the interval that cutoff + horizon lies in is over; with `label.known` the outcome's own
        moment, and null with a null label while it is open), partition; and how many predictions have no outcome:
        requests that the label's query leaves out, or what it leaves out of an interval because an outcome is still
        open.

    Raises:
        PermanentError: the query does not return what is declared, has an outcome without a request, takes an
            outcome that is still open for one that is known, or says that one was known before it was.
    """
    query, cutoff, name, keys = Query.of_label(spec), span.interval.as_of, spec.label.name, [*spec.entity.columns]
    file = query.file
    doing = f"computing the label {spec.model}/{name} of {span.partition}"
    seen = dataclasses.replace(span, start=span.interval.start)  # a request's query may look back further
    with _opened(query, seen, span.known_at, instead) as tables_of:
        moments = {"cutoff": cutoff, "horizon_end": span.end}
        result = _result(tables_of, moments, doing)
        still_open = _still_open(tables_of, result, span.end, moments, doing)
    known = spec.label.known
    outcomes = result if known is None else own_moments.decided(query, result, cutoff, span.end, doing)
    problem = spec.problem
    values = problem.values
    allowed = pc.is_finite(outcomes[name]) if values is None else pc.is_in(outcomes[name], pa.array(values))
    wrong = pc.unique(outcomes[name].filter(pc.invert(pc.fill_null(allowed, False))))
    if len(wrong):
        raise wrong_query(
            file,
            doing,
            f"`{name}` is {listed(wrong.to_pylist())}",
            f"{problem.described}, never null; leave out what has no outcome",
        )
    if (weight := spec.label.weight) is not None:
        _check_weights(outcomes[weight], file, doing, weight)
    if known is not None:
        for moment in own_moments.probed(outcomes):
            then = dataclasses.replace(seen, end=moment, known_at=moment)
            with _opened(query, then, span.known_at, instead) as tables_of:
                early = _result(tables_of, {"cutoff": cutoff, "horizon_end": moment}, doing)
            own_moments.held(query, outcomes, early, moment, doing)
    if isinstance(spec.asking, EveryInterval):
        if known is not None:
            rows = own_moments.with_open(result.select(keys), outcomes, keys)
            return _stamped(rows, span.partition, event_timestamp=cutoff), still_open + rows[KNOWN_AT].null_count
        return _stamped(result, span.partition, event_timestamp=cutoff, known_at=span.known_at), still_open
    # What a later batch says of a request was not known when it was asked.
    asked = span if known is None else dataclasses.replace(span, end=cutoff, known_at=span.written_at)
    requested = requests(spec.asking, asked, instead)
    unasked = sorted({*keys_of(keys, result)} - {*keys_of(keys, requested)})
    if unasked:
        raise wrong_query(
            file,
            doing,
            f"{len(unasked)} outcomes without a request: {listed(unasked)}",
            f"a `{spec.entity.named}` that {spec.asking.file} returns",
        )
    columns = [*spec.keys, *spec.asking.inputs, name, *([] if weight is None else [weight]), EVENT]
    if known is not None:
        rows = own_moments.with_open(requested, outcomes, keys).select([*columns, KNOWN_AT])
        return _stamped(rows, span.partition), rows[KNOWN_AT].null_count
    joined = requested.join(result, keys, join_type="inner")
    joined = joined.sort_by([(key, "ascending") for key in keys]).select(columns)
    return _stamped(joined, span.partition, known_at=span.known_at), requested.num_rows - joined.num_rows


def _check_weights(weights: pa.ChunkedArray, file: Path, doing: str, name: str) -> None:
    if missing := weights.null_count:
        raise wrong_query(file, doing, f"`{name}` is null in {missing} rows", "a weight in every row: 0 or more")
    if wrong := weights.filter(pc.less(weights, 0)).unique().to_pylist():
        raise wrong_query(file, doing, f"`{name}` is {listed(wrong)}", "a weight of 0 or more")


def requests(asking: OnRequest, span: Span, instead: RowsInstead = NOTHING) -> pa.Table:
    """The requests of an interval as history has them: keys, event_timestamp (when it was asked), inputs.

    Raises:
        PermanentError: the query does not return what is declared, or its inputs depend on rows from after the request.
    """
    spec, file, interval = asking.spec, asking.file, span.interval
    doing = f"replaying the requests of {spec.model} of {span.partition}"
    parameters = {"start": interval.start, "end": interval.end}
    seen = dataclasses.replace(span, start=spec.calendar.earlier(interval.start, asking.look_back))
    # A version that a run of the interval found may not have been there yet when the requests came.
    with _opened(Query.of_requests(asking), seen, interval.start, instead) as tables_of:
        replayed = _result(tables_of, parameters, doing)
        moments = replayed[EVENT]
        if moments.null_count:
            raise wrong_query(
                file, doing, f"{moments.null_count} rows without {EVENT}", f"the moment of the request as {EVENT}"
            )
        bounds = pc.min_max(moments).as_py()
        earliest = interval.start - asking.longest_lead
        if replayed.num_rows and not earliest <= bounds["min"] <= bounds["max"] <= interval.end:
            raise wrong_query(
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
            then = _result(tables_of, parameters, doing)
            known, then = (
                table.filter(pc.equal(table[EVENT], pa.scalar(moment, TIMESTAMP))) for table in (replayed, then)
            )
            if not known.equals(then):
                raise wrong_query(
                    file,
                    doing,
                    f"the inputs at {moment} change when rows after it are taken away from {', '.join(others)}",
                    "inputs that were known when the prediction was asked for",
                )
    return replayed


def _still_open(
    tables_of: Tables, result: pa.Table, until: datetime, moments: Mapping[str, datetime], doing: str
) -> int:
    """How many rows a label's query leaves out because an outcome is not known at the span's end.

    What an outcome will be must not matter to the rows that the query returns, or one that is still open was taken for
    one that is known: `count(*) filter (where refunded)` takes it for no. So open outcomes are given the least value
    that is known, then the greatest: rows may come, and none may change.
    """
    if not tables_of.open_outcomes(until):
        return 0
    keys, more = tables_of.query.keys, set()
    label = [*tables_of.query.columns][len(keys)]  # what may come after it is no outcome
    labels = own_moments.labels(result, keys, label)
    for value in ("min", "max"):
        tables_of.settle(value, until)
        settled = _result(tables_of, moments, doing)
        other = own_moments.labels(settled, keys, label)
        if changed := [each for each in labels if other.get(each) != labels[each]]:
            open_until = "; ".join(
                f"{source}.{column} is known "
                + (
                    f"from {delay} on"
                    if isinstance(delay, str)
                    else f"{duration_text(delay)} after {declared.event_time}"
                )
                for source in tables_of.query.sources
                for declared in [tables_of.query.spec.sources[source]]
                for column, delay in declared.outcome.items()
            )
            raise wrong_query(
                tables_of.query.file,
                doing,
                f"`{label}` of {len(changed)} rows, {listed(changed)}, depends on outcomes that are still open at "
                f"{until} ({open_until})",
                "labels of outcomes that are known by $horizon_end; leave out rows with an open one, or lengthen "
                "label.horizon",
            )
        more |= other.keys() - {*keys_of(keys, result)}
    return len(more)


@contextmanager
def _opened(query: Query, span: Span, version_at: datetime, instead: RowsInstead) -> Iterator[Tables]:
    """The tables that a query sees of a span; of those that are one for all intervals, the versions known at a
    moment."""
    versions = due.versions(query.spec, query.sources, instead)

    def rows_of(source: str) -> Iterator[pa.Table]:
        if source not in versions:
            return _raw(query.spec, source, span.reads(source), instead)
        version = rules.in_force(versions[source], query.spec.calendar, version_at)
        return _raw(query.spec, source, [] if version is None else [version], instead)

    database = lent_to_query(settings().query_memory)
    with opened(query, rows_of, span.start, span.end, span.known_at, database) as tables_of:
        yield tables_of


def _result(tables_of: Tables, parameters: Mapping[str, datetime], doing: str) -> pa.Table:
    """What a query's file returns."""
    query = tables_of.query
    try:
        return tables_of.run(files.query(query.spec, query.file), parameters, seconds=60 * _MINUTES)
    except QueryRefused as error:
        allowed = "; ".join(dict.fromkeys(refusal.allowed for refusal in error.refusals))
        raise wrong_query(query.file, doing, str(error), allowed) from error


def _raw(
    spec: ModelSpec | DatasetSpec, source: str, partitions: Sequence[str], instead: RowsInstead
) -> Iterator[pa.Table]:
    """The published rows of a source's partitions, piece by piece, with the declared columns and types,
    and known_at; times lose their zone."""
    columns, table = schema(spec.sources[source]), RAW.of(spec.dataset_of(source), source)
    published = [key for key in partitions if table.at(key) not in instead]
    others = (instead[partition] for key in partitions if (partition := table.at(key)) in instead)
    for rows in itertools.chain(tables.pieces(table, published) if published else (), others):
        # A column that was declared later is missing from a table whose partitions are all older.
        missing = pa.nulls(rows.num_rows)
        yield pa.table(
            [(rows[name] if name in rows.column_names else missing) for name in columns.names], columns.names
        ).cast(columns)


def _stamped(table: pa.Table, partition: str, **moments: datetime) -> pa.Table:
    """The rows with a column for each moment, and `partition`."""
    for name, moment in moments.items():
        table = table.append_column(name, pa.repeat(pa.scalar(moment, TIMESTAMP), table.num_rows))
    return table.append_column(PARTITION, pa.repeat(pa.scalar(partition), table.num_rows))
