"""A dataset: what one folder declares of data that models share, and the parts of it that a model which is alone with
its data declares itself. Frozen, strict, no unknown keys.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import ConfigDict, Field, PrivateAttr

from evergreen.calendar import UTC_DAYS, Calendar
from evergreen.interval import Interval
from evergreen.spec.cells import Column, Markers
from evergreen.spec.durations import Delay, Duration, UntilKnown
from evergreen.spec.keyed import Keyed, Name
from evergreen.spec.kinds import ColumnType, FeatureType, KeyType
from evergreen.spec.mistakes import DATA_FILE, FILE
from evergreen.spec.partial import Declared, unsaid
from evergreen.spec.retention import DataRetention
from evergreen.spec.schedule import IngestSchedule

MOST_ENTRIES = 200  # of sources, views and references of a model: each has files of its own
VALID_TO = "valid_to"  # the column that queries see of a table whose rows are true until the next one is


class Folder(Declared):
    """What a folder declares: a dataset, or a model."""

    _folder: Path = PrivateAttr(default=Path())

    @property
    @abstractmethod
    def name(self) -> str:
        """The folder's name."""

    @property
    @abstractmethod
    def file(self) -> str:
        """The file at its head."""

    @property
    def folder(self) -> Path:
        """Where it was read from."""
        return self._folder

    def at(self, folder: Path) -> Self:
        """The same, read from `folder`."""
        copy = self.model_copy()
        copy._folder = folder
        return copy

    def relative(self, path: Path) -> str:
        """How messages name a file of the folder."""
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)


class Dated:
    """What has data: since a first day, divided by a calendar."""

    if TYPE_CHECKING:
        calendar: Calendar
        first_day: date
        last_day: date | None

    @property
    def first_interval(self) -> Interval:
        """The first interval of data; of a model, the first that every dataset has."""
        return self.calendar.first_of(self.first_day)

    @property
    def last_interval(self) -> Interval | None:
        """The last interval of data; None: the data goes on."""
        return None if self.last_day is None else self.calendar.last_of(self.last_day)

    def goes_on_after(self, moment: datetime) -> bool:
        """Whether there is data, or will be, that is not from before a moment."""
        return self.last_interval is None or self.last_interval.end > moment

    def newest_complete(self, now: datetime) -> Interval:
        """The newest interval that has ended by now, and none after the last one of data."""
        newest, last = self.calendar.newest_complete(now), self.last_interval
        return newest if last is None else min(newest, last)


class Owner(Declared):
    """Who hears of it when a task fails."""

    name: str = Field(min_length=1, description="team or person, shown as the DAG's owner")
    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$", description="where failure messages go")


class Entity(Keyed):
    """What a prediction is about."""

    name: Name = Field(description="its name; models that predict about the same entities share it")
    key: Name | None = Field(
        default=None, description="the column that identifies it, in sources, views and requests; or `keys`"
    )

    @classmethod
    def of(cls, name: str, declared: Keyed) -> Entity:
        """The entity of that name, as something declares its key."""
        return cls.model_construct(name=name, **declared.__dict__)


class Reference(Keyed):
    """Another entity that a request names, such as the carrier of a flight."""

    key: Name | None = Field(
        default=None,
        description="the column that identifies it, in views and requests, or `keys`; a request may leave it null",
    )


