"""How a prediction is asked for: of every entity at the end of each interval, or on request, each at its own moment.

`spec.asking` is one of the two, and answers for whoever would have to know which: a query's columns, a request's
fields, when an outcome is known, which rows are alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from evergreen.interval import DAY, Interval
from evergreen.spec.columns import EVENT, FEATURES_AT
from evergreen.spec.kinds import KINDS, FeatureType, KindName

if TYPE_CHECKING:
    import pandas as pd

    from evergreen.spec.schema import ModelSpec, Request


@dataclass(frozen=True)
class _Asking(ABC):
    spec: ModelSpec

    named_by_request: ClassVar[bool]
    """Whether who asks names the entities; else a source's rows do."""

    @property
    @abstractmethod
    def longest_lead(self) -> timedelta:
        """How long before the interval that its row belongs to a prediction may be asked for."""

    @property
    @abstractmethod
    def inputs(self) -> Mapping[str, FeatureType]:
        """What a request says beside the keys."""

    @property
    @abstractmethod
    def sources(self) -> tuple[str, ...]:
        """The tables that asking is replayed from."""

    @property
    @abstractmethod
    def queries(self) -> tuple[Path, ...]:
        """The files that replay asking from history."""

    @property
    @abstractmethod
    def look_back(self) -> timedelta:
        """How far before an interval those queries see."""

    @property
    @abstractmethod
    def label_delay(self) -> timedelta:
        """From the moment of a prediction until its label is known, at most."""

    @abstractmethod
    def known_before(self, moment: datetime) -> datetime:
        """The labels of predictions until the moment that is returned are all known by `moment`; where each outcome has
        a moment of its own, as many as a horizon makes known: which ones, the row says."""

    @abstractmethod
    def mature_at(self, interval: Interval) -> datetime:
        """When the outcomes of an interval's predictions are known, all that are waited for."""

    @property
    @abstractmethod
    def outcome_keys(self) -> tuple[str, ...]:
        """The columns by which a logged prediction finds its outcome."""

    @abstractmethod
    def stretch(self, length: timedelta, until: datetime) -> tuple[datetime, datetime]:
        """The first and the last moment, both included, of the newest predictions up
        to `until` that fill a length of time."""

    @abstractmethod
    def alike(self, rows: pd.DataFrame) -> pd.Series[Any]:
        """A name per row; rows of one name share their circumstances, and are no evidence apart."""

    @abstractmethod
    def declaration(self, queries: tuple[str, ...]) -> dict[str, object]:
        """What is declared about asking that decides what a label partition holds;
        `queries`: the text of each of the files."""

    @property
    def sent(self) -> dict[str, Any]:
        """The fields of a request's entity, with pydantic's type of each. All must be there; what is not known is null,
        but for the entity's own keys."""
        nullable = {name: KINDS[kind].sent | None for name, kind in {**self.spec.keys, **self.inputs}.items()}
        return nullable | {name: KINDS[kind].sent for name, kind in self.spec.entity.columns.items()}

    def logged(self, interval: Interval) -> list[str]:
        """The partitions of predictions and labels that may hold the predictions whose
        outcomes become known within an interval, and those outcomes."""
        calendar, label = self.spec.calendar, self.spec.label
        first = calendar.interval_of(calendar.earlier(interval.start, label.longest))
        last = calendar.earlier(interval.end, label.horizon) if label.known is None else interval.end
        return [each.partition for each in calendar.touching(first.start - self.longest_lead, last + self._late)]

    def outcomes(self, interval: Interval) -> list[str]:
        """The partitions of labels that may hold the outcomes of an interval's predictions."""
        last = interval.end + self.longest_lead if self.named_by_request else interval.start
        return [each.partition for each in self.spec.calendar.touching(interval.start - self._late, last)]

    @property
    def _late(self) -> timedelta:
        """How old the features of a prediction may be: they serve for an interval, and if the next ones are late, for
        another one, or a day."""
        return self.spec.calendar.longest + max(self.spec.calendar.longest, DAY)


