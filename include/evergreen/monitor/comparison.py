"""How far a window is from the reference, on all rows, and how far windows without change are from it.

The cells, the distances and the bounds are `monitor.cells` and `monitor.bounds`; here they meet a model's columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.calendar import Calendar
from evergreen.interval import Interval
from evergreen.monitor import bounds
from evergreen.monitor.bounds import Sizes, Stratum
from evergreen.monitor.cells import Categories, Cells, Counts, Numbers, shares
from evergreen.quoting import listed
from evergreen.spec.columns import EVENT, LABEL, is_output
from evergreen.spec.kinds import KINDS, FeatureType
from evergreen.spec.problem import Binary
from evergreen.spec.schema import ModelSpec

_LOOKS = 2  # at each feature beside its distance: its nulls, and its range or its categories
_OF_A_KIND = 3  # intervals of the reference, at least, so that two are left to compare with
NEAR = 0.1
CONFIDENCE = "confidence"  # the probability of the likeliest class
Groups = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bounded:
    """A measured value, and the greatest that is normal."""

    value: float
    bound: float


@dataclass(frozen=True)
class Odd:
    """Rows of a window that are odd in one way, as shares of all of them.

    Attributes:
        share: of the window.
        usual: of the reference.
        bound: the greatest that is normal.
        example: values that are odd, for the log alone.
    """

    share: float
    usual: float
    bound: float
    example: str = ""


@dataclass(frozen=True)
class Reference:
    """What windows are compared with.

    Attributes:
        spec: of the model.
        rows: features, predictions and, where they are known, moments.
        like: the interval that is judged, the last of its window; None: no one. Where the reference has enough
            intervals of the window's weekdays (of hours: of its hours of the day), it is compared with these alone.
    """

    spec: ModelSpec
    rows: pd.DataFrame
    like: Interval | None = None

    @cached_property
    def alike(self) -> pd.DataFrame:
        """The rows that are compared with."""
        return self.rows if self._wanted is None else self.rows[np.isin(self._kinds_of_interval, [*self._wanted])]

    @cached_property
    def strata(self) -> list[Stratum]:
        """Which intervals of `groups` are alike, and how many of them a window has."""
        count = int(self.groups.max()) + 1 if len(self.groups) else 0
        if self._wanted is None:
            return [Stratum(np.arange(count), self.intervals)]
        of_rows = self._kinds_of_interval[np.isin(self._kinds_of_interval, [*self._wanted])]
        firsts = np.unique(self.groups, return_index=True)[1]
        return [Stratum(np.flatnonzero(of_rows[firsts] == kind), drawn) for kind, drawn in self._wanted.items()]

    @cached_property
    def _wanted(self) -> dict[int, int] | None:
        """How many intervals of each kind the window has; None: kinds are not told apart, since the calendar knows
        none, or the reference has too few intervals of one."""
        moments = self.rows.get(EVENT)
        if self.like is None or moments is None or not len(moments):
            return None
        within = self.spec.calendar.back(self.like, self.spec.window)
        kinds = _kinds_of(self.spec.calendar, pd.Series([each.start for each in within]))
        if kinds is None:
            return None
        wanted = dict(sorted(Counter(kinds.tolist()).items()))
        places = _places(self.spec.calendar, moments)
        there = pd.Series(self._kinds_of_interval).groupby(places).first()
        held = [int((there == kind).sum()) for kind in wanted]
        enough = sum(held) >= bounds.LEAST and all(
            have >= max(_OF_A_KIND, 2 * need) for have, need in zip(held, wanted.values(), strict=True)
        )
        return wanted if enough else None

    @cached_property
    def _kinds_of_interval(self) -> Groups:
        """Of each row."""
        kinds = _kinds_of(self.spec.calendar, self.rows[EVENT])
        assert kinds is not None
        return kinds

    @cached_property
    def groups(self) -> Groups:
        """The interval of each row, from 0; all 0 where moments are not known."""
        moments = self.alike.get(EVENT)
        if moments is None or not len(moments):
            return np.zeros(len(self.alike), np.int64)
        return np.unique(_places(self.spec.calendar, moments), return_inverse=True)[1].astype(np.int64)

    @cached_property
    def kinds(self) -> dict[str, FeatureType]:
        """The columns that are compared: features, outputs and how confident these are."""
        own = watched(self.spec, self.rows) | dict.fromkeys(outputs(self.rows), "float")
        return own | ({CONFIDENCE: "float"} if confident(self.spec, self.rows) is not None else {})

    def distances(self, window: pd.DataFrame) -> dict[str, Bounded]:
        """Column → distance, of every feature and of the predictions; a column without values on one side has none."""
        return dict(self._distances(window))

    def bound_of(self, name: str, rows: int) -> float | None:
        """The greatest distance of a window of so many rows that is normal; None: the column has no values."""
        known = self._known(name)
        return (
            None
            if known is None
            else bounds.distance(*known, Sizes(rows, self.intervals, len(self.kinds)), self.strata)
        )

    def distance(self, name: str, window: pd.DataFrame) -> float | None:
        """How far a column of a window is; None: it has no values on one side."""
        return None if (counted := self._counted(name, window)) is None else counted[0]

    def nulls(self, window: pd.DataFrame) -> dict[str, Odd]:
        """Feature → its nulls. One that is no longer computed is null everywhere."""
        return {
            name: self._odd(window.reindex(columns=[name])[name].isna(), self.alike[name].isna())
            for name in self._features
        }

    def beyond(self, window: pd.DataFrame) -> dict[str, Odd]:
        """Number → its values that are below or above all of the reference's."""
        found = {}
        for name, kind in watched(self.spec, self.rows).items():
            if not KINDS[kind].numeric or name not in window or not self.alike[name].notna().any():
                continue
            values, usual = window[name].astype("float64"), self.alike[name].astype("float64")
            low, high = float(usual.min()), float(usual.max())
            outside, odd = (values < low) | (values > high), _outside_of_others(usual, self.groups)
            reach = f"{values.min():.4g} to {values.max():.4g}, the reference {low:.4g} to {high:.4g}"
            found[name] = self._odd(outside, odd, reach)
        return found

    def new(self, window: pd.DataFrame) -> dict[str, Odd]:
        """Category → its values that the reference has not."""
        found = {}
        for name, kind in watched(self.spec, self.rows).items():
            if KINDS[kind].numeric or name not in window:
                continue
            values, usual = window[name], self.alike[name]
            strange = values.notna() & ~values.isin(usual.dropna().unique())
            names = values[strange].value_counts().head(3)
            found[name] = self._odd(strange, _new_to_others(usual, self.groups), listed(list(names.index)))
        return found

    @property
    def _features(self) -> list[str]:
        return list(features(self.rows))

    @property
    def intervals(self) -> int:
        """Of a window."""
        return 1 if self.like is None else len(self.spec.calendar.back(self.like, self.spec.window))

    def _distances(self, window: pd.DataFrame) -> Iterator[tuple[str, Bounded]]:
        for name in self.kinds:
            counted = self._counted(name, window)
            bound = None if counted is None else self.bound_of(name, counted[1])
            if counted is not None and bound is not None:
                yield name, Bounded(counted[0], bound)

    def _counted(self, name: str, window: pd.DataFrame) -> tuple[float, int] | None:
        """The distance of a column of a window, and how many values it has."""
        values, known = _column(self.spec, window, name), self._known(name)
        if values is None or known is None or not values.notna().any():
            return None
        cells, groups = known
        counts = cells.counts(values)
        return float(cells.distances(shares(counts), shares(groups.sum(axis=0)))), int(counts.sum())

    def _known(self, name: str) -> tuple[Cells, Counts] | None:
        """The cells of a column of the reference, and its rows in them, intervals by cells; None: it has no values."""
        if name not in self._counts:
            column = _column(self.spec, self.alike, name)
            held = None if column is None else column.notna().to_numpy()
            if column is None or held is None or not held.any():
                self._counts[name] = None
            else:
                kind = Numbers if KINDS[self.kinds[name]].numeric else Categories
                cells = kind.of(column[held])
                groups = self.groups[held]
                self._counts[name] = cells, _by_group(cells, column[held], groups, int(self.groups.max()) + 1)
        return self._counts[name]

    @cached_property
    def _counts(self) -> dict[str, tuple[Cells, Counts] | None]:
        """What was counted, by column."""
        return {}

    def _odd(self, ours: pd.Series[Any], theirs: pd.Series[Any], example: str = "") -> Odd:
        """Of an interval alone: a sensor that fails is an incident of its own interval, not of a whole window."""
        count = int(self.groups.max()) + 1 if len(self.groups) else 1
        found = np.bincount(self.groups, theirs.to_numpy(bool), count).astype(int).tolist()
        rows = np.bincount(self.groups, minlength=count).tolist()
        bound = bounds.share(found, rows, Sizes(len(ours), 1, _LOOKS * len(self._features)))
        return Odd(float(ours.mean()), float(theirs.mean()) if len(theirs) else 0.0, bound, example)


