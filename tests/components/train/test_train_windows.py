"""After a change of the world: which rows a candidate learns from, with real fits; and that the choice is kept."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evergreen.handovers.train import Backtest, SoundTrainingSet
from evergreen.history import ledger, timeline
from evergreen.model import rows
from evergreen.model.estimators import LogisticRegression
from evergreen.model.rows import predict
from evergreen.registry import artifacts, pipelines, records
from evergreen.registry.contents import Recipe
from evergreen.registry.tags import Tag
from evergreen.settings import Settings, settings
from evergreen.spec.schema import ModelSpec
from evergreen.train import backtesting, recipes, refitting, stages

from .conftest import at, run_as_of, spec_in

LENGTH, CHANGE = 40, 28  # days to learn from; the first one after the change
SPLIT = {"window": "60d", "evaluation": "3d", "minimum_rows": 300, "folds": 3}
FAMILY = "logistic_regression"


def world(kind: str, seed: int = 1, customers: int = 60, change: int = CHANGE, length: int = LENGTH) -> pd.DataFrame:
    """Rows of a world that changes on a day, or from its first day on by a little each day."""
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(length), customers)
    minutes, sessions = random.normal(30, 10, len(day)), random.integers(0, 9, len(day)).astype(float)
    after = day >= change
    turned = {"sudden": np.pi * after, "harmless": 0.0 * day, "slow": day / length}[kind]  # radians
    if kind == "harmless":
        minutes = minutes + 8 * after
    odds = 2 * (np.cos(turned) * (minutes - 30) / 10 + np.sin(turned) * (sessions - 4) / 2.6)
    return pd.DataFrame(
        {
            "customer_id": [f"c{number % customers}" for number in range(len(day))],
            "event_timestamp": pd.to_datetime([at(int(each)) for each in day], utc=True).astype("datetime64[us, UTC]"),
            "minutes": minutes,
            "sessions": sessions,
            "mobile": random.random(len(day)) < 0.5,
            "plan": random.choice(["basic", "pro"], len(day)).astype(object),
            "left": (random.random(len(day)) < 1 / (1 + np.exp(-odds))).astype("int64"),
        }
    )


def backtest(folder: Path, frame: pd.DataFrame, changed_at: datetime, family: str = FAMILY, **changes: Any) -> Backtest:
    spec = spec_in(folder, **{"split": SPLIT, "families": {family: {}}} | changes)
    run = run_as_of(spec, LENGTH + 6, changed_at=changed_at)
    folded = backtesting.fold(run, family, rows.of(spec, frame))
    assert folded.backtest is not None
    for part in folded.parts:
        assert (
            part.learn.frame["event_timestamp"].max() + spec.label.horizon <= part.later.frame["event_timestamp"].min()
        )
        assert not folded.backtest.scores or part.later.frame["event_timestamp"].min() >= changed_at
    return folded.backtest


@pytest.mark.parametrize(
    ("kind", "family", "customers", "change", "way"),
    [
        ("sudden", "logistic_regression", 60, CHANGE, "since"),
        ("sudden", "gradient_boosting", 60, CHANGE, "since"),
        ("harmless", "gradient_boosting", 60, LENGTH - 6, "full"),
        ("slow", "logistic_regression", 25, LENGTH - 5, "weighted"),
    ],
)
def test_the_way_that_suits_the_change_is_taken(
    tmp_path: Path, kind: str, family: str, customers: int, change: int, way: str
) -> None:
    frame = world(kind, customers=customers, change=change)
    found = backtest(tmp_path, frame, at(change), family, split=SPLIT | {"minimum_rows": 100})
    assert found.window.way == way, found.reason
    assert found.scores.keys() == {"full", "since", "weighted"}
    assert found.scores[found.window.way] == max(found.scores.values())
    assert found.reason.startswith(str(found.window)) and "on 3 time folds after" in found.reason


def test_a_family_without_weights_leaves_that_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogisticRegression, "weights", False)
    found = backtest(tmp_path, world("sudden"), at(CHANGE))
    assert found.scores.keys() == {"full", "since"}
    assert "weighted is left out: the family takes no weights" in found.reason


def test_too_few_rows_since_the_change_leave_the_other_ways(tmp_path: Path) -> None:
    found = backtest(tmp_path, world("sudden"), at(LENGTH - 4))
    assert found.scores.keys() == {"full", "weighted"}
    assert "since is left out: 240 of 300 rows from after the change (split.minimum_rows)" in found.reason
    # two days after it: neither can be learned from before the other is scored
    found = backtest(tmp_path, world("sudden"), at(LENGTH - 2), split=SPLIT | {"minimum_rows": 100})
    assert found.scores.keys() == {"full", "weighted"}
    assert "since is left out: no time fold after the change can be learned for from after it alone" in found.reason
    found = backtest(tmp_path, world("sudden"), at(LENGTH + 2))
    assert (found.window.way, found.scores) == ("full", {})
    assert "can be scored; since is left out: no label from after the change has matured" in found.reason


def test_a_change_before_all_rows_leaves_nothing_to_choose(tmp_path: Path) -> None:
    found = backtest(tmp_path, world("sudden"), at(-5))
    assert found.window.way == "full" and found.scores.keys() == {"full"}


@pytest.fixture
def changed(home: Settings, mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """A model whose history has a sudden change in it."""
    from .history import feature, label, publish

    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", mlflow_url)
    settings.cache_clear()
    spec = spec_in(
        tmp_path / "model",
        model=f"m_{home.database_prefix}changed".replace("__", "_"),
        split=SPLIT | {"window": "40d", "minimum_rows": 100},
        families={FAMILY: {}},
        search={"trials": 2, "seed": 7},
        gates={"minimum_rows": 20, "minimum_positives": 5, "floor": {"roc_auc": 0.6}},
        refit=True,
    )
    frame = world("sudden", customers=30)
    features = [
        feature(row.customer_id, row.event_timestamp.to_pydatetime(), row.minutes)
        for row in frame.itertuples(index=False)
    ]
    labels = [
        label(row.customer_id, row.event_timestamp.to_pydatetime(), row.left) for row in frame.itertuples(index=False)
    ]
    publish(spec, features, labels)
    return spec


def test_what_was_chosen_is_recorded_and_the_refit_and_any_later_fit_do_the_same(changed: ModelSpec) -> None:
    import mlflow

    from evergreen.evaluate import stages as evaluation
    from evergreen.govern import stages as govern
    from evergreen.registry import stages as registry
    from evergreen.train.rebuilding import rebuild

    spec, run = changed, run_as_of(changed, LENGTH - 1, changed_at=at(CHANGE))
    data = SoundTrainingSet(**dict(stages.build(run)), page="http://reports.test/", warnings=())
    assert data.learn.start < at(CHANGE) < data.learn.end, "the training set keeps the whole window"
    candidate = stages.tune(run, data, FAMILY)
    assert candidate.backtest is not None and candidate.backtest.window.since == at(CHANGE)

    tracked = mlflow.MlflowClient(settings().mlflow_url).get_run(candidate.run.id).data
    assert tracked.tags[Tag.WINDOW] == candidate.backtest.reason
    for way, score in candidate.backtest.scores.items():
        assert tracked.metrics[f"window_{way}"] == score
    recipe = artifacts.load(records.candidate(candidate.run.id), Recipe)
    assert recipe.backtest == candidate.backtest and recipe.family == FAMILY
    (told,) = [text for _, text in timeline.lines(ledger.entries(spec.model)) if "trained" in text]
    assert candidate.backtest.reason in told
    assert stages.tune(run, data, FAMILY) == candidate, "once more, the same without a fit"

    # the same rows and the recipe give the same fit
    learn = rows.read(spec, data, "learn")
    anew, learned = recipes.fit(spec, recipe, learn)
    assert learned.frame["event_timestamp"].min() == at(CHANGE) and len(learned.labels) < len(learn.labels)
    pipeline = pipelines.pipeline(candidate.run.id)
    assert (predict(anew, learn.inputs) == predict(pipeline, learn.inputs)).all()

    judged = evaluation.gates(run, evaluation.evaluate(run, data, (candidate,)))
    assert judged.passed, judged.reason
    fitted = stages.refit(run, govern.approve(run, judged))
    assert fitted.refit is not None and fitted.refit.chosen, fitted.refit
    days = [day for day in range(CHANGE, LENGTH) if at(day + 2) <= run.as_of]
    assert fitted.refit.rows == 30 * len(days), "from after the change alone, up to the last mature label"
    assert recipes.of(spec, records.candidate(fitted.run.id)) == recipe
    number = registry.register(run, fitted).version
    rebuilt = rows.of(spec, rebuild(spec.model, number).data.rows.to_pandas())
    anew, _ = recipes.fit(spec, recipe, rebuilt)
    assert (predict(anew, rebuilt.inputs) == predict(pipelines.pipeline(fitted.run.id), rebuilt.inputs)).all()
    assert refitting.learn(run, data.key).held_out.frame["event_timestamp"].min() >= at(CHANGE)
