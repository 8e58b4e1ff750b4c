"""The model spec: what one model's folder declares. Frozen, strict, no unknown keys.

This module is the shape of `model.yaml`; `spec.rules` checks what the shape cannot say (keys against each other), and
`spec.load` turns a folder into a `ModelSpec` or into the list of all its mistakes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr
from pydantic.json_schema import SkipJsonSchema

from evergreen.calendar import UTC_DAYS, Calendar
from evergreen.interval import DAY
from evergreen.spec import families
from evergreen.spec.ago import DATED
from evergreen.spec.asking import Asking, EveryInterval, OnRequest
from evergreen.spec.card import Card
from evergreen.spec.dataset import (
    MOST_ENTRIES,
    DatasetSpec,
    Dated,
    Entity,
    FeatureView,
    Folder,
    Owner,
    Reference,
    Source,
)
from evergreen.spec.durations import Duration
from evergreen.spec.gates import Gates
from evergreen.spec.keyed import Name
from evergreen.spec.kinds import FeatureType, KeyType
from evergreen.spec.label import Label
from evergreen.spec.measures import MEASURES, CalibrationMethod, Measure, MetricName
from evergreen.spec.mistakes import FILE
from evergreen.spec.partial import Declared, unsaid
from evergreen.spec.problem import Problem
from evergreen.spec.retention import DataRetention, ModelRetention, Retention
from evergreen.spec.retrain import Retrain
from evergreen.spec.risk import Risk
from evergreen.spec.rollout import DirectRollout, Rollout
from evergreen.spec.schedule import IngestSchedule, ModelSchedule, Schedule
from evergreen.spec.selection import Selection

# What a model uses of a dataset: every view, one, or one feature of it.
Use = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9_]{0,39}(\.[a-z][a-z0-9_]{0,39})?)$")]


class _FamiliesSchema:
    """What editors know of `families`: asked for when a schema is made, so that reading a spec
    imports no family that it does not name."""

    @staticmethod
    def __get_pydantic_json_schema__(core_schema: Any, handler: Any) -> dict[str, Any]:
        return families.json_schema()


class Request(Declared):
    """For predictions that are asked for one by one, each at its own moment: what
    a request says beside the entity's key.

    The query rebuilds the requests of an interval from history. The first source has the requests; of the others
    (weather, say) only rows from before a request's moment may matter. Each run checks that: at three moments of an
    interval it makes the requests again without the rows that came later, and must say the same. Outcome columns are
    not there.
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


class Split(Declared):
    """Which mature rows train and which, later and untouched, evaluate."""

    window: Duration = Field(description="how far back from as_of training rows may lie")
    evaluation: Duration = Field(description="the latest mature stretch, kept for the gates; whole intervals")
    folds: Annotated[int, Field(ge=2, le=10)] = Field(default=3, description="time folds that score a trial")
    minimum_rows: Annotated[int, Field(ge=1)] = Field(description="fewest training rows to learn from")


class Search(Declared):
    """How families are tuned."""

    trials: Annotated[int, Field(ge=1, le=1000)] = Field(description="trials of each family's study, at most")
    seed: int = Field(default=0, ge=0, description="the same seed, data and code give the same model")
    metric: MetricName = Field(
        default="roc_auc",
        description=(
            "the metric that scores trials and compares candidates; binary label: roc_auc, average_precision, "
            "log_loss, brier, accuracy or f1; numeric label: rmse, mae, r2, median_absolute_error or wape (all errors "
            "as a share of all labels); multiclass label: roc_auc (mean over the classes, each against the rest), "
            "log_loss, accuracy, macro_recall or macro_f1 (means over the classes)"
        ),
    )

    @property
    def measure(self) -> Measure:
        """What the metric is, and which way it points."""
        return MEASURES[self.metric]


