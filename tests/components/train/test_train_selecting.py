"""Which features a family takes: on planted rows, without databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evergreen.handovers.selection import Importance, Selected
from evergreen.model import importance, rows
from evergreen.spec.schema import ModelSpec
from evergreen.spec.selection import Selection
from evergreen.train import backtesting, selecting

from .conftest import rows_of, run_as_of, spec_in

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