class EveryInterval(_Asking):
    """Every entity is predicted at the end of each interval: moments lie on the grid of
    intervals, and a request names an entity."""

    named_by_request = False

    @property
    def longest_lead(self) -> timedelta:
        return timedelta(0)

    @property
    def inputs(self) -> Mapping[str, FeatureType]:
        return {}

    @property
    def sources(self) -> tuple[str, ...]:
        return ()

    @property
    def queries(self) -> tuple[Path, ...]:
        return ()

    @property
    def look_back(self) -> timedelta:
        return timedelta(0)

    @property
    def label_delay(self) -> timedelta:
        return self.spec.label.longest

    @property
    def outcome_keys(self) -> tuple[str, ...]:
        return (*self.spec.entity.columns, FEATURES_AT)

    def known_before(self, moment: datetime) -> datetime:
        calendar = self.spec.calendar
        return calendar.earlier(calendar.newest_complete(moment).end, self.spec.label.horizon)

    def mature_at(self, interval: Interval) -> datetime:
        # Predicted from what was known when it began.
        return self.spec.calendar.later(interval.start, self.spec.label.longest)

    def stretch(self, length: timedelta, until: datetime) -> tuple[datetime, datetime]:
        """Of whole intervals: n intervals are n moments, so n - 1 of them lie between the first and the last."""
        calendar = self.spec.calendar
        newest = calendar.newest_complete(until)
        return calendar.back(newest, length)[0].end, newest.end

    def alike(self, rows: pd.DataFrame) -> pd.Series[Any]:
        """An entity's rows."""
        return self.spec.entity.names(rows)

    def declaration(self, queries: tuple[str, ...]) -> dict[str, object]:
        return {}


@dataclass(frozen=True)
class OnRequest(_Asking):
    """Predictions are asked for one by one, each at its own moment; a request's key is its
    own, and its query replays history's."""

    request: Request

    named_by_request = True

    @property
    def longest_lead(self) -> timedelta:
        return self.spec.calendar.longest

    @property
    def inputs(self) -> Mapping[str, FeatureType]:
        return self.request.inputs

    @property
    def sources(self) -> tuple[str, ...]:
        return self.request.sources

    @property
    def file(self) -> Path:
        """The query that replays the requests of an interval."""
        return self.spec.folder / (self.request.sql or "request.sql")

    @property
    def queries(self) -> tuple[Path, ...]:
        return (self.file,)

    @property
    def columns(self) -> dict[str, KindName]:
        """What that query returns: keys, the moment of the request, inputs."""
        return {**self.spec.keys, EVENT: "timestamp", **self.inputs}

    @property
    def look_back(self) -> timedelta:
        return self.request.look_back

    @property
    def label_delay(self) -> timedelta:
        # Known a horizon after the end of the interval.
        return self.longest_lead + self.spec.calendar.bound + self.spec.label.longest

    @property
    def outcome_keys(self) -> tuple[str, ...]:
        return (*self.spec.entity.columns,)

    def known_before(self, moment: datetime) -> datetime:
        calendar, horizon = self.spec.calendar, self.spec.label.horizon
        if self.spec.label.known is not None:  # no row waits for its interval's end and a horizon
            return calendar.earlier(moment, horizon)
        # Where a horizon is not of whole intervals, what happens until its end is known when that interval is over.
        rest = timedelta(0) if calendar.every != "month" else calendar.bound
        return calendar.earlier(moment, horizon) - self.longest_lead - calendar.bound - rest

    def mature_at(self, interval: Interval) -> datetime:
        calendar = self.spec.calendar
        last = calendar.interval_of(interval.end - datetime.resolution + self.longest_lead)
        return calendar.later(last.end, self.spec.label.longest)

    def stretch(self, length: timedelta, until: datetime) -> tuple[datetime, datetime]:
        return self.spec.calendar.earlier(until, length), until

    def alike(self, rows: pd.DataFrame) -> pd.Series[Any]:
        """The requests of a local day, or of an interval that is longer."""
        calendar = self.spec.calendar
        local = rows[EVENT].dt.tz_convert(calendar.zone)
        if calendar.every in ("hour", "day"):
            names: pd.Series[Any] = local.dt.strftime("%Y-%m-%d")
        else:
            names = local.dt.tz_localize(None).dt.to_period("W" if calendar.every == "week" else "M").astype(str)
        return names

    def declaration(self, queries: tuple[str, ...]) -> dict[str, object]:
        (query,) = queries
        return {
            "request": self.request.model_dump(mode="json", exclude={"sql"}),
            "request_sql": query,
            "keys": self.spec.keys,
        }


Asking = EveryInterval | OnRequest
