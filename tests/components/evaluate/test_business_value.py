"""From a cost matrix to the threshold that a version decides by, and what its predictions are worth."""

from __future__ import annotations

from collections.abc import Callable

import mlflow
import numpy as np
import pytest

from evergreen.errors import StageSkipped
from evergreen.evaluate import stages
from evergreen.govern import stages as govern
from evergreen.handovers.train import Candidate, SoundTrainingSet
from evergreen.model import rows
from evergreen.registry import artifacts, loading, pipelines, records
from evergreen.registry import stages as registry
from evergreen.registry.contents import Recipe
from evergreen.serve import loaded
from evergreen.spec.business_value import BusinessValue
from evergreen.spec.label import Label
from evergreen.spec.problem import Binary
from evergreen.spec.schema import ModelSpec
from evergreen.train import folding
from evergreen.train import stages as train
from tests.components.train.conftest import rows_of

from .conftest import Contest, run_as_of

VALUE = BusinessValue(currency="EUR", true_positive=8, false_positive=-4, true_negative=0, false_negative=-1)
FAMILY = "logistic_regression"


def valued(spec: ModelSpec, *, floor: float = 0.0, **label: object) -> ModelSpec:
    """The model with a cost matrix and a bound for what it gives."""
    stated = Label(**{**dict(spec.label), "business_value": VALUE, **label})
    gates = spec.gates.model_copy(update={"floor": {"business_value": floor, **spec.gates.floor}})
    return spec.model_copy(update={"label": stated, "gates": gates}).at(spec.folder)


def worth(candidate: Candidate, at: float, later: rows.Rows) -> float:
    """What 1,000 predictions are worth, row by row."""
    predicted = rows.predict(pipelines.pipeline(candidate.run.id), later.inputs)
    of_row = {(1, 1): 8, (1, 0): -4, (0, 0): 0, (0, 1): -1}
    pairs = zip((predicted >= at).astype(int).tolist(), later.labels.tolist(), strict=True)
    return 1000 * float(np.mean([of_row[yes, label] for yes, label in pairs]))


def test_a_training_chooses_the_threshold_on_its_time_folds_and_the_version_decides_by_it(
    spec: ModelSpec, training_set: Callable[..., SoundTrainingSet]
) -> None:
    model = valued(spec)
    run = run_as_of(model)
    data = training_set(run)
    candidate = train.tune(run, data, FAMILY)
    recorded = artifacts.load(records.candidate(candidate.run.id), Recipe)
    assert candidate.threshold == recorded.threshold is not None
    assert mlflow.get_run(candidate.run.id).data.metrics["operating_threshold"] == candidate.threshold

    learn, later = rows.read(model, data, "learn"), rows.read(model, data, "evaluate")
    folds = folding.usable(model, learn).parts
    assert folding.decided(model, folds, FAMILY, recorded.parameters) == (None, candidate.threshold)
    assert all((part.later.frame["event_timestamp"] < data.evaluate.start).all() for part in folds), (
        "no row of the gates"
    )
    told = [folding.fitted(model, part, FAMILY, recorded.parameters)(part.later.inputs) for part in folds]
    labels, predictions = np.concatenate([part.later.labels for part in folds]), np.concatenate(told)

    def total(at: float) -> float:
        yes = predictions >= at
        return float(np.where(labels == 1, np.where(yes, 8, -1), np.where(yes, -4, 0)).sum())

    assert total(candidate.threshold) == max(total(at) for at in [0.0, *predictions, 1.1])
    assert total(candidate.threshold) > total(0.5), "the case: it matters"

    evaluated = stages.evaluate(run, data, (candidate,))
    assert evaluated.best.scores["business_value"] == pytest.approx(worth(candidate, candidate.threshold, later))
    assert evaluated.baseline["business_value"] is not None
    judged = stages.gates(run, evaluated)
    (gate,) = (each for each in judged.gates if each.name == "business_value at least")
    assert judged.passed and gate.low is not None and gate.high is not None and gate.observed is not None
    assert gate.low < gate.observed == evaluated.best.scores["business_value"] < gate.high

    version = registry.register(run, train.refit(run, govern.approve(run, judged))).version
    served = loaded.load(model.model, version, artifacts.read)
    assert served.problem.classes_of(np.array([candidate.threshold - 1e-6, candidate.threshold])) == [0, 1]
    stored = loading.spec(model.model, records.version(model.model, version))
    assert stored.label.threshold is None, "the spec stays as it was declared"


def test_a_model_that_is_worth_too_little_is_not_promoted(contest: Contest) -> None:
    run = run_as_of(valued(contest.spec, floor=1e6))
    data = contest.data(run)
    judged = contest.judge(run, data, [contest.candidate(run, data)])
    with pytest.raises(StageSkipped, match=r"business_value at least: business_value -?[\d.]+, bound 1e\+06"):
        registry.register(run, judged)


def test_candidate_and_champion_are_each_worth_what_their_own_thresholds_make_of_them(contest: Contest) -> None:
    before, model = valued(contest.spec, threshold=0.9), valued(contest.spec)
    earlier, run = run_as_of(before, 16), run_as_of(model)
    old = contest.data(earlier)
    champion = contest.candidate(earlier, old)
    contest.champion(earlier, old, champion)
    data = contest.data(run, rows_of(range(30)))
    candidate = contest.candidate(run, data).model_copy(update={"threshold": 0.4})
    evaluated, later = stages.evaluate(run, data, (candidate,)), rows.read(model, data, "evaluate")
    assert evaluated.champion is not None and evaluated.champion.scores is not None
    assert evaluated.best.scores["business_value"] == pytest.approx(worth(candidate, 0.4, later))
    assert evaluated.champion.scores["business_value"] == pytest.approx(worth(champion, 0.9, later))


def test_without_a_cost_matrix_or_a_threshold_the_most_probable_class_is_decided_on(contest: Contest) -> None:
    run = run_as_of(contest.spec)
    data = contest.data(run)
    candidate = contest.candidate(run, data)
    assert loading.threshold(contest.spec, records.candidate(candidate.run.id)) == 0.5
    stated = valued(contest.spec, threshold=0.7)
    assert loading.threshold(stated, records.candidate(candidate.run.id)) == 0.7
    chosen = valued(contest.spec)
    assert loading.threshold(chosen, records.candidate(candidate.run.id)) == pytest.approx(4 / 13), (
        "a version without a record of it: where a yes breaks even"
    )
    assert isinstance(chosen.problem, Binary) and chosen.problem == contest.spec.problem