def features(rows: pd.DataFrame) -> Iterator[str]:
    """The features in a reference's rows."""
    return (name for name in map(str, rows) if not is_output(name) and name not in _BESIDE)


def watched(spec: ModelSpec, reference: pd.DataFrame) -> dict[str, FeatureType]:
    """The features that the version learned from; one that the spec has gained
    since is watched with the next version."""
    return {name: kind for name, kind in spec.feature_types.items() if name in reference}


def outputs(reference: pd.DataFrame) -> list[str]:
    """The columns of predictions."""
    return [name for name in map(str, reference) if is_output(name)]


def confident(spec: ModelSpec, rows: pd.DataFrame) -> pd.Series[float] | None:
    """The probability of the likeliest class; None: the label is a number, or an answer is of other classes."""
    if spec.problem.kind == "numeric" or not set(spec.problem.outputs) <= set(rows.columns):
        return None
    answers = rows[list(spec.problem.outputs)].to_numpy("float64")
    likeliest = answers.max(axis=1) if spec.problem.by_class else np.maximum(answers, 1 - answers)[:, 0]
    return pd.Series(likeliest, index=rows.index)


def entropy(spec: ModelSpec, rows: pd.DataFrame) -> float | None:
    """The mean entropy of the answers, in bits."""
    if confident(spec, rows) is None:
        return None
    answers = rows[list(spec.problem.outputs)].dropna().to_numpy("float64")
    chances = answers if spec.problem.by_class else np.column_stack([answers, 1 - answers])
    if not len(chances):
        return None
    logs = np.log2(chances, out=np.zeros_like(chances), where=chances > 0)
    return float(-(chances * logs).sum(axis=1).mean())