class Monitoring(Declared):
    """What counts as drift, and what bounds retraining."""

    minimum_rows: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description=(
            "fewest predictions of an interval; fewer are a data incident; null: learned from the intervals before it"
        ),
    )
    window: Duration | None = Field(
        default=None,
        description=(
            "length of the window that is compared with the reference, in whole intervals; 1w where weekdays differ; "
            "null: one interval"
        ),
    )
    feature_drift: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description=(
            "distance (0 to 1) above which one feature has drifted; null: learned for each from how intervals of the "
            "reference differ"
        ),
    )
    prediction_drift: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="distance (0 to 1) above which predictions have drifted; null: learned likewise"
    )
    missing_share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="growth of a feature's share of nulls above which there is a data incident; null: learned likewise",
    )
    retrain: Retrain = Field(default=Retrain(), exclude_if=unsaid(Retrain()), description="when it retrains")
    while_waiting: Literal["alert", "fall_back"] = Field(
        default="alert",
        exclude_if=unsaid("alert"),
        description=(
            "what is done while labels are open, when the champion is likely to be clearly worse than the last known "
            "good version, or than the baseline; alert: the owner is told; fall_back: the last known good version "
            "serves too, until labels judge it"
        ),
    )
    cooldown: Duration = Field(description="least time between two retrainings that the monitor triggers")
    budget: Annotated[int, Field(ge=1)] = Field(
        default=4, description="retrainings that the monitor may trigger in 30 days"
    )
    report_rows: Annotated[int, Field(ge=100)] = Field(
        default=5000, description="rows that the drift report samples, of the window and of the reference"
    )


class _Model(Folder):
    """What every model declares, whosever its data is."""

    model: Name = Field(description="the folder's name")
    description: str = Field(min_length=1, description="what it predicts, and for whom")
    owner: Owner
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
    selection: Selection | None = Field(
        default=None,
        exclude_if=unsaid(None),
        description="how each family leaves out features that it does not need; null: it takes them all",
    )
    gates: Gates
    risk: Risk | None = Field(
        default=None,
        exclude_if=unsaid(None),
        description="what a wrong version may do, and who allows a new one; null: nobody is asked",
    )
    card: Card | None = Field(
        default=None,
        exclude_if=unsaid(None),
        description="what only people know of the model, for the card of each version; null: the card says so",
    )
    refit: bool = Field(
        default=False,
        exclude_if=unsaid(False),
        description=(
            "whether a candidate that passed its gates is fitted anew on all mature rows, those too that the gates "
            "looked at, and registered so"
        ),
    )
    calibrate: CalibrationMethod | None = Field(
        default=None,
        exclude_if=unsaid(None),
        description=(
            "of a binary label, the map that corrects the stated probabilities, fitted on the time folds; sigmoid: two "
            "numbers, isotonic: any map that rises, for thousands of rows; null: they stay as the model states them"
        ),
    )
    rollout: Rollout = Field(
        default=DirectRollout(),
        description=(
            "how requests move to a version that passed its gates; `evergreen check` takes `direct` alone until the "
            "model server answers by two versions of a model"
        ),
    )
    monitoring: Monitoring

    @property
    def name(self) -> str:
        return self.model

    @property
    def file(self) -> str:
        return FILE

    @property
    def problem(self) -> Problem:
        """The kind of label, and all that follows from it."""
        return self.label.problem

    def label_sql(self) -> Path:
        """The query of the label."""
        return self.folder / (self.label.sql or "label.sql")


class UsingModel(_Model):
    """A model of datasets: `model.yaml` with the key `data`. What it uses of them is added by `spec.resolve`."""

    data: dict[Name, tuple[Use, ...]] = Field(
        min_length=1,
        max_length=MOST_ENTRIES,
        description=(
            'the datasets, each with what the model uses of it: `view`, `view.feature`, or `"*"` for every view; `[]`: '
            "only its sources, for the label and the request"
        ),
    )
    entity: Name = Field(description="what a prediction is about: an entity of the datasets")
    references: tuple[Name, ...] = Field(
        default=(), max_length=MOST_ENTRIES, description="other entities of the datasets that a request names"
    )
    schedule: ModelSchedule
    retention: ModelRetention = ModelRetention()


class Tables(Declared):
    """Which of a model's tables a dataset has."""

    sources: tuple[Name, ...] = Field(description="of those that label and request read")
    views: tuple[Name, ...] = Field(description="of those whose features it uses")


