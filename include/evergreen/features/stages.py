"""Features, labels and their way to the online store: what the ingest loop runs after a day is published.

A run works on every partition that its day touches, not only on its own: see `features.rules`. What is written is
decided under a lock on the partition, from the inputs that are published at that moment; so runs of different days may
work side by side, in any order, and a killed one is simply run again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING

from evergreen.errors import HandoverRefused, WriteConflict
from evergreen.features import rules
from evergreen.handovers.ingest import (
    Computed,
    FeatureCandidate,
    Labelled,
    Online,
    PublishedFeatures,
    SoundFeatures,
    WrittenLabels,
    WrittenPartition,
)
from evergreen.lake.schema import FEATURES, LABELS, RAW, Partition, TableId
from evergreen.run import Run
from evergreen.spec import files

if TYPE_CHECKING:
    import pyarrow as pa


log = logging.getLogger(__name__)

_ATTEMPTS = 5  # a partition whose inputs change while it is written is computed again; more than this is no coincidence


def compute(run: Run) -> Computed:
    """Compute every feature partition that looks back at the run's day, is complete, and whose inputs have changed.

    The results are candidates in staging; the feature contract decides about them before `publish`.
    """
    from evergreen.features import computing
    from evergreen.lake import catalogue, staging

    views: dict[str, dict[str, FeatureCandidate]] = {}
    for view in run.spec.features:
        views[view] = {}
        query_hash = _query_hash(run, view)
        for partition, due in _due_features(run, view).items():
            table = computing.features(run.spec, view, due.span)
            file = staging.WorkingFile(
                model=run.spec.model, run=run.interval.partition, name=f"features/{view}/{partition}"
            )
            views[view][partition] = FeatureCandidate(
                staged=staging.write(file, table, task="features"),
                content_hash=catalogue.content_hash(table),
                query_hash=query_hash,
                inputs_hash=due.inputs_hash,
            )
        rows = {partition: candidate.staged.rows for partition, candidate in views[view].items()}
        log.info(
            "Features %s/%s: %s",
            run.spec.model,
            view,
            _summary(rows, "nothing to compute (inputs incomplete, or unchanged)"),
        )
    return Computed(views=views)


def publish(run: Run, computed: SoundFeatures) -> PublishedFeatures:
    """Write the partitions that met their contract to the lake, and record in the
    catalogue from which inputs they were computed.

    A candidate whose inputs have changed since it was computed is left to the run that changed them: that one published
    a day which the partition looks back at, and whoever publishes a day computes every such partition after it. So the
    last of them writes it.

    Raises:
        HandoverRefused: the view is declared otherwise by now; no other run would compute it.
    """
    from evergreen.lake import staging

    written: dict[str, dict[str, WrittenPartition]] = {view: {} for view in run.spec.features}
    left: list[str] = []
    for view, candidates in computed.views.items():
        stored = FEATURES.of(run.spec.model, view)
        for partition, candidate in candidates.items():
            with _locked(stored.at(partition)):
                due = _due_features(run, view).get(partition)
                if due is None:
                    continue  # another run wrote it meanwhile, from the same inputs
                if candidate.query_hash != _query_hash(run, view):
                    raise _declared_otherwise(run, view)
                if due.inputs_hash == candidate.inputs_hash:
                    rows = staging.read(candidate.staged)
                    written[view][partition] = _write(stored, due, rows)
                else:
                    left.append(f"{view} {partition}")
    for view, partitions in written.items():
        rows_of = {partition: entry.rows for partition, entry in partitions.items()}
        log.info("Published %s/%s: %s", run.spec.model, view, _summary(rows_of, "nothing new"))
    if left:
        log.info("Left to the run that published a day which they look back at: %s", ", ".join(left))
    return PublishedFeatures(views=written, left=tuple(left))


def labels(run: Run) -> Labelled:
    """Compute and publish every label partition that the run's day completes or changes.

    A label's span is complete only when the batch that ends at cutoff + horizon is published, so a label that is
    written is mature; when it may be used, its own `known_at` says.

    Raises:
        WriteConflict: the inputs kept changing.
    """
    from evergreen.features import computing

    outcomes = LABELS.of(run.spec.model, run.spec.label.name)
    written: dict[str, WrittenLabels] = {}
    for _ in range(_ATTEMPTS):
        due = _due_labels(run)
        if not due:
            rows = {partition: entry.rows for partition, entry in written.items()}
            log.info("Label %s/%s: %s", outcomes.model, outcomes.name, _summary(rows, "no outcome matured or changed"))
            return Labelled(partitions=written)
        for partition in due:
            with _locked(outcomes.at(partition)):
                if (now := _due_labels(run).get(partition)) is not None:
                    table, without = computing.labels(run.spec, now.span)
                    entry = _write(outcomes, now, table)
                    written[partition] = WrittenLabels(**dict(entry), without_outcome=without)
                    if without:
                        log.info("%s: %d of %d requests have no outcome", partition, without, without + table.num_rows)
    raise _conflict(run, "labels")


def awaited(run: Run, now: datetime) -> list[str]:
    """What the ingestion of the run's day has still to do: what a scheduled training or
    monitoring of the same day waits for."""
    from evergreen.lake import catalogue

    spec, partition = run.spec, run.interval.partition
    raw = [name for name in spec.sources if not catalogue.published(RAW.of(spec.model, name), [partition])]
    views = [view for view in spec.features if _due_features(run, view)]
    labels = [spec.label.name] if _due_labels(run) else []
    return [f"{name} of {partition}" for name in (*raw, *views, *labels)]


def materialize(run: Run) -> Online:
    """Write the feature partitions that the run's day touches to the online store.

    In order that is exactly the run's own interval (event_timestamp == as_of). A run that completes later spans
    brings those too, else the newest features of a history ingested backwards would never arrive. Older values never
    replace newer ones.
    """
    from evergreen.features import objects, replacement

    spec = run.spec
    objects.ensure_applied(spec)
    written: dict[str, dict[str, int]] = {view: {} for view in spec.features}
    for view in spec.features:
        stored = FEATURES.of(spec.model, view)
        touched = [span.partition for span in rules.feature_spans(spec, view, run.interval)]
        for partition in replacement.outdated(stored, touched):
            with replacement.replacing(stored, partition) as entry:
                if entry is not None:
                    replacement.replace(spec, view, partition)
                    written[view][partition] = entry.rows
        log.info("Online %s/%s: %s", spec.model, view, _summary(written[view], "up to date"))
    return Online(views=written)


def _due_features(run: Run, view: str) -> dict[str, rules.Due]:
    """partition → what must be computed of it now."""
    spans = rules.feature_spans(run.spec, view, run.interval)
    return _due(FEATURES.of(run.spec.model, view), run.spec.features[view].sources, _declaration(run, view), spans)


def _declaration(run: Run, view: str) -> str:
    return rules.feature_declaration(run.spec, view, files.query(run.spec, run.spec.view_sql(view)))


def _query_hash(run: Run, view: str) -> str:
    """Of everything declared that decides what a view's partition holds."""
    return hashlib.sha256(_declaration(run, view).encode()).hexdigest()