def near(spec: ModelSpec, rows: pd.DataFrame) -> float | None:
    """The share of answers that are near to another class: `NEAR` of probability more or less would be another one."""
    if confident(spec, rows) is None:
        return None
    answers = rows[list(spec.problem.outputs)].dropna().to_numpy("float64")
    if not len(answers):
        return None
    if isinstance(spec.problem, Binary):
        return float((np.abs(answers[:, 0] - spec.problem.threshold) <= NEAR).mean())
    likeliest = np.sort(answers, axis=1)
    return float((likeliest[:, -1] - likeliest[:, -2] <= 2 * NEAR).mean())


_BESIDE = (EVENT, LABEL)


def _column(spec: ModelSpec, rows: pd.DataFrame, name: str) -> pd.Series[Any] | None:
    return confident(spec, rows) if name == CONFIDENCE else rows.get(name)


def _by_group(cells: Cells, column: pd.Series[Any], groups: Groups, count: int) -> Counts:
    """Rows in each cell, intervals by cells: also of intervals in which the column has no value."""
    order = np.argsort(groups, kind="stable")
    firsts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    counts: Counts = np.zeros((count, len(cells.counts(column.iloc[:1]))), np.int64)
    for part in np.split(order, firsts[1:]):
        counts[groups[part[0]]] = cells.counts(column.iloc[part])
    return counts


def _places(calendar: Calendar, moments: pd.Series[Any]) -> Groups:
    """The number of each moment's interval, from that of the first one."""
    stamps = pd.DatetimeIndex(pd.to_datetime(moments, utc=True))
    last = stamps.max() + pd.Timedelta(microseconds=1)  # which may be where an interval begins
    starts = pd.DatetimeIndex([each.start for each in calendar.touching(stamps.min(), last)], tz="UTC")
    places: Groups = np.searchsorted(starts.as_unit("us").asi8, stamps.as_unit("us").asi8, side="right") - 1
    return places


def _kinds_of(calendar: Calendar, moments: pd.Series[Any]) -> Groups | None:
    """What intervals are like: of days the weekday, of hours the hour of the day; None: of nothing."""
    local = pd.DatetimeIndex(pd.to_datetime(moments, utc=True)).tz_convert(calendar.zone)
    by = {"day": local.weekday, "hour": local.hour}
    return by[calendar.every].to_numpy(np.int64) if calendar.every in by else None


def _outside_of_others(values: pd.Series[float], groups: Groups) -> pd.Series[Any]:
    """Whether a row is below or above all rows of the other intervals."""
    outside = np.zeros(len(values), bool)
    by_group = values.groupby(groups)
    lows, highs = by_group.min().sort_values(), by_group.max().sort_values()
    if len(lows) > 1:
        for place, each in ((0, lows), (-1, highs)):
            extreme, other = each.index[place], each.iloc[1 if place == 0 else -2]
            own = groups == extreme
            outside |= own & ((values < other) if place == 0 else (values > other)).to_numpy()
    return pd.Series(outside, index=values.index)


def _new_to_others(values: pd.Series[str], groups: Groups) -> pd.Series[Any]:
    """Whether a row has a category that no other interval has."""
    if len(np.unique(groups)) < 2:
        return pd.Series(np.zeros(len(values), bool), index=values.index)
    seen = pd.DataFrame({"value": values.to_numpy(), "group": groups}).drop_duplicates().groupby("value").size()
    return values.isin(seen.index[seen == 1])