class Source(Declared):
    """One table that arrives as one batch per interval: as files of the landing zone
    (`path`), or by a query (`connection`)."""

    # One model for both kinds: the mistakes of a union's members could not be told apart, nor all at once.
    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["path"]}, {"required": ["connection"]}]})

    path: str | None = Field(
        default=None,
        description=(
            "file below the landing zone; {partition} is the interval's key, and {year}, {month}, {day}, {hour} are "
            "parts of it; * in the last part: all files that match"
        ),
    )
    format: Name = Field(
        default="csv",
        description=(
            "format of the file: csv, which has a header; jsonl, an object a line or one list of objects; parquet; or "
            "what an installed package brings a reader for"
        ),
    )
    compression: Literal["gzip", "none"] | None = Field(
        default=None, description="compression of a csv or jsonl file; default: gzip when its name ends in .gz"
    )
    encoding: str = Field(
        default="utf-8", description="encoding of a csv or jsonl file, as Python names it: utf-8, cp1252, utf-16"
    )
    delimiter: str = Field(default=",", description="delimiter of a csv file; one character")
    skip_lines: int = Field(
        default=0,
        ge=0,
        le=1000,
        exclude_if=unsaid(0),
        description="lines above the header of a csv file, such as titles, empty ones too",
    )
    trailing_delimiter: bool = Field(
        default=False, description="lines of a csv file may end with one delimiter more, which begins no cell"
    )
    nulls: Markers = Field(
        default=(), description='texts that stand for no value, beside the empty cell: ["NA", "?"]; blanks do not count'
    )
    decimal: Literal[".", ","] = Field(default=".", description="sign before the decimals of a number")
    thousands: Literal[".", ",", "'", " "] | None = Field(
        default=None, description="sign between the thousands of a number; a blank: blanks of any kind"
    )
    history: bool = Field(
        default=False, description="path is one file for all intervals; each takes the rows whose event_time lies in it"
    )
    connection: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="id of an Airflow connection to a database, in place of path",
    )
    sql: str | None = Field(
        default=None, description="query on the connection, from %(start)s to %(end)s; default sources/<source>.sql"
    )
    complete_after: Delay = Field(
        default=timedelta(0),
        json_schema_extra={"default": "0h"},
        description=(
            "how long after the end of its interval a batch may still grow (late parts, late commits); a scheduled "
            "ingest does not read before"
        ),
    )
    refresh: Literal["every interval", "when it changes", "never"] = Field(
        default="every interval",
        exclude_if=unsaid("every interval"),
        description=(
            "every interval: each has a batch of its own; when it changes: path or query is the whole table, and each "
            "run looks whether it is another; never: the whole table, read once"
        ),
    )
    event_time: Name | None = Field(
        default=None,
        description="the column that says when a row happened; none of a table that is refreshed otherwise",
    )
    covers: Delay = Field(
        default=timedelta(0),
        exclude_if=unsaid(timedelta(0)),
        json_schema_extra={"default": "0h"},
        description=(
            "how long after event_time what a row tells of ends, where rows are stamped at their start (1h, 1d); no "
            "query sees a row before"
        ),
    )
    valid_from: Name | None = Field(
        default=None,
        exclude_if=unsaid(None),
        description="the column that says from when on a row is true, of a whole table with a row per key and validity",
    )
    valid_to: Name | None = Field(
        default=None,
        exclude_if=unsaid(None),
        description=(
            "the column that says until when a row is true, and null while it is; default: until the next row of its "
            "key, which queries see as valid_to"
        ),
    )
    keys: tuple[Name, ...] = Field(min_length=1, description="columns that identify a row within the table")
    columns: dict[Name, Column] = Field(
        min_length=1, description="every column, with its type, or with how it arrives and is written"
    )
    outcome: dict[Name, UntilKnown] = Field(
        default={},
        description=(
            "columns known only later, each with the time after event_time until it is known (2d for a row stamped at "
            "the start of its day whose outcome is known when the next day is over), or with the column that has each "
            "row's own moment (decided_at; a date: when that day is over); no view sees it before, and no request at "
            "all"
        ),
    )
    contract: str | None = Field(default=None, description="Great Expectations suite; default contracts/<source>.yaml")

    @property
    def whole(self) -> bool:
        """Whether it is one table for all intervals, of which there are versions, and no batch per interval."""
        return self.refresh != "every interval"

    @property
    def moment(self) -> Name:
        """The column that says when a row happened, of a table that has a batch per interval."""
        assert self.event_time is not None, "a table for all intervals has none"
        return self.event_time

    @property
    def identity(self) -> tuple[Name, ...]:
        """The columns that no two of its rows have in common."""
        return self.keys if self.valid_from is None else (*self.keys, self.valid_from)

    @property
    def types(self) -> dict[str, ColumnType]:
        """The columns, with their types."""
        return {name: column.type for name, column in self.columns.items()}

    @property
    def arriving(self) -> dict[str, str]:
        """The columns by their names in what arrives."""
        return {column.arrives_as(name): name for name, column in self.columns.items()}

    def naming(self, keys: Collection[str]) -> Source:
        """The source as it is read: a key that arrives as 1001.0 is 1001, where nothing else is said of it.

        Args:
            keys: columns that name entities, beside its own keys.
        """
        whole = {
            name: column.model_copy(update={"normalise": ("whole",)})
            for name, column in self.columns.items()
            if column.type == "string" and column.normalise is None and (name in self.keys or name in keys)
        }
        return self.model_copy(update={"columns": {**self.columns, **whole}}) if whole else self

    def visible(self, *, outcome: bool) -> dict[str, ColumnType]:
        """The columns that a query sees, with their types: all, or without those that are known only afterwards."""
        later = {*self.outcome, *self.moments} - {self.event_time}
        shown = {name: kind for name, kind in self.types.items() if outcome or name not in later}
        return shown if self.valid_from is None or self.valid_to is not None else shown | {VALID_TO: "timestamp"}

    @property
    def moments(self) -> tuple[str, ...]:
        """The columns that say when an outcome became known, which are known no sooner."""
        return tuple(dict.fromkeys(each for each in self.outcome.values() if isinstance(each, str)))


