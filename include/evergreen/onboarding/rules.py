"""What a model of a file looks like: the length of its intervals, its split, its bounds. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

from evergreen.calendar import Calendar, Length
from evergreen.interval import DAY
from evergreen.spec.kinds import ColumnType, FeatureType
from evergreen.spec.measures import MetricName
from evergreen.spec.problem import LabelType

HOUR = timedelta(hours=1)
ENOUGH_ROWS = 100  # of an interval, to be worth one
FEW_INTERVALS, ENOUGH_INTERVALS, MOST_INTERVALS = 12, 20, 60  # to divide by time at all, well, and to learn from
PARTS = 20  # of a file without time, by a hash of the key; each is worked on as an interval is
EVALUATED = 0.2  # share of the intervals that evaluate
# The lengths of time that features look back, by the calendar: the last interval, a while, and long.
LOOK_BACKS: Mapping[Length, tuple[timedelta, timedelta, timedelta]] = {
    "hour": (HOUR, DAY, 7 * DAY),
    "day": (DAY, 7 * DAY, 28 * DAY),
    "week": (7 * DAY, 28 * DAY, 84 * DAY),
    "month": (31 * DAY, 92 * DAY, 366 * DAY),
}
# An interval ahead; of months what the shortest has, or an outcome would be known a month later.
AHEAD: Mapping[Length, timedelta] = {"hour": HOUR, "day": DAY, "week": 7 * DAY, "month": 28 * DAY}
_UNFIT = re.compile(r"[{}*:\\/\x00-\x1f]")  # in the name of a file of the landing zone
Style = Literal["request", "interval", "batch"]


@dataclass(frozen=True)
class Column:
    """A column of the file."""

    name: str
    raw: str  # its name in the file
    kind: ColumnType
    rows: int
    nulls: int
    distinct: int
    values: tuple[str, ...] = ()  # of text, all of them, the most frequent first; where there are few
    low: float | None = None  # of numbers
    high: float | None = None
    newest: datetime | None = None  # of times
    form: str | None = None  # how its times are written, where not as ISO 8601
    markers: tuple[str, ...] = ()  # texts of it that stand for no value
    unit: str | None = None  # text beside its numbers
    fractions: bool = False  # some of its texts are numbers such as 1.5
    nested: bool = False  # its texts are objects or lists, as of JSON

    @property
    def is_number(self) -> bool:
        return self.kind in ("int", "float")

    @property
    def is_time(self) -> bool:
        return self.kind in ("timestamp", "date")

    @property
    def is_empty(self) -> bool:
        return self.nulls == self.rows


@dataclass(frozen=True)
class Rhythm:
    """How the rows fall into intervals of one length."""

    intervals: int  # from the first to the last
    filled: int  # that have rows
    rows: float  # of a filled one, the median
    most: int
    keys: float  # different keys of a filled one, the median


@dataclass(frozen=True)
class Label:
    """What is to be predicted."""

    name: str
    stated: str  # as it was asked for
    sql: str  # over our names: true or false, a number, or a text
    columns: tuple[str, ...]  # that it reads
    aggregate: bool  # it is of many rows
    type: LabelType
    nothing: str | None = None  # of an aggregate: what it comes to where there is no row; None: it has no value
    classes: tuple[str, ...] = ()
    rarest: float = 0.5  # share of the rarest class
    rarest_class: str = ""
    deviation: float = 1.0  # of numbers, from their mean: the root of the mean square
    distance: float = 1.0  # the mean
    entropy: float = 1.0  # of classes
    missing: int = 0  # rows without
    different: int = 2  # values
    is_column: bool = False  # and no expression
    delays: Mapping[float, float] | None = None  # quantile → hours until it is known
    known_by: str | None = None  # the column that says when


@dataclass(frozen=True)
class Relation:
    """Rows of a database: a table, or what a query returns."""

    connection: str
    sql: str  # as it stands behind FROM
    names: Mapping[str, str]  # of its columns, as they arrive → as its SQL writes them


@dataclass(frozen=True)
class Profile:
    """What was measured of a sample."""

    table: str
    file: str  # its name; of a table the table's
    declared: Mapping[str, object]  # keys of the source that say how it is read
    rows: int
    columns: tuple[Column, ...]
    label: Label
    time: str | None
    first: datetime | None
    last: datetime | None
    rhythms: Mapping[Length, Rhythm]
    key: str | None
    key_repeats: bool
    identity: tuple[str, ...]  # columns that tell the rows apart
    repeated: int  # rows that no column tells apart from an earlier one
    known_later: Mapping[str, str]  # column → why no prediction may know it
    suspected: Mapping[str, str] = field(default_factory=dict)  # column → why none might, of those that are kept
    relation: Relation | None = None  # where the rows stand in a database, in place of a file
    undivided: str | None = None  # a column of times by which the rows cannot be divided

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True)
class Feature:
    """One column of a view."""

    name: str
    kind: FeatureType
    sql: str  # over the rows of the span, grouped by the view's key
    back: timedelta | None = None  # how far it looks; None: it is of the moment alone
    none: str | None = None  # its value where there was no row


@dataclass(frozen=True)
class View:
    """Features about one entity, out of the past."""

    name: str
    entity: str
    key: str
    of: str  # the key, as SQL over the source
    look_back: timedelta
    features: tuple[Feature, ...]


@dataclass(frozen=True)
class Draft:
    """A model, before it is written."""

    model: str
    profile: Profile
    style: Style
    calendar: Calendar
    horizon: timedelta
    window: timedelta
    evaluation: timedelta
    first_day: date
    last_day: date
    per_interval: float  # rows to learn from
    key: str  # the entity's
    key_sql: str
    key_type: Literal["string", "int"]
    inputs: Mapping[str, tuple[FeatureType, str]]  # of a request: type and SQL
    references: Mapping[str, tuple[str, Literal["string", "int"]]]  # name → key, its type
    views: tuple[View, ...]
    left_out: Mapping[str, str]  # column → why
    metric: MetricName
    floor: Mapping[MetricName, float]

    @property
    def relation(self) -> Relation | None:
        """What the source reads by a query. A table without time is dealt out to files, as a file without is."""
        return None if self.style == "batch" else self.profile.relation

    @property
    def path(self) -> str:
        """Of the batches, below the landing zone."""
        if self.style != "batch":
            return f"{self.model}/{_UNFIT.sub('_', self.profile.file)}"
        return f"{self.model}/{{partition}}.{'parquet' if self.profile.declared['format'] == 'parquet' else 'csv'}"

    @property
    def time(self) -> str:
        """When a row happened; of a file without time, the day that the row was dealt out to."""
        return self.dealt if self.style == "batch" or self.profile.time is None else self.profile.time

    @property
    def moment(self) -> str | None:
        """The column with the moment from which each outcome is known."""
        of = self.profile.label
        identified = of.known_by is None or of.known_by in (self.profile.time, *self.profile.identity, *of.columns)
        return None if self.style != "request" or identified else of.known_by

    @property
    def within(self) -> timedelta:
        """How long an outcome is waited for: as long as the slowest of the file took, in whole intervals."""
        unit, delays = AHEAD[self.calendar.every], self.profile.label.delays
        slowest = 0 if delays is None else math.ceil(delays[1.0] * HOUR / unit)
        return max(self.horizon, slowest * unit)

    @property
    def share(self) -> float:
        """The least share of outcomes that are to be known a horizon after their prediction: less than in the file,
        since no two seasons are alike."""
        delays = self.profile.label.delays or {}
        known = max((share for share, hours in delays.items() if hours * HOUR <= self.horizon), default=0.0)
        return {1.0: 0.9, 0.99: 0.9, 0.9: 0.8, 0.5: 0.4}.get(known, 0.1)

    @property
    def numbered(self) -> bool:
        """Whether the rows of the file are given a column with their number, as their key."""
        return self.style == "batch" and self.key != self.profile.key

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that tell the rows of the source apart."""
        return (self.key,) if self.numbered else self.profile.identity

    @property
    def made_of(self) -> str:
        """What a key is made of that no column is."""
        if self.numbered:
            return "the row's number in the file"
        names = self.profile.identity
        return f"made of {', '.join(names) if len(names) < len(self.profile.columns) else 'all columns'}"

    @property
    def dealt(self) -> str:
        """The column that a file without time is given."""
        names = {name for column in self.profile.columns for name in (column.name, column.raw)}
        return next(each for each in ("dealt_on", "dealt_out_on", "day_dealt_out") if each not in names)

    @property
    def units(self) -> tuple[int, int]:
        """Intervals to learn from, and to evaluate on."""
        unit = AHEAD[self.calendar.every]
        evaluated = round(self.evaluation / unit)
        return max(1, round((self.window - self.evaluation - 2 * self.horizon) / unit)), evaluated

    @property
    def minimum_rows(self) -> int:
        """To learn from: a third of what the sample has."""
        return max(10, int(self.per_interval * self.units[0] / 3))

    @property
    def evaluation_rows(self) -> int:
        return max(10, int(self.per_interval * self.units[1] / 2))

    @property
    def rows_of_class(self) -> int:
        """Least evaluation rows of each class."""
        classes = max(2, len(self.profile.label.classes))
        expected = self.evaluation_rows * self.profile.label.rarest
        return max(1, min(50, int(expected / 2), self.evaluation_rows // classes))


def rhythm_of(profile: Profile, every: Length | None) -> Length | None:
    """How long the intervals should be; None: the rows cannot be divided by time."""
    if profile.time is None or not profile.rhythms:
        return None
    if every is not None:
        return every
    dense = {each: rhythm for each, rhythm in profile.rhythms.items() if rhythm.filled >= rhythm.intervals / 4}
    if not dense:
        return None  # as of rows that have a year
    days_or_more: tuple[Length, ...] = ("day", "week", "month")
    enough = [each for each in days_or_more if each in dense and dense[each].intervals >= ENOUGH_INTERVALS]
    for each in enough:
        if profile.rhythms[each].rows >= ENOUGH_ROWS:
            return each
    if enough:
        return enough[-1]
    hours = profile.rhythms["hour"]
    if hours.filled >= ENOUGH_INTERVALS and hours.rows * 4 >= ENOUGH_ROWS:
        return "hour"
    if "day" in dense and dense["day"].filled >= FEW_INTERVALS:
        return "day"
    return "hour" if hours.filled >= FEW_INTERVALS else None


def stretches(
    profile: Profile, calendar: Calendar, unit: timedelta, style: Style
) -> tuple[timedelta, timedelta, timedelta]:
    """The horizon, how far back a training learns, and how much of that evaluates."""
    if style == "batch":
        return DAY, (PARTS + 1) * DAY, PARTS // 4 * DAY
    count = profile.rhythms[calendar.every].intervals
    delays = profile.label.delays
    horizon = unit
    if delays is not None and not profile.label.aggregate:  # 99 of 100 outcomes are known by then
        wanted = max(1, math.ceil(delays[0.99] * HOUR / unit))
        # Before the evaluation lies a horizon, after it another one, and a fold of the learning rows needs a third.
        horizon = min(wanted, max(1, count // 6)) * unit
    before = 0 if style == "request" else min(round(LOOK_BACKS[calendar.every][2] / unit), count // 3)
    waits = round(horizon / unit)
    room = 2 if waits == 1 else 5 * waits  # of which a fifth evaluates
    learned = min(MOST_INTERVALS + room, max(count - before, FEW_INTERVALS))
    evaluated = max(2, round(learned * EVALUATED))
    if evaluated + 2 * waits >= learned:
        evaluated = 1
    return horizon, max(learned, evaluated + 2 * waits + 2) * unit, evaluated * unit


def per_interval(profile: Profile, calendar: Calendar, style: Style) -> float:
    """Rows to learn from that an interval brings, on average."""
    if style == "batch":
        return profile.rows / PARTS
    rhythm = profile.rhythms[calendar.every]
    of_filled = rhythm.keys if style == "interval" else rhythm.rows
    return of_filled * rhythm.filled / rhythm.intervals


def key(profile: Profile, style: Style) -> tuple[str, str, Literal["string", "int"]]:
    """What a prediction is about: its name, as SQL over the source, and its type."""
    if profile.key is not None and (profile.label.aggregate or not profile.key_repeats):
        kind = profile.column(profile.key).kind
        return profile.key, profile.key, "int" if kind == "int" else "string"
    names = {name for column in profile.columns for name in (column.name, column.raw)}
    name = next(each for each in ("row_id", "row_key", "row_name") if each not in names)
    if style == "batch":
        return name, name, "int"  # a column that its rows are given, since a view wants its key among the source's
    parts = ", ".join(f"CAST({each} AS VARCHAR)" for each in profile.identity)
    if len(profile.identity) == 1:
        return name, parts, "string"
    return name, f"md5(concat_ws('|', {parts}))", "string"


def metric(label: Label) -> MetricName:
    """What candidates are compared by."""
    if label.type == "binary":
        return "roc_auc"
    if label.type == "multiclass":
        return "log_loss"
    return "mae" if label.deviation > 3 * label.distance else "rmse"  # a few huge values would decide alone


def floor(label: Label) -> dict[MetricName, float]:
    """A bound that guessing does not meet."""
    if label.type == "binary":
        return {"roc_auc": 0.55}
    if label.type == "multiclass":
        return {"log_loss": _rounded(label.entropy)}
    return {"mae": _rounded(label.distance)} if metric(label) == "mae" else {"rmse": _rounded(label.deviation)}


def _rounded(value: float) -> float:
    """Three digits, upwards; above 0."""
    if not value > 0 or not math.isfinite(value):
        return 1.0
    place = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.ceil(value / place) * place:.12g}")
