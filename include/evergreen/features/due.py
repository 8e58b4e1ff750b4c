"""Which partitions of a view or a label are due, by what the catalogue says is published; and how one is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING

from evergreen import database
from evergreen.features import rules
from evergreen.handovers.ingest import WrittenPartition
from evergreen.interval import Interval
from evergreen.lake import catalogue, partitions
from evergreen.lake.schema import FEATURES, LABELS, RAW, Partition, TableId
from evergreen.spec import files
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    import pyarrow as pa


def of_view(spec: DatasetSpec, view: str, day: Interval) -> dict[str, rules.Due]:
    """partition → what must be computed of it now, of the view's partitions that look back at a day."""
    spans = rules.feature_spans(spec, view, day, reach(spec, view, day))
    return _due(FEATURES.of(spec.name, view), spec, spec.features[view].sources, declaration(spec, view), spans)


def reach(spec: DatasetSpec, view: str, day: Interval) -> datetime | None:
    """The newest row that a day's batches of the view's sources have had from after it; None: none has had one."""
    return catalogue.reach([RAW.of(spec.name, source) for source in spec.features[view].sources], day.partition)


def of_label(spec: ModelSpec, spans: Sequence[rules.Span]) -> dict[str, rules.Due]:
    """partition → what must be computed of it now, of some of the label's partitions."""
    sql = files.query(spec, spec.label_sql())
    asking = [files.query(spec, file) for file in spec.asking.queries]
    declared = rules.label_declaration(spec, sql, *asking)
    return _due(LABELS.of(spec.model, spec.label.name), spec, rules.label_sources(spec), declared, spans)


def declaration(spec: DatasetSpec, view: str) -> str:
    """Everything declared that decides what a view's partition holds, its query as it reads now."""
    return rules.feature_declaration(spec, view, files.query(spec, spec.view_sql(view)))


def _due(
    table: TableId,
    spec: DatasetSpec | ModelSpec,
    sources: Sequence[str],
    declared: str,
    spans: Sequence[rules.Span],
) -> dict[str, rules.Due]:
    days = sorted({day for span in spans for day in span.days})
    since = min((span.start for span in spans), default=None)
    inputs = {
        source: catalogue.published(RAW.of(spec.dataset_of(source), source), days, reaching=since) for source in sources
    }
    reaches = {
        source: {day: entry.reaches for day, entry in of_source.items() if entry.reaches is not None}
        for source, of_source in inputs.items()
    }
    spans = rules.with_reaching(spans, reaches)
    raw = {
        source: {day: entry.content_hash for day, entry in of_source.items()} for source, of_source in inputs.items()
    }
    entries = catalogue.published(table, [span.partition for span in spans])
    recorded = {partition: entry.inputs_hash for partition, entry in entries.items() if entry.inputs_hash is not None}
    return {due.span.partition: due for due in rules.due(spans, declared, raw, recorded)}


def write(table: TableId, due: rules.Due, rows: pa.Table) -> WrittenPartition:
    """Replace one partition, then record it: a kill in between leaves the old record, and the retry writes again."""
    replaced = table.at(due.span.partition)
    entry = partitions.replace(replaced, rows, known_at=due.span.end, inputs_hash=due.inputs_hash)
    catalogue.record(entry)
    return WrittenPartition(rows=entry.rows, content_hash=entry.content_hash, version=entry.table_version)


def locked(partition: Partition) -> AbstractContextManager[None]:
    """Only one run at a time decides about a partition and writes it; a killed run's lock goes with its connection."""
    return database.locked(str(partition))


def summary(rows: Mapping[str, int], nothing: str) -> str:
    """`2026-01-05 (1000 rows), 2026-01-06 (998 rows)`, for the log."""
    return ", ".join(f"{partition} ({count} rows)" for partition, count in sorted(rows.items())) or nothing