class ModelSpec(_Model, Dated):
    """One model with all that it uses: as its folder declares it, or put together of its own folder and those of its
    datasets.

    `sources`, `features`, `entity`, `references` and the days are then what it uses of its datasets. `datasets` has
    those whole, and `dataset_of` says where a table stands.
    """

    calendar: Calendar = Field(default=UTC_DAYS, description="the intervals that runs work on; default: days in UTC")
    first_day: date = Field(description="first day of data, in the calendar's zone")
    last_day: date | None = Field(default=None, description="last day of data; null: the data goes on")
    schedule: Schedule
    retention: Retention = Retention()
    entity: Entity
    references: dict[Name, Reference] = Field(
        default={}, max_length=MOST_ENTRIES, description="other entities that a request names, by name"
    )
    sources: dict[Name, Source] = Field(
        min_length=1, max_length=MOST_ENTRIES, description="tables that arrive, by name"
    )
    features: dict[Name, FeatureView] = Field(
        default={},
        max_length=MOST_ENTRIES,
        description="feature views, by name; none: the model learns from `request.inputs` alone",
    )
    # No key of the file: it is what the key `data` of a model of datasets came to, and stays with every version.
    data: SkipJsonSchema[dict[Name, Tables]] = Field(default={})
    _datasets: dict[str, DatasetSpec] = PrivateAttr(default={})

    def with_datasets(self, datasets: Mapping[str, DatasetSpec]) -> ModelSpec:
        """The same model, which knows the datasets that `data` names."""
        copy = self.model_copy()
        copy._datasets = dict(datasets)
        return copy

    def without(self, dropped: Collection[str]) -> ModelSpec:
        """The same model, which does without some of its features."""
        views = {
            view: declared.model_copy(update={"features": left})
            for view, declared in self.features.items()
            if (left := {name: kind for name, kind in declared.features.items() if name not in dropped})
        }
        return self.model_copy(update={"features": views})

    @property
    def datasets(self) -> Mapping[str, DatasetSpec]:
        """Every dataset that it uses, whole, by name; of a model that is alone with its data the one named like it."""
        return self._datasets if self.data else {self.model: self.own_data()}

    def own_data(self) -> DatasetSpec:
        """What a folder that declares both says of the data; of a partial spec, what it states of it."""
        stated: dict[str, Any] = {
            name: self.__dict__[name]
            for name in ("description", "owner", "calendar", "first_day", "last_day", "sources", "features")
            if name in self.__dict__
        }
        if "model" in self.__dict__:
            stated["dataset"] = self.model
        entity = self.entity.__dict__
        own = {part: value for part, value in entity.items() if part != "name"}
        references = self.__dict__.get("references", {})
        stated["entities"] = {entity.get("name", ""): Reference.model_construct(**own), **references}
        parts = IngestSchedule.model_fields
        schedule = {part: value for part, value in self.schedule.__dict__.items() if part in parts}
        kept = {part: value for part, value in self.retention.__dict__.items() if part in DataRetention.model_fields}
        return DatasetSpec.of_model(
            self.folder,
            schedule=IngestSchedule.model_construct(**schedule),
            retention=DataRetention.model_construct(**kept),
            **stated,
        )

    @property
    def window(self) -> timedelta:
        """How long the window is that the monitor compares with the reference."""
        return self.monitoring.window or self.calendar.unit

    def data_of(self, table: str) -> DatasetSpec:
        """The dataset that has a source or a view, whole."""
        return self.datasets[self.dataset_of(table)]

    def dataset_of(self, table: str) -> str:
        """The dataset that has a source or a view."""
        for name, tables in self.data.items():
            if table in tables.sources or table in tables.views:
                return name
        return self.model

    @property
    def stored_types(self) -> dict[str, FeatureType]:
        """Every feature of every view, in declared order."""
        return {name: kind for view in self.features.values() for name, kind in view.features.items()}

    @property
    def feature_types(self) -> dict[str, FeatureType]:
        """The model's inputs, as it takes them: the features of the views, then what a request says; of a timestamp or
        date the days since then."""
        declared: dict[str, FeatureType] = {**self.stored_types, **self.asking.inputs}
        return {name: "float" if kind in DATED else kind for name, kind in declared.items()}

    @property
    def asking(self) -> Asking:
        """How a prediction is asked for."""
        return EveryInterval(self) if self.request is None else OnRequest(self, self.request)

    @property
    def keys(self) -> dict[str, KeyType]:
        """The columns that name the entities of a prediction, with their types; the entity's own are the first."""
        named: tuple[Entity | Reference, ...] = (self.entity, *self.references.values())
        return {column: kind for entity in named for column, kind in entity.columns.items()}

    def entity_of(self, view: str) -> Entity:
        """Whose features a view has."""
        name = self.features[view].entity
        other = None if name is None else self.references.get(name)
        return self.entity if name is None or other is None else Entity.of(name, other)
