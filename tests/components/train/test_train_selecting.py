"""Which features a family takes: on planted rows, without databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evergreen.handovers.selection import Importance, Selected
from evergreen.model import importance, rows
from evergreen.model.families import columns_of
from evergreen.model.rows import Rows, predict
from evergreen.run import Run
from evergreen.runtime.answering import GraphPredictor
from evergreen.runtime.exporting import export
from evergreen.spec.schema import ModelSpec
from evergreen.spec.selection import Selection
from evergreen.train import backtesting, folding, recipes, searching, selecting, windows

from .conftest import at, rows_of, run_as_of, spec_in

FAMILY = "logistic_regression"
NOISE = {"sessions", "mobile"}  # `plan` and `minutes` tell something of the label


@pytest.fixture
def spec(tmp_path: Path) -> ModelSpec:
    return spec_in(tmp_path, selection={})


def selected(spec: ModelSpec, frame: pd.DataFrame | None = None, **asked: Any) -> Selected:
    spec = spec.model_copy(update={"selection": Selection(**asked)})
    run, learn = run_as_of(spec), rows.of(spec, rows_of(range(14), 200) if frame is None else frame)
    made = selecting.select(run, FAMILY, backtesting.fold(run, FAMILY, learn).parts)
    assert made is not None and [each.input for each in made.inputs] == list(spec.feature_types)
    assert {each.input for each in made.inputs if not each.taken} == {*made.dropped}
    return made


def test_noise_is_left_out_and_what_tells_something_stays(spec: ModelSpec) -> None:
    made = selected(spec)
    assert {*made.dropped} <= NOISE and "sessions" in made.dropped, made.reason
    told = {each.input: each for each in made.inputs}
    assert told["minutes"].low is not None and told["minutes"].low > 0
    assert told["sessions"].low is not None and told["sessions"].low <= 0
    assert told["minutes"].reason == "its importance is surely above 0"
    assert made.before is not None and made.after is not None and made.after > made.before - 0.005
    assert selected(spec) == made, "the same rows and seed give the same"


def test_what_is_missed_on_the_folds_stays_however_little_it_seems_to_matter(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of two features that say the same: neither seems to matter beside the other."""
    real = importance.of

    def nothing_matters(*of: Any) -> list[Importance]:
        return [Importance(input=each.input, loss=0.0, low=0.0, high=0.0) for each in real(*of)]

    monkeypatch.setattr(importance, "of", nothing_matters)
    made = selected(spec)
    assert {*made.dropped} == NOISE, made
    assert made.after is not None and made.before is not None and made.after > made.before - 0.005
    told = {each.input: each.reason for each in made.inputs}
    assert told["minutes"] == told["plan"] == "without it more than 1.0% of what roc_auc gains would be lost"


def test_what_is_named_stays(spec: ModelSpec) -> None:
    kept = selected(spec, keep=("sessions",))
    assert "sessions" not in kept.dropped
    assert next(each.reason for each in kept.inputs if each.input == "sessions").endswith("(selection.keep)")
    fewest = selected(spec, fewest=4)
    assert fewest.dropped == () and "at least 4 inputs are taken" in {each.reason for each in fewest.inputs}
    watched = spec.model_copy(
        update={"gates": spec.gates.model_copy(update={"baseline": "CASE WHEN Sessions > 3 THEN 0.2 ELSE 0.4 END"})}
    )
    assert "sessions" not in selected(watched).dropped, "the monitor asks the baseline about live rows"


