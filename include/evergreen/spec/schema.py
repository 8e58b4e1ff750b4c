"""The model spec: what one model's folder declares. Frozen, strict, no unknown keys.

This module is the shape of `model.yaml`; `spec.rules` checks what the shape cannot say (keys against each other), and
`spec.load` turns a folder into a `ModelSpec` or into the list of all its mistakes.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PrivateAttr

from evergreen.interval import DAY
from evergreen.spec import families
from evergreen.spec.asking import Asking, EveryInterval, OnRequest
from evergreen.spec.durations import Delay, Duration
from evergreen.spec.kinds import ColumnType, FeatureType, KeyType
from evergreen.spec.partial import Declared
from evergreen.spec.problem import MEASURES, MOST_CLASSES, LabelType, Measure, MetricName, Problem, problem

MOST_ENTRIES = 200  # of sources, views and references of a model: each has files of its own
# Of a class: clients, tables and pages show it as it is.
ClassName = Annotated[str, Field(pattern=r"^\w([\w .+/-]{0,38}\w)?$")]
NAME = r"^[a-z][a-z0-9_]{0,39}$"
Name = Annotated[str, Field(pattern=NAME)]


class _FamiliesSchema:
    """What editors know of `families`: asked for when a schema is made, so that reading a spec
    imports no family that it does not name."""

    @staticmethod
    def __get_pydantic_json_schema__(core_schema: Any, handler: Any) -> dict[str, Any]:
        return families.json_schema()


class Owner(Declared):
    """Who hears of it when a task of this model fails."""

    name: str = Field(min_length=1, description="team or person, shown as the DAG's owner")
    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$", description="where failure messages go")


class Schedule(Declared):
    """When each loop runs by itself: five-field crons in UTC.

    A scheduled run begins when its interval is over, and then waits for what comes later: ingest for its batches, train
    and monitor for their last day to be ingested. A backfill, and a run by hand, waits for nothing.
    """

    ingest: str = Field(default="0 0 * * *", description="once per day, since an interval is one day in UTC")
    train: str = Field(description="routine retraining; the monitor triggers more")
    monitor: str = Field(default="0 0 * * *", description="once per day")
    wait: Delay = Field(
        default=timedelta(hours=6),
        json_schema_extra={"default": "6h"},
        description=(
            "how long a scheduled run waits for late data, from its start or from complete_after; then ingest fails, "
            "and train and monitor go on without the day"
        ),
    )


class Entity(Declared):
    """What a prediction is about."""

    name: Name = Field(description="its name; models that predict about the same entities share it")
    key: Name = Field(description="the column that identifies it, in sources, views and requests")
    type: KeyType = Field(default="string", description="type of the key")


class Reference(Declared):
    """Another entity that a request names, such as the carrier of a flight."""

    key: Name = Field(description="the column that identifies it, in views and requests; a request may leave it null")
    type: KeyType = Field(default="string", description="type of the key")


class Source(Declared):
    """One table that arrives as one batch per interval: as files of the landing zone
    (`path`), or by a query (`connection`)."""

    # One model for both kinds: the mistakes of a union's members could not be told apart, nor all at once.
    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["path"]}, {"required": ["connection"]}]})

    path: str | None = Field(
        default=None,
        description=(
            "file below the landing zone; {partition} is the interval's date; * in the last part: all files that match"
        ),
    )
    format: Literal["csv", "jsonl", "parquet"] = Field(
        default="csv", description="format of the file; csv has a header"
    )
    compression: Literal["gzip", "none"] | None = Field(
        default=None, description="compression of a csv or jsonl file; default: gzip when its name ends in .gz"
    )
    encoding: str = Field(
        default="utf-8", description="encoding of a csv or jsonl file, as Python names it: utf-8, cp1252, utf-16"
    )
    delimiter: str = Field(default=",", description="delimiter of a csv file; one character")
    history: bool = Field(
        default=False, description="path is one file for all days; a day takes the rows whose event_time lies in it"
    )
    connection: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="id of an Airflow connection to Postgres, in place of path",
    )
    sql: str | None = Field(
        default=None, description="query on the connection, from %(start)s to %(end)s; default sources/<source>.sql"
    )
    complete_after: Delay = Field(
        default=timedelta(0),
        json_schema_extra={"default": "0h"},
        description=(
            "how long after the end of its day a batch may still grow (late parts, late commits); a scheduled ingest "
            "does not read before"
        ),
    )
    event_time: Name = Field(description="the column that says when a row happened")
    keys: tuple[Name, ...] = Field(min_length=1, description="columns that identify a row within the table")
    columns: dict[Name, ColumnType] = Field(min_length=1, description="every column, with its type")
    outcome: dict[Name, Delay] = Field(
        default={},
        description=(
            "columns known only later, each with the time after event_time until it is known; a view does not see it "
            "before, and a request never"
        ),
    )
    contract: str | None = Field(default=None, description="Great Expectations suite; default contracts/<source>.yaml")

    def visible(self, *, outcome: bool) -> dict[str, ColumnType]:
        """The columns that a query sees, with their types: all, or without those that are known only afterwards."""
        return {name: kind for name, kind in self.columns.items() if outcome or name not in self.outcome}


class FeatureView(Declared):
    """Features computed by one SQL query over the look-back window, as of the interval's end."""

    entity: Name | None = Field(default=None, description="the reference whose features these are; default: the entity")
    sql: str | None = Field(default=None, description="default features/<view>.sql")
    sources: tuple[Name, ...] = Field(min_length=1, description="tables that the query reads")
    look_back: Duration = Field(description="how far before as_of the query may see; at least 1d")
    features: dict[Name, FeatureType] = Field(
        min_length=1, description="columns the query returns beside its entity's key"
    )
    contract: str | None = Field(default=None, description="Great Expectations suite; default contracts/<view>.yaml")


