"""How the loops of datasets and models and their features stand, from the catalogue of the lake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from evergreen.history import ledger, story
from evergreen.ingest.rules import delay
from evergreen.interval import Interval
from evergreen.lake import calendars, catalogue
from evergreen.lake.schema import FEATURES, PREDICTIONS, QUARANTINE, RAW, online
from evergreen.spec.dataset import DatasetSpec, Freshness
from evergreen.spec.schema import ModelSpec
from evergreen.status import rules
from evergreen.status.rules import State

EveryInterval = Literal["ingest", "monitor"]  # the loops that work on every interval: a dataset's, and a model's


@dataclass(frozen=True)
class Worked:
    """How the intervals of a loop stand."""

    intervals: Mapping[State, Sequence[Interval]]  # all that are over, oldest first
    grace: timedelta  # from an interval's end until it is late


@dataclass(frozen=True)
class View:
    """How old the features of a view are."""

    newest: Interval | None  # what the online store has of it; None: nothing
    freshness: Freshness | None  # what the spec allows

    def age(self, now: datetime) -> timedelta | None:
        """From the end of its newest interval to now."""
        return None if self.newest is None else now - self.newest.end


def ingested(spec: DatasetSpec, now: datetime) -> Worked:
    """How the intervals of a dataset stand, until now: done are those of which every source is published.

    Raises:
        CalendarChanged: they are published by another calendar.
    """
    calendars.check(spec.datasets.values())
    done = catalogue.whole([RAW.of(spec.name, source) for source in spec.dated])
    # What retention has let go is not missing.
    first = min(done, default=None) if spec.retention.raw is not None else None
    return _worked(spec, rules.expected(spec, now, first), done, now, spec.schedule.late.ingest)


def monitored(spec: ModelSpec, now: datetime) -> Worked:
    """How the intervals of a model's monitor stand, until now. They begin with the first that was monitored: before it
    nobody watched.

    Raises:
        CalendarChanged: a dataset is published by another calendar.
    """
    calendars.check(spec.datasets.values())
    done = catalogue.whole([PREDICTIONS.of(spec.name)])
    return _worked(spec, rules.expected(spec, now, min(done)) if done else [], done, now, spec.schedule.late.monitor)


def _worked(
    spec: DatasetSpec | ModelSpec, intervals: Sequence[Interval], done: set[str], now: datetime, late: timedelta
) -> Worked:
    grace = max(map(delay, spec.datasets.values())) + late
    return Worked(rules.by_state(spec.calendar, intervals, done, now, grace), grace)


def quarantined(spec: DatasetSpec) -> dict[str, int]:
    """The rows in quarantine, by partition."""
    return catalogue.counts([QUARANTINE.of(spec.name, source) for source in spec.sources])


def skewed(spec: ModelSpec) -> float | None:
    """The share of a window's answers that were made from another value than the offline store has, by the feature of
    which it is greatest, in the newest window; None: there is none yet."""
    newest = story.decisions(ledger.windows(spec.model, 1))
    if not newest:
        return None
    found: Any = newest[-1].evidence.get("skew", {})
    return max((each["different"] / each["rows"] for each in found.values()), default=0.0)


def views(spec: DatasetSpec | ModelSpec, before: Interval | None = None) -> dict[str, View]:
    """How old the features of each view are in the online store; before an interval, where one is given."""
    newest = {
        view: catalogue.newest(
            online(FEATURES.of(spec.dataset_of(view), view)), None if before is None else before.partition
        )
        for view in spec.features
    }
    return {
        view: View(None if key is None else spec.calendar.at(key), spec.features[view].freshness)
        for view, key in newest.items()
    }
