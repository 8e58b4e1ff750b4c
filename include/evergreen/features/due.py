"""Which partitions of a view or a label are due, by what the catalogue says is published; and how one is written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from evergreen import database
from evergreen.features import rules
from evergreen.handovers.ingest import WrittenPartition
from evergreen.interval import Interval
from evergreen.lake import catalogue, partitions, tables
from evergreen.lake.publications import Inputs
from evergreen.lake.schema import FEATURES, LABELS, RAW, Partition, TableId
from evergreen.spec import files
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    import pyarrow as pa

EntriesInstead = Mapping[Partition, catalogue.Entry]  # raw partitions as they would be, were they published
NOTHING: EntriesInstead = MappingProxyType({})


@dataclass(frozen=True)
class Due(rules.Due):
    """What must be computed, and out of which published partitions."""

    inputs: Inputs


def of_view(spec: DatasetSpec, view: str, interval: Interval, instead: EntriesInstead = NOTHING) -> dict[str, Due]:
    """partition → what must be computed of it now, of the view's partitions that look back at an interval; or what
    would have to be, were other raw partitions published `instead`."""
    spans = rules.feature_spans(spec, view, interval, reach(spec, view, interval, instead))
    return _due(
        FEATURES.of(spec.name, view), spec, spec.features[view].sources, declaration(spec, view), spans, instead
    )


def versions(
    spec: DatasetSpec | ModelSpec, sources: Iterable[str], instead: Iterable[Partition] = ()
) -> dict[str, list[str]]:
    """Source → its versions, by the partitions of the intervals that found them, of those sources that are one table
    for all intervals."""
    found = {}
    for source in sources:
        if spec.sources[source].whole:
            table = RAW.of(spec.dataset_of(source), source)
            others = [each.key for each in instead if each.table == table]
            found[source] = sorted({*catalogue.published(table), *others})
    return found


def reach(spec: DatasetSpec, view: str, interval: Interval, instead: EntriesInstead = NOTHING) -> datetime | None:
    """The newest row that an interval's batches of the view's sources have had from after it; None: none had one."""
    return _reach(spec, [RAW.of(spec.name, source) for source in spec.features[view].sources], interval, instead)


def label_reach(spec: ModelSpec, interval: Interval, instead: EntriesInstead = NOTHING) -> datetime | None:
    """The same, of the sources of a label."""
    of_dataset: dict[str, list[TableId]] = {}
    for source in rules.label_sources(spec):
        of_dataset.setdefault(spec.dataset_of(source), []).append(RAW.of(spec.dataset_of(source), source))
    reaches = [_reach(spec.datasets[dataset], sources, interval, instead) for dataset, sources in of_dataset.items()]
    return max((each for each in reaches if each is not None), default=None)


def _reach(
    spec: DatasetSpec, sources: Sequence[TableId], interval: Interval, instead: EntriesInstead
) -> datetime | None:
    recorded = catalogue.reach(sources, interval.partition)
    others = [entry.reaches for source in sources if (entry := instead.get(source.at(interval.partition))) is not None]
    others += [
        _in_force_until(spec, source, interval, instead) for source in sources if spec.sources[source.name].whole
    ]
    return max((each for each in (recorded, *others) if each is not None), default=None)


def _in_force_until(spec: DatasetSpec, table: TableId, interval: Interval, instead: EntriesInstead) -> datetime | None:
    """The last moment of the newest interval that is ingested, where the interval has a version of the table: all from
    then on may see it."""
    if not (table.at(interval.partition) in instead or catalogue.published(table, [interval.partition])):
        return None
    newest = [catalogue.newest(RAW.of(spec.name, source)) for source in spec.dated]
    ends = [spec.calendar.at(each).end - datetime.resolution for each in newest if each is not None]
    return max((end for end in ends if end >= interval.end), default=None)


def of_label(spec: ModelSpec, spans: Sequence[rules.Span], instead: EntriesInstead = NOTHING) -> dict[str, Due]:
    """partition → what must be computed of it now, of some of the label's partitions; or what would have to be, were
    other raw partitions published `instead`."""
    sql = files.query(spec, spec.label_sql())
    asking = [files.query(spec, file) for file in spec.asking.queries]
    declared = rules.label_declaration(spec, sql, *asking)
    return _due(LABELS.of(spec.model, spec.label.name), spec, rules.label_sources(spec), declared, spans, instead)


def declaration(spec: DatasetSpec, view: str) -> str:
    """Everything declared that decides what a view's partition holds, its query as it reads now."""
    return rules.feature_declaration(spec, view, files.query(spec, spec.view_sql(view)))