class Request(Declared):
    """For predictions that are asked for one by one, each at its own moment: what
    a request says beside the entity's key.

    The query rebuilds the requests of a day from history. The first source has the requests; of the others (weather,
    say) only rows from before a request's moment may matter. Each run checks that: at three moments of a day it makes
    the requests again without the rows that came later, and must say the same. Outcome columns are not there.
    """

    sources: tuple[Name, ...] = Field(
        min_length=1, description="tables that the query reads; the first has the requests"
    )
    look_back: Duration = Field(
        default=DAY,
        json_schema_extra={"default": "1d"},
        description="how far before the interval the query may see",
    )
    inputs: dict[Name, FeatureType] = Field(default={}, description="what the client sends, beside the keys")
    sql: str | None = Field(default=None, description="default request.sql")


class Label(Declared):
    """The outcome to predict; known `horizon` after the moment of prediction."""

    name: Name = Field(description="the column that the query returns beside the entity's key")
    type: LabelType = Field(
        default="binary",
        description="binary: 0 or 1, or false or true; numeric: any number; multiclass: the name of one of the classes",
    )
    classes: tuple[ClassName, ...] = Field(
        default=(),
        max_length=MOST_CLASSES,
        description="every value that a multiclass label may have, three or more",
    )
    horizon: Duration = Field(
        description="time from the prediction until label maturity, when the outcome is known; whole days"
    )
    sources: tuple[Name, ...] = Field(min_length=1, description="tables that the query reads")
    sql: str | None = Field(default=None, description="default label.sql")

    @property
    def problem(self) -> Problem:
        """What follows from the kind of label."""
        return problem(self.type, self.classes)


class Split(Declared):
    """Which mature rows train and which, later and untouched, evaluate."""

    window: Duration = Field(description="how far back from as_of training rows may lie")
    evaluation: Duration = Field(description="the latest mature stretch, kept for the gates; whole days")
    folds: Annotated[int, Field(ge=2, le=10)] = Field(default=3, description="time folds that score a trial")
    minimum_rows: Annotated[int, Field(ge=1)] = Field(description="fewest training rows to learn from")


class Search(Declared):
    """How families are tuned."""

    trials: Annotated[int, Field(ge=1, le=1000)] = Field(description="trials of each family's study, at most")
    seed: int = Field(default=0, ge=0, description="the same seed, data and code give the same model")
    metric: MetricName = Field(
        default="roc_auc",
        description=(
            "the metric that scores trials and compares candidates; numeric label: rmse, mae or r2; multiclass label: "
            "roc_auc (mean over the classes, each against the rest), log_loss, accuracy or macro_f1 (mean of the "
            "classes' F1)"
        ),
    )

    @property
    def measure(self) -> Measure:
        """What the metric is, and which way it points."""
        return MEASURES[self.metric]


class Gates(Declared):
    """Bounds that a candidate must meet. Missing evidence fails closed."""

    minimum_rows: Annotated[int, Field(ge=1)] = Field(description="fewest evaluation rows")
    minimum_positives: Annotated[int, Field(ge=1)] = Field(
        default=20, description="fewest evaluation rows of each class of a binary label"
    )
    minimum_per_class: Annotated[int, Field(ge=1)] = Field(
        default=20, description="fewest evaluation rows of each class of a multiclass label"
    )
    floor: dict[MetricName, float] = Field(
        min_length=1, description="absolute bound per metric (a ceiling where lower is better)"
    )
    better_than_baseline: float = Field(
        default=0.0, ge=0.0, description="least gain over the baseline, in the search metric"
    )
    better_than_champion: float = Field(
        default=0.0, ge=0.0, description="least gain over the champion on the same rows, in the search metric"
    )

    def fewest_of_class(self, problem: Problem) -> int:
        """How many evaluation rows each class needs; 0 where the label has no classes."""
        return 0 if problem.class_bound is None else int(getattr(self, problem.class_bound))


