"""A small model with a history, its trainings and its versions, as the loops record them."""

from __future__ import annotations

from evergreen.handovers.train import SoundTrainingSet
from evergreen.registry import store
from evergreen.registry.tags import Tag
from evergreen.spec.schema import ModelSpec
from evergreen.train import stages

from .conftest import DAYS, at, run_as_of
from .history import CUSTOMERS, Row, feature, label

FAMILY = "logistic_regression"
MISSING = 6  # a day that is filled later


def days(*numbers: int, value: float = 0.0) -> tuple[list[Row], list[Row]]:
    """Features and labels of days, known in time."""
    features, labels = [], []
    for day in numbers:
        for number, customer in enumerate(CUSTOMERS):
            features.append(feature(customer, at(day), value + 10.0 * number + day))
            labels.append(label(customer, at(day), (number + day) % 2))
    return features, labels


def trained(spec: ModelSpec, day: int = DAYS - 1) -> tuple[SoundTrainingSet, str]:
    """A training, and the id of its MLflow run."""
    run = run_as_of(spec, day)
    data = SoundTrainingSet(**dict(stages.build(run)), page="http://reports.test/", warnings=())
    return data, stages.tune(run, data, FAMILY).run.id


def registered(spec: ModelSpec, day: int = DAYS - 1) -> tuple[SoundTrainingSet, int]:
    """A training, and its version."""
    data, run_id = trained(spec, day)
    with store.locked(spec.model):
        version = store.register(spec.model, run_id=run_id, key=data.key, as_of=at(day), tags={Tag.FAMILY: FAMILY})
    return data, version.number
