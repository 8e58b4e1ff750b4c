"""The jobs of housekeeping, each for one name: a dataset, a model, or both where one folder declares both.

Each may be run at any time, beside all loops, and again after a kill. Each says in lines what it did, or would do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

from evergreen import files
from evergreen.calendar import Calendar
from evergreen.housekeeping import rules
from evergreen.interval import Interval, from_to
from evergreen.lake.schema import FEATURES, LABELS, PREDICTIONS, QUARANTINE, RAW, TableId
from evergreen.settings import settings
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.load import Declared
from evergreen.spec.retention import Kept
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

_BEFORE_ROLLOUT = timedelta(days=7)  # whose answers are compared with those since


@dataclass(frozen=True)
class House:
    """What is declared under one name."""

    name: str
    dataset: DatasetSpec | None
    model: ModelSpec | None
    users: tuple[ModelSpec, ...]  # the models that read the dataset's tables, and the model itself

    def tables(self) -> Iterator[tuple[TableId, Kept]]:
        """Its tables in the lake, each with how long its intervals are kept."""
        if self.dataset is not None:
            kept = self.dataset.retention
            for source in self.dataset.sources:
                yield RAW.of(self.name, source), kept.raw
                yield QUARANTINE.of(self.name, source), kept.quarantine
            for view in self.dataset.features:
                yield FEATURES.of(self.name, view), kept.features
        if self.model is not None:
            yield LABELS.of(self.name, self.model.label.name), self.model.retention.labels
            yield PREDICTIONS.of(self.name), self.model.retention.predictions

    @property
    def calendar(self) -> Calendar:
        """By which its partitions are made."""
        declared = self.model or self.dataset
        assert declared is not None
        return declared.calendar

    def needed(self, table: TableId) -> timedelta:
        """How far the loops look back in a table."""
        return rules.needed(table.layer, self.dataset, self.users)

    def whole(self, table: TableId) -> bool:
        """Whether a table holds the versions of a source that is one table for all intervals."""
        sources = self.dataset.sources if self.dataset is not None else {}
        return table.layer == RAW.layer and table.name in sources and sources[table.name].whole

    def newest_ingested(self) -> Interval | None:
        """The newest interval of which the dataset has a batch; None: there is none."""
        from evergreen.lake import catalogue

        assert self.dataset is not None
        newest = catalogue.newest(RAW.of(self.name, self.dataset.dated[0]))
        return None if newest is None else self.calendar.at(newest)

    def kept(self, name: str) -> Kept:
        """What `retention` says under a name that datasets and models have; the longer of the two."""
        stated = [getattr(each.retention, name) for each in (self.dataset, self.model) if each is not None]
        return None if None in stated else max(stated, default=None)


def houses(declared: Declared) -> dict[str, House]:
    """All names whose folders are valid."""
    datasets = {each.name: each for each in declared.valid_datasets}
    models = {each.name: each for each in declared.valid_models}
    return {
        name: House(
            name,
            datasets.get(name),
            models.get(name),
            tuple(model for model in models.values() if model.name == name or name in model.datasets),
        )
        for name in sorted({*datasets, *models})
    }


def retention(house: House, *, apply: bool) -> list[str]:
    """Drop the intervals that are older than their table keeps them."""
    from evergreen.lake import catalogue, tables, upkeep

    said = []
    for table, kept in house.tables():
        if kept is None:
            continue
        # As the table has them: a kill may have left rows of which the catalogue no longer knows.
        intervals = {house.calendar.at(key): key for key in tables.counts(table)}
        if house.whole(table):
            found = rules.superseded(intervals, house.newest_ingested(), kept, house.needed(table))
        else:
            found = rules.expired(intervals, kept, house.needed(table))
        gone = [intervals[each] for each in found]
        if gone:
            said.append(f"{table}: {len(gone)} intervals, {gone[0]} to {gone[-1]}")
        if gone and apply:
            catalogue.forget(table, gone)  # first: it never promises what is not there
            upkeep.drop(table, gone)
    return said


def compaction(house: House, *, apply: bool) -> list[str]:
    """Put the small files of partitions together; no row and no hash changes."""
    from evergreen.lake import upkeep

    said = []
    for table, _ in house.tables():
        if partitions := upkeep.scattered(table):
            fewer = upkeep.compact(table) if apply else 0
            said.append(f"{table}: {partitions} partitions with several files{f', now {fewer} fewer' if fewer else ''}")
    return said


def vacuum(house: House, *, apply: bool) -> list[str]:
    """Remove the files of old versions that no registered version needs, retired ones aside.

    Raises:
        EvidenceMissing: nobody knows what a registered version was trained on; then nothing is removed.
    """
    from evergreen.lake import upkeep

    kept = rules.versions_kept(house.kept("versions"))
    if kept is None:
        return []
    needed, said = _pinned(), []
    for table, _ in house.tables():
        if removed := upkeep.vacuum(table, kept, needed.get(str(table), set()), apply=apply):
            said.append(f"{table}: {len(removed)} files of old versions")
    return said


def _pinned() -> dict[str, set[int]]:
    """The versions of tables that registered versions need, of models too that nobody declares any more."""
    from evergreen.history import ledger
    from evergreen.registry import records as registry
    from evergreen.train import records

    pins = {
        model: {
            number: {str(table): at for table, at in joined.items()} for number, joined in records.pins(model).items()
        }
        for model in registry.numbers()
    }
    return rules.pinned(pins, {model: frozenset(ledger.standing(model).retired) for model in pins})


def prediction_log(house: House, *, apply: bool) -> list[str]:
    """Drop the days of the prediction log that are old enough, and whole in the lake."""
    from evergreen.history import ledger
    from evergreen.lake import catalogue
    from evergreen.serve import predictions

    if house.model is None or (kept := house.model.retention.log) is None:
        return []
    table = PREDICTIONS.of(house.name)
    collected = [house.calendar.at(key) for key in catalogue.published(table)]
    copies = house.model.retention.predictions
    rollout = ledger.standing(house.name).rollout
    gone = rules.copied(predictions.days(house.name), collected, kept, house.needed(table), copies)
    if rollout is not None:  # it compares all that was answered since it was opened, and some of what was before
        gone = [day for day in gone if day < (rollout.opened.as_of - _BEFORE_ROLLOUT).date()]
    if apply:
        predictions.drop(house.name, gone)
    return [f"prediction log: {len(gone)} days, {gone[0]} to {gone[-1]}"] if gone else []


def candidates(house: House, *, apply: bool) -> list[str]:
    """Remove the candidates that became no version and are old enough, with their files in MLflow."""
    if house.model is None or (kept := house.model.retention.candidates) is None:
        return []
    from evergreen.history import ledger, story
    from evergreen.registry import records, store, tracking

    def needed() -> set[str]:
        return records.registered(house.name) | story.gated(ledger.entries(house.name, "registered"))

    registered = needed() | tracking.registered()
    gone = rules.unregistered(tracking.ended(house.name), registered, house.model.families, kept)
    for each in gone if apply else ():
        with store.locked(house.name):
            if each.run_id not in needed():  # which it may have become since
                tracking.remove(each.run_id)
                records.forget(each.run_id)
    if not gone:
        return []
    first, last = (house.calendar.shown(each.as_of) for each in (gone[0], gone[-1]))
    return [f"candidates: {len(gone)} runs in MLflow, of trainings as of {from_to(first, last)}"]


def reports(house: House, *, apply: bool) -> list[str]:
    """Remove old pages."""
    kept = house.kept("reports")
    if kept is None:
        return []
    old = _older(settings().reports / house.name, kept, apply=apply)
    return [f"reports: {len(old)} pages"] if old else []


def working_files(house: House, *, apply: bool) -> list[str]:
    """Remove old working files, what killed runs left half written, and what old runs in one process handed over."""
    from evergreen.lake import staging

    if apply:
        staging.clean(house.name)
    old = _older(settings().home / "runs" / house.name, settings().staging_kept, apply=apply)
    return [f"runs in one process: {len(old)} hand-overs"] if old else []


def _older(folder: Path, kept: timedelta, *, apply: bool) -> list[Path]:
    """The old files below a folder, which go where they are to."""
    if apply:
        return files.remove_older(folder, kept.total_seconds())
    before = time.time() - kept.total_seconds()
    return [path for path in folder.rglob("*") if path.is_file() and path.stat().st_mtime < before]


# In this order: what compaction and retention replace becomes old, and goes once it is old enough.
JOBS: Mapping[str, Callable[..., list[str]]] = MappingProxyType(
    {job.__name__: job for job in (retention, compaction, vacuum, prediction_log, candidates, reports, working_files)}
)


def run(house: House, job: str, *, apply: bool = True) -> list[str]:
    """Run one job for one name; returns, and logs, what it did."""
    said = JOBS[job](house, apply=apply)
    for line in said or ["nothing to do"]:
        log.info("%s of %s: %s", job, house.name, line)
    return said