class Rollout(Declared):
    """How requests move to a version that passed its gates."""

    strategy: Literal["direct"] = Field(default="direct", description="direct: all requests at once")


class Monitoring(Declared):
    """What counts as drift, and what bounds retraining."""

    minimum_rows: Annotated[int, Field(ge=1)] = Field(
        description="fewest predictions of an interval; fewer are a data incident"
    )
    window: Duration = Field(
        default=DAY,
        json_schema_extra={"default": "1d"},
        description="length of the window that is compared with the reference, in whole days; 1w where weekdays differ",
    )
    feature_drift: Annotated[float, Field(gt=0)] = Field(
        default=0.1, description="distance above which one feature has drifted"
    )
    drifted_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.3, description="share of drifted features from which on the window is different"
    )
    prediction_drift: Annotated[float, Field(gt=0)] = Field(
        default=0.1, description="distance above which predictions have drifted"
    )
    performance_drop: Annotated[float, Field(gt=0)] = Field(
        default=0.05,
        description="loss of the search metric, against the version's evaluation, above which the window is different",
    )
    missing_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.2, description="growth of a feature's share of nulls above which there is a data incident"
    )
    persistence: Annotated[int, Field(ge=1)] = Field(
        default=3, description="windows in a row that must differ before the monitor acts"
    )
    cooldown: Duration = Field(description="least time between two retrainings that the monitor triggers")
    budget: Annotated[int, Field(ge=1)] = Field(
        default=4, description="retrainings that the monitor may trigger in 30 days"
    )
    report_rows: Annotated[int, Field(ge=100)] = Field(
        default=5000, description="rows that the drift report samples, of the window and of the reference"
    )


class ModelSpec(Declared):
    """One model, as its folder declares it."""

    model: Name = Field(description="the folder's name")
    description: str = Field(min_length=1, description="what it predicts, and for whom")
    owner: Owner
    first_day: date = Field(description="first day of data")
    last_day: date | None = Field(default=None, description="last day of data; null: the data goes on")
    schedule: Schedule
    entity: Entity
    references: dict[Name, Reference] = Field(
        default={}, max_length=MOST_ENTRIES, description="other entities that a request names, by name"
    )
    sources: dict[Name, Source] = Field(
        min_length=1, max_length=MOST_ENTRIES, description="tables that arrive, by name"
    )
    features: dict[Name, FeatureView] = Field(
        min_length=1, max_length=MOST_ENTRIES, description="feature views, by name"
    )
    request: Request | None = Field(
        default=None,
        description="null: every entity is predicted at the end of each interval",
    )
    label: Label
    split: Split
    families: Annotated[dict[Name, dict[str, Any]], _FamiliesSchema] = Field(
        min_length=1,
        description="families to tune; for a parameter, a range [low, high] or one value replaces the family's range",
    )
    search: Search
    gates: Gates
    rollout: Rollout = Rollout()
    monitoring: Monitoring
    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """Where the spec was read from."""
        return self._folder

    def at(self, folder: Path) -> ModelSpec:
        """The same spec, read from `folder`."""
        copy = self.model_copy()
        copy._folder = folder
        return copy

    @property
    def problem(self) -> Problem:
        """The kind of label, and all that follows from it."""
        return self.label.problem

    @property
    def stored_types(self) -> dict[str, FeatureType]:
        """Every feature of every view, in declared order."""
        return {name: kind for view in self.features.values() for name, kind in view.features.items()}

    @property
    def feature_types(self) -> dict[str, FeatureType]:
        """The model's inputs: the features of the views, then what a request says."""
        return {**self.stored_types, **self.asking.inputs}

    @property
    def asking(self) -> Asking:
        """How a prediction is asked for."""
        return EveryInterval(self) if self.request is None else OnRequest(self, self.request)

    @property
    def keys(self) -> dict[str, KeyType]:
        """The columns that name the entities of a prediction, with their types; the entity's own is the first."""
        named: tuple[Entity | Reference, ...] = (self.entity, *self.references.values())
        return {entity.key: entity.type for entity in named}

    def entity_of(self, view: str) -> Entity:
        """Whose features a view has."""
        name = self.features[view].entity
        other = None if name is None else self.references.get(name)
        return self.entity if name is None or other is None else Entity(name=name, key=other.key, type=other.type)

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

    def label_sql(self) -> Path:
        """The query of the label."""
        return self.folder / (self.label.sql or "label.sql")

    def relative(self, path: Path) -> str:
        """How messages name a file of the folder."""
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)
