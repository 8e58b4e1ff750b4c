"""Features and their way to the online store: what the ingest loop runs after a day is published.

A run works on every partition that its day touches, not only on its own: see `features.rules`. What is written is
decided under a lock on the partition, from the inputs that are published at that moment; so runs of different days may
work side by side, in any order, and a killed one is simply run again.
"""

from __future__ import annotations

import hashlib
import logging

from evergreen import keeping
from evergreen.errors import HandoverRefused
from evergreen.features import rules
from evergreen.handovers.ingest import (
    Computed,
    FeatureCandidate,
    Online,
    PublishedFeatures,
    SoundFeatures,
    WrittenPartition,
)
from evergreen.lake.schema import FEATURES
from evergreen.run import DatasetRun

log = logging.getLogger(__name__)


def compute(run: DatasetRun) -> Computed:
    """Compute every feature partition that looks back at the run's day, is complete, and whose inputs have changed.

    The results are candidates in staging; the feature contract decides about them before `publish`.
    """
    from evergreen.features import computing, due
    from evergreen.lake import hashing, staging

    views: dict[str, dict[str, FeatureCandidate]] = {}
    for view in run.spec.features:
        views[view] = {}
        query_hash = _query_hash(run, view)
        for partition, wanted in due.of_view(run.spec, view, run.interval).items():
            table = computing.features(run.spec, view, wanted.span)
            file = staging.WorkingFile(
                of=run.spec.name, run=run.interval.partition, name=f"features/{view}/{partition}"
            )
            views[view][partition] = FeatureCandidate(
                staged=staging.write(file, table, task="features"),
                content_hash=hashing.content_hash(table),
                query_hash=query_hash,
                inputs_hash=wanted.inputs_hash,
            )
        rows = {partition: candidate.staged.rows for partition, candidate in views[view].items()}
        log.info(
            "Features %s/%s: %s",
            run.spec.name,
            view,
            due.summary(rows, "nothing to compute (inputs incomplete, or unchanged)"),
        )
    return Computed(views=views)


def publish(run: DatasetRun, computed: SoundFeatures) -> PublishedFeatures:
    """Write the partitions that met their contract to the lake, and record in the
    catalogue from which inputs they were computed.

    A candidate whose inputs have changed since it was computed is left to the run that changed them: that one published
    a day which the partition looks back at, and whoever publishes a day computes every such partition after it. So the
    last of them writes it.

    Raises:
        HandoverRefused: the view is declared otherwise by now; no other run would compute it.
    """
    from evergreen.features import due
    from evergreen.lake import staging

    written: dict[str, dict[str, WrittenPartition]] = {view: {} for view in run.spec.features}
    left: list[str] = []
    for view, candidates in computed.views.items():
        stored = FEATURES.of(run.spec.name, view)
        for partition, candidate in candidates.items():
            with due.locked(stored.at(partition)):
                now = due.of_view(run.spec, view, run.interval).get(partition)
                if now is None:
                    continue  # another run wrote it meanwhile, from the same inputs
                if candidate.query_hash != _query_hash(run, view):
                    raise _declared_otherwise(run, view)
                if now.inputs_hash == candidate.inputs_hash:
                    rows = staging.read(candidate.staged)
                    written[view][partition] = due.write(stored, now, rows)
                else:
                    left.append(f"{view} {partition}")
    for view, partitions in written.items():
        rows_of = {partition: entry.rows for partition, entry in partitions.items()}
        log.info("Published %s/%s: %s", run.spec.name, view, due.summary(rows_of, "nothing new"))
    if left:
        log.info("Left to the run that published a day which they look back at: %s", ", ".join(left))
    return PublishedFeatures(views=written, left=tuple(left))


def materialize(run: DatasetRun) -> Online:
    """Write the feature partitions that the run's day touches to the online store.

    In order that is exactly the run's own interval (event_timestamp == as_of). A run that completes later spans
    brings those too, else the newest features of a history ingested backwards would never arrive. Older values never
    replace newer ones.
    """
    from evergreen.features import due, objects, replacement

    spec = run.spec
    keeping.once(f"the Feast objects of {spec.name}", lambda: objects.ensure_applied(spec))
    written: dict[str, dict[str, int]] = {view: {} for view in spec.features}
    for view in spec.features:
        stored = FEATURES.of(spec.name, view)
        reach = due.reach(spec, view, run.interval)
        touched = [span.partition for span in rules.feature_spans(spec, view, run.interval, reach)]
        for partition in replacement.outdated(stored, touched):
            with replacement.replacing(stored, partition) as entry:
                if entry is not None:
                    replacement.replace(spec, view, partition)
                    written[view][partition] = entry.rows
        log.info("Online %s/%s: %s", spec.name, view, due.summary(written[view], "up to date"))
    return Online(views=written)


def _query_hash(run: DatasetRun, view: str) -> str:
    """Of everything declared that decides what a view's partition holds."""
    from evergreen.features import due

    return hashlib.sha256(due.declaration(run.spec, view).encode()).hexdigest()


def _declared_otherwise(run: DatasetRun, view: str) -> HandoverRefused:
    return HandoverRefused(
        f"publishing the features of {run.subject}",
        found=f"partitions of {view} that were computed as it was declared before",
        expected="candidates by the view's declaration and query of now",
        next_step="clear `features` and what comes after it (`evergreen run`: begin with --from features)",
    )