def _due_labels(run: Run) -> dict[str, rules.Due]:
    sql = files.query(run.spec, run.spec.label_sql())
    asking = [files.query(run.spec, file) for file in run.spec.asking.queries]
    declaration = rules.label_declaration(run.spec, sql, *asking)
    spans = rules.label_spans(run.spec, run.interval)
    return _due(LABELS.of(run.spec.model, run.spec.label.name), rules.label_sources(run.spec), declaration, spans)


def _due(table: TableId, sources: Sequence[str], declaration: str, spans: Sequence[rules.Span]) -> dict[str, rules.Due]:
    from evergreen.lake import catalogue

    days = sorted({day for span in spans for day in span.days})
    raw = {
        source: {
            day: entry.content_hash for day, entry in catalogue.published(RAW.of(table.model, source), days).items()
        }
        for source in sources
    }
    entries = catalogue.published(table, [span.partition for span in spans])
    recorded = {partition: entry.inputs_hash for partition, entry in entries.items() if entry.inputs_hash is not None}
    return {due.span.partition: due for due in rules.due(spans, declaration, raw, recorded)}


def _write(table: TableId, due: rules.Due, rows: pa.Table) -> WrittenPartition:
    """Replace one partition, then record it: a kill in between leaves the old record, and the retry writes again."""
    from evergreen.lake import catalogue, partitions

    replaced = table.at(due.span.partition)
    entry = partitions.replace(replaced, rows, known_at=due.span.end, inputs_hash=due.inputs_hash)
    catalogue.record(entry)
    return WrittenPartition(rows=entry.rows, content_hash=entry.content_hash, version=entry.table_version)


def _locked(partition: Partition) -> AbstractContextManager[None]:
    """Only one run at a time decides about a partition and writes it; a killed run's lock goes with its connection."""
    from evergreen import database

    return database.locked(str(partition))


def _summary(rows: Mapping[str, int], nothing: str) -> str:
    """`2026-01-05 (1000 rows), 2026-01-06 (998 rows)`, for the log."""
    return ", ".join(f"{partition} ({count} rows)" for partition, count in sorted(rows.items())) or nothing


def _declared_otherwise(run: Run, view: str) -> HandoverRefused:
    return HandoverRefused(
        f"publishing the features of {run.subject}",
        found=f"partitions of {view} that were computed as it was declared before",
        expected="candidates by the view's declaration and query of now",
        next_step="clear `features` and what comes after it (`evergreen run`: begin with --from features)",
    )


def _conflict(run: Run, layer: str) -> WriteConflict:
    return WriteConflict(
        f"publishing the {layer} of {run.subject}",
        found=f"other runs changed the days that they look back at {_ATTEMPTS} times meanwhile",
        expected="published days that hold still for a moment",
        next_step="none: the task is retried by itself",
    )
