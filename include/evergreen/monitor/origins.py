"""What collected predictions and decisions were made from, as it is written down with them (docs/adr/0024)."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from evergreen.handovers.monitor import Collected, Compared, Performance
from evergreen.history.events import MadeFrom
from evergreen.lake import catalogue, publications, tables
from evergreen.lake.publications import Inputs, Publication
from evergreen.lake.schema import FEATURES, LABELS, PREDICTIONS, WINDOWS, TableId
from evergreen.run import Run
from evergreen.serve.predictions import Prediction
from evergreen.spec.columns import KNOWN_AT, PARTITION
from evergreen.spec.schema import ModelSpec

_LAST = "\uffff"  # after every partition


def of_predictions(spec: ModelSpec, logged: Sequence[Prediction]) -> Inputs:
    """The versions that answered, and the feature partitions that were the newest of some answer.

    An answer may also hold older features of another view; the log tells the newest moment alone.
    """
    views = [FEATURES.of(spec.dataset_of(view), view) for view in spec.features]
    moments = {row.features_at for row in logged if row.features_at is not None}
    partitions: dict[str, dict[str, int]] = {}
    for entry in catalogue.known_at(views, moments):
        partitions.setdefault(str(entry.of.table), {})[entry.partition] = entry.table_version
    return Inputs(partitions=partitions, versions=dict(Counter(row.version for row in logged)))


def of_decision(
    run: Run, collected: Collected, performance: Performance, compared: Compared, changed_at: datetime | None
) -> dict[str, MadeFrom]:
    """The partitions that a decision about a window looked at, in the versions that were read.

    Args:
        changed_at: since when the labels were counted; None: they were not.
    """
    spec, interval = run.spec, run.interval
    calendar, scored = spec.calendar, spec.asking.logged(interval)
    first = min(calendar.back(interval, spec.window)[0].partition, *scored)
    read = {}
    if collected.table_version is not None:
        read[PREDICTIONS.of(spec.model)] = (collected.table_version, first, interval.partition)
    if performance.labels_version is not None:
        since = min(scored) if changed_at is None else min(calendar.interval_of(changed_at).partition, *scored)
        until = max(scored) if changed_at is None else _LAST
        read[LABELS.of(spec.model, spec.label.name)] = (performance.labels_version, since, until)
    if compared.table_version is not None:  # all of them that were known: evidence is weighed anew each time
        read[WINDOWS.of(spec.model)] = (compared.table_version, "", _LAST)
    parts = {str(table): made_from(table, *given, run.as_of) for table, given in read.items()}
    return {table: part for table, part in parts.items() if part is not None}


def made_from(table: TableId, version: int, first: str, last: str, as_of: datetime) -> MadeFrom | None:
    """What a version of a table has between two partitions, both included, and was available at a moment; None:
    nothing.

    A partition of compared windows goes on growing: of them the windows count that were known, and not what came after.
    """
    if table.layer == WINDOWS.layer:
        return _of_windows(table, version, first, last, as_of)
    within = publications.of_stretch(table, version, first, last, as_of)
    if not within:
        return None
    return MadeFrom(
        version=version,
        first=min(within),
        last=max(within),
        partitions=len(within),
        content_hash=_digest(within.values()),
    )


def _of_windows(table: TableId, version: int, first: str, last: str, as_of: datetime) -> MadeFrom | None:
    stored = tables.read(table, version=version, columns=[PARTITION, "window", "made_from", KNOWN_AT])
    rows = [] if stored is None else stored.to_pylist()
    known = [row for row in rows if row[KNOWN_AT] <= as_of and first <= row[PARTITION] <= last]
    if not known:
        return None
    months = sorted({row[PARTITION] for row in known})
    hashes = {row["window"].isoformat(): row["made_from"] for row in known}
    return MadeFrom(
        version=version,
        first=months[0],
        last=months[-1],
        partitions=len(months),
        content_hash=hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()[:32],
    )


def _digest(within: Iterable[Publication]) -> str:
    hashes = {publication.partition: publication.content_hash for publication in within}
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()[:32]