def _due(
    table: TableId,
    spec: DatasetSpec | ModelSpec,
    sources: Sequence[str],
    declared: str,
    spans: Sequence[rules.Span],
    instead: EntriesInstead,
) -> dict[str, Due]:
    waited_for = rules.waited_for(spans)
    looked_at = rules.looked_at(spans)
    since = min((span.since for span in spans), default=None)
    of_whole = versions(spec, sources, instead)
    if not all(of_whole.values()):
        return {}  # nobody has read one of the tables yet
    inputs = {
        source: _published(RAW.of(spec.dataset_of(source), source), of_whole.get(source, looked_at), since, instead)
        for source in sources
    }
    reaches = {
        source: {key: entry.reaches for key, entry in of_source.items() if entry.reaches is not None}
        for source, of_source in inputs.items()
    }
    spans = rules.with_reaching(spans, reaches)
    spans = rules.with_versions(spans, of_whole, spec.calendar, at_start=not isinstance(spec, DatasetSpec))
    if any(span.follows for span in spans):
        spans = rules.with_following(
            spans,
            {
                source: _rows(spec, source, of_source, instead)
                for source, of_source in inputs.items()
                if source not in of_whole
            },
        )
    raw = {
        source: {key: entry.content_hash for key, entry in of_source.items()} for source, of_source in inputs.items()
    }
    entries = catalogue.published(table, [span.partition for span in spans])
    recorded = {partition: entry.inputs_hash for partition, entry in entries.items() if entry.inputs_hash is not None}
    return {
        due.span.partition: Due(due.span, due.inputs_hash, _inputs(spec, due.span, inputs))
        for due in rules.due(spans, declared, raw, recorded, _awaited(spec, sources, inputs, waited_for))
    }


def _awaited(
    spec: DatasetSpec | ModelSpec,
    sources: Sequence[str],
    inputs: Mapping[str, Mapping[str, catalogue.Entry]],
    keys: Sequence[str],
) -> list[Collection[str]]:
    """What the spans wait for. A query of tables alone that are for all intervals waits for the intervals of their
    dataset, as they are known by one of its other tables: all of an interval is published at once."""
    dated = [inputs[source] for source in sources if not spec.sources[source].whole]
    if dated or not isinstance(spec, DatasetSpec):
        return [*dated]
    return [catalogue.published(RAW.of(spec.name, spec.dated[0]), keys)]


def _published(
    table: TableId, keys: Sequence[str], since: datetime | None, instead: EntriesInstead
) -> dict[str, catalogue.Entry]:
    """The raw partitions of some keys, and those that reach up to a moment; by key."""
    others = {
        partition.key: entry
        for partition, entry in instead.items()
        if partition.table == table
        and (partition.key in keys or (entry.reaches is not None and since is not None and entry.reaches >= since))
    }
    return catalogue.published(table, keys, reaching=since) | others


def _rows(
    spec: DatasetSpec | ModelSpec, source: str, published: Mapping[str, catalogue.Entry], instead: EntriesInstead
) -> dict[str, tuple[datetime, datetime] | None]:
    """Published raw partitions, each with its first and last row as Delta's log says; None: it does not say."""
    table = RAW.of(spec.dataset_of(source), source)
    bounds = tables.bounds(table, spec.sources[source].moment)
    return {key: None if table.at(key) in instead else bounds.get(key) for key in published}


def _inputs(
    spec: DatasetSpec | ModelSpec, span: rules.Span, inputs: Mapping[str, Mapping[str, catalogue.Entry]]
) -> Inputs:
    """The raw partitions that a span reads, as they are published."""
    return Inputs(
        partitions={
            str(RAW.of(spec.dataset_of(source), source)): {
                day: of_source[day].table_version for day in span.reads(source)
            }
            for source, of_source in inputs.items()
        }
    )


def write(table: TableId, due: Due, rows: pa.Table) -> WrittenPartition:
    """Replace one partition, then record it: a kill in between leaves the old record, and the retry writes again."""
    replaced = table.at(due.span.partition)
    entry = partitions.replace(replaced, rows, known_at=due.span.written_at, inputs_hash=due.inputs_hash)
    catalogue.record(entry, inputs={replaced: due.inputs})
    return WrittenPartition(rows=entry.rows, content_hash=entry.content_hash, version=entry.table_version)


def locked(partition: Partition) -> AbstractContextManager[None]:
    """Only one run at a time decides about a partition and writes it; a killed run's lock goes with its connection."""
    return database.locked(str(partition))


def summary(rows: Mapping[str, int], nothing: str) -> str:
    """`2026-01-05 (1000 rows), 2026-01-06 (998 rows)`, for the log."""
    return ", ".join(f"{partition} ({count} rows)" for partition, count in sorted(rows.items())) or nothing