def test_a_score_that_is_not_defined_leaves_nothing_out(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    real = selecting._tried

    def undefined(*of: Any) -> selecting._Tried:
        tried = real(*of)
        return selecting._Tried(tried.spec, tried.fits, float("nan"), float("nan"))

    monkeypatch.setattr(selecting, "_tried", undefined)
    made = selected(spec)
    assert made.dropped == () and (made.before, made.after) == (None, None)
    assert "roc_auc is not defined on every time fold" in {each.reason for each in made.inputs}


CLASSES = ("a", "b", "c")
OF_CLASSES: dict[str, Any] = {"name": "left", "type": "multiclass", "classes": CLASSES, "horizon": "2d"}


def of_classes(folder: Path, metric: str = "roc_auc") -> ModelSpec:
    return spec_in(
        folder,
        selection={},
        label={**OF_CLASSES, "sources": ("events",)},
        search={"trials": 2, "metric": metric, "seed": 7},
        gates={"minimum_rows": 200, "floor": {"log_loss": 1.2}},
    )


def with_classes(days: range) -> pd.DataFrame:
    """Rows whose class follows `minutes`, and nothing else."""
    frame = rows_of(days)
    told = frame["minutes"].fillna(30) + np.random.default_rng(5).normal(0, 6, len(frame))
    frame["left"] = np.array(CLASSES)[np.digitize(told, (25, 35))]
    return frame


def trained(run: Run, learn: Rows, family: str = FAMILY) -> tuple[Selected, Rows]:
    """A search with its selection and the fit of its recipe, as `tune` makes them: a graph answers alike without what
    is left out. What is selected, and what was learned from."""
    found = searching.search(run, family, learn, first=())
    made, taking = found.recipe.selection, found.recipe.taking(run.spec)
    assert made is not None and not {*made.dropped} & {*taking.feature_types}
    pipeline, learned = recipes.fit(run.spec, found.recipe, learn)
    assert list(learned.inputs) == list(taking.feature_types)
    asked = learned.inputs.head(20)
    graph = GraphPredictor(export(pipeline, columns_of(taking.feature_types)))
    known = asked.astype(object).where(asked.notna(), None)
    np.testing.assert_allclose(graph.answer(known.to_dict("records")), predict(pipeline, asked), atol=1e-5)
    return made, learned


@pytest.mark.parametrize(("family", "metric"), [("logistic_regression", "roc_auc"), ("gradient_boosting", "log_loss")])
def test_of_several_classes_it_is_the_same(tmp_path: Path, family: str, metric: str) -> None:
    spec = of_classes(tmp_path, metric)
    made, _ = trained(run_as_of(spec), rows.of(spec, with_classes(range(14))), family)
    assert {"sessions", "mobile"} <= {*made.dropped} and "minutes" not in made.dropped, made.reason


def test_of_folds_that_cannot_learn_every_class_too(tmp_path: Path) -> None:
    spec, frame = of_classes(tmp_path, "log_loss"), with_classes(range(14))
    first = frame["event_timestamp"] < at(12)
    frame.loc[first & (frame["left"] == "c"), "left"] = "b"  # of the last two days alone there are three
    learn = rows.of(spec, frame)
    parts = backtesting.fold(run_as_of(spec), FAMILY, learn).parts
    assert any(part.classes is not None for part in parts), "the case"
    made = selecting.select(run_as_of(spec), FAMILY, parts)
    assert made is not None and "sessions" in made.dropped and "minutes" not in made.dropped, made


def test_rows_count_by_their_weight(tmp_path: Path) -> None:
    """In the rows that do not count, `sessions` says all."""
    label = {"name": "left", "horizon": "2d", "sources": ("events",)}
    plain = spec_in(tmp_path, selection={}, label=label)
    weighted = spec_in(tmp_path, selection={}, label={**label, "weight": "worth"})
    frame = rows_of(range(14), 200)
    counts = np.random.default_rng(3).random(len(frame)) < 0.5
    frame["left"] = np.where(counts, frame["left"], frame["sessions"] > 4).astype(np.int64)
    frame["worth"] = np.where(counts, 2.0, 0.0)
    assert "sessions" not in selected(plain, frame).dropped
    made, learned = trained(run_as_of(weighted), rows.of(weighted, frame))
    assert "sessions" in made.dropped and "minutes" not in made.dropped, made.reason
    assert learned.weights is not None and learned.weights.min() == 0


CHANGE, LENGTH = 14, 24  # days: the first one after the change, and all


def changed_world() -> pd.DataFrame:
    """`sessions` says it until a change, `minutes` after it."""
    frame = rows_of(range(LENGTH), 100)
    before = frame["event_timestamp"] < at(CHANGE)
    frame["left"] = np.where(before, frame["sessions"] > 4, frame["left"]).astype(np.int64)
    return frame


@pytest.mark.parametrize("way", ["since", "weighted"])
def test_after_a_change_it_is_made_on_what_is_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    split = {"window": "60d", "evaluation": "3d", "minimum_rows": 100, "folds": 2}
    spec = spec_in(tmp_path, selection={}, split=split, search={"trials": 2, "seed": 7})
    learn = rows.of(spec, changed_world())
    usual = selecting.select(run_as_of(spec), FAMILY, folding.usable(spec, learn).parts)
    assert usual is not None and "sessions" not in usual.dropped, "the case"
    if way == "weighted":
        monkeypatch.setattr(windows, "best", lambda scores, rank: way)
    run = run_as_of(spec, LENGTH + 4, changed_at=at(CHANGE))
    folded = backtesting.fold(run, FAMILY, learn)
    assert folded.backtest is not None and folded.backtest.window.way == way, folded.backtest
    made, learned = trained(run, learn)
    assert made == selecting.select(run, FAMILY, folded.parts), "as whoever makes it once more has it"
    assert "minutes" not in made.dropped
    if way == "since":
        assert "sessions" in made.dropped, made.reason
        assert learned.frame["event_timestamp"].min() == at(CHANGE)
    else:
        assert learned.weights is not None and len(learned.labels) == len(learn.labels)