class Freshness(Declared):
    """How old features may be, and what the server answers with older ones. Their age is counted from the end of
    the interval that they were computed for to the moment of the prediction."""

    bound: Duration = Field(description="the greatest age; an interval's features serve until the next one's are there")
    beyond: Literal["answer", "nulls", "refuse"] = Field(
        default="answer",
        description=(
            "answer: predict, and name the view in the answer; nulls: predict without the view's features, too; "
            "refuse: make no prediction"
        ),
    )


class FeatureView(Declared):
    """Features computed by one SQL query over the rows of its look-back, as of the interval's end."""

    entity: Name | None = Field(
        default=None, description="the entity whose features these are; default: the only one, or the model's"
    )
    sql: str | None = Field(default=None, description="default features/<view>.sql")
    sources: tuple[Name, ...] = Field(min_length=1, description="tables that the query reads")
    look_back: Duration = Field(description="how far before as_of the query may see; at least one interval")
    features: dict[Name, FeatureType] = Field(
        min_length=1, description="columns the query returns beside its entity's key"
    )
    freshness: Freshness | None = Field(default=None, description="how old they may be; default: any age")
    contract: str | None = Field(default=None, description="Great Expectations suite; default contracts/<view>.yaml")


class DatasetSpec(Folder, Dated):
    """One dataset, as its folder declares it; or the data of a model that is alone with it."""

    dataset: Name = Field(description="the folder's name")
    description: str = Field(min_length=1, description="what the data is about, and where it comes from")
    owner: Owner
    calendar: Calendar = Field(default=UTC_DAYS, description="the intervals that runs work on; default: days in UTC")
    first_day: date = Field(description="first day of data, in the calendar's zone")
    last_day: date | None = Field(default=None, description="last day of data; null: the data goes on")
    schedule: IngestSchedule = IngestSchedule()
    retention: DataRetention = DataRetention()
    entities: dict[Name, Reference] = Field(
        min_length=1, max_length=MOST_ENTRIES, description="what features are about, by name"
    )
    sources: dict[Name, Source] = Field(
        min_length=1, max_length=MOST_ENTRIES, description="tables that arrive, by name"
    )
    features: dict[Name, FeatureView] = Field(default={}, max_length=MOST_ENTRIES, description="feature views, by name")
    _of_model: bool = PrivateAttr(default=False)

    @classmethod
    def of_model(cls, folder: Path, **declared: Any) -> DatasetSpec:
        """The data of a model that declares it in its own folder; its first entity is the model's own."""
        made = cls.model_construct(**declared)
        for name in cls.model_fields.keys() - declared.keys() - {"last_day"}:
            made.__dict__.pop(name, None)  # a default would state what a partial model does not
        made._folder, made._of_model = folder, True
        return made

    @property
    def name(self) -> str:
        return self.dataset

    @property
    def file(self) -> str:
        return FILE if self.of_a_model else DATA_FILE

    @property
    def of_a_model(self) -> bool:
        """Whether a model's folder declares it."""
        return self._of_model

    @property
    def datasets(self) -> dict[str, DatasetSpec]:
        """Itself, by name, as a model has its datasets."""
        return {self.name: self}

    @property
    def keys(self) -> dict[str, KeyType]:
        """The columns that name its entities, with their types."""
        return {column: kind for entity in self.entities.values() for column, kind in entity.columns.items()}

    def as_read(self, name: str) -> Source:
        """A source, with what its columns are read by because they name something."""
        return self.sources[name].naming(self.keys)

    @property
    def dated(self) -> list[str]:
        """The sources that have a batch per interval: what is there of them says which intervals are ingested."""
        return [name for name, source in self.sources.items() if not source.whole]

    def dataset_of(self, table: str) -> str:
        """The dataset that a source or view is of: this one."""
        return self.dataset

    def entity_of(self, view: str) -> Entity:
        """Whose features a view has: the first entity's, where it does not say."""
        name = self.features[view].entity
        if name not in self.entities:
            name = next(iter(self.entities))
        entity = self.entities[name]
        return Entity.of(name, entity)

    def contract_file(self, table: str) -> Path:
        """The Great Expectations suite of a source or feature view."""
        declared = (self.sources.get(table) or self.features[table]).contract
        return self.folder / (declared or f"contracts/{table}.yaml")

    def source_sql(self, source: str) -> Path:
        """The query of a source that has a connection."""
        return self.folder / (self.sources[source].sql or f"sources/{source}.sql")

    def view_sql(self, view: str) -> Path:
        """The query of a feature view."""
        return self.folder / (self.features[view].sql or f"features/{view}.sql")
