"""A refit: its rows, how it must compare with the fit that was judged, and the hash of a spec without it."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.interval import DAY
from evergreen.model.code import spec_hash
from evergreen.registry.rules import is_refit, refit_key
from evergreen.spec.gates import Gates
from evergreen.train import rules
from tests.small_models import tiny

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
BOUNDS = Gates.model_validate({"minimum_rows": 1, "floor": {"roc_auc": 0.5}, "refit_loss": 0.1, "refit_distance": 1.0})
NEAR = {"gated": 0.8, "refit": 0.85, "baseline": 0.5, "apart": 0.1, "spread": 0.2}


def verdicts(**changes: Any) -> list[str]:
    return [check.verdict for check in rules.refit_checks("roc_auc", BOUNDS, **NEAR | changes)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["pass", "pass"]),
        ({"refit": 0.7701}, ["pass", "pass"]),
        ({"refit": 0.769}, ["fail", "pass"]),
        ({"apart": 0.2}, ["pass", "pass"]),
        ({"apart": 0.21}, ["pass", "fail"]),
        ({"apart": 0.0, "spread": 0.0}, ["pass", "pass"]),
        ({"apart": 0.1, "spread": 0.0}, ["pass", "no evidence"]),
        ({"apart": math.nan}, ["pass", "no evidence"]),
        ({"refit": math.nan}, ["no evidence", "pass"]),
        ({"gated": math.nan}, ["no evidence", "pass"]),
        ({"baseline": None}, ["no evidence", "pass"]),
        ({"baseline": 0.8}, ["no evidence", "pass"]),
    ],
)
def test_a_refit_is_near_the_fit_that_was_judged_or_is_not_registered(
    changes: dict[str, Any], expected: list[str]
) -> None:
    assert verdicts(**changes) == expected


@given(scale=st.floats(0.001, 1000.0), lost=st.floats(-0.5, 0.5))
def test_what_is_compared_has_no_scale(scale: float, lost: float) -> None:
    """The same in other units: of an error, of answers."""
    one, other = (
        rules.refit_checks(
            "rmse", BOUNDS, gated=s * 1.0, refit=s * (1.0 + lost), baseline=s * 2.0, apart=s * 0.3, spread=s * 0.5
        )
        for s in (1.0, scale)
    )
    for before, after in zip(one, other, strict=True):
        assert before.observed == pytest.approx(after.observed, abs=1e-9)
    assert one[0].observed == pytest.approx(lost, abs=1e-9)


@given(horizon=st.integers(1, 10), evaluation=st.integers(1, 10), late=st.integers(0, 5))
def test_it_learns_from_every_row_whose_label_is_mature(horizon: int, evaluation: int, late: int) -> None:
    spec = tiny(
        label={"name": "churned", "horizon": f"{horizon}d", "sources": ("events",)},
        split={"window": "40d", "evaluation": f"{evaluation}d", "minimum_rows": 1},
    )
    split = rules.split(AS_OF, spec)
    cutoffs = pd.Series([AS_OF - number * DAY for number in range(60)])
    known = cutoffs + timedelta(days=horizon + late)
    mature = (cutoffs >= split.learn_from) & (cutoffs <= split.evaluate_to) & (known <= AS_OF)
    assert (split.whole.mask(cutoffs, known) == mature).all()
    assert (split.whole.learns(cutoffs, known) == mature).all()
    assert not (split.mask(cutoffs, known) & ~mature).any(), "all that the training had"


def test_the_key_of_a_refit_is_its_own() -> None:
    key = rules.training_key("tiny", AS_OF, "content", "spec", "code", 7)
    assert is_refit(refit_key(key)) and not is_refit(key) and refit_key(key) != key


def test_a_spec_that_does_not_use_it_has_the_hash_that_it_had_before(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    for name in ("features/spend.sql", "label.sql"):
        (tmp_path / name).write_text("select 1")
    spec = tiny().at(tmp_path)
    before = spec.model_dump(mode="json", exclude={"retention"})
    assert "refit" not in before and not {"refit_loss", "refit_distance"} & before["gates"].keys()
    text = json.dumps([before, ["select 1", "select 1"]], sort_keys=True)
    assert spec_hash(spec) == hashlib.sha256(text.encode()).hexdigest()
    gates = spec.gates.model_dump()
    others = [{"refit": True}, {"gates": gates | {"refit_loss": 0.2}}, {"gates": gates | {"refit_distance": 3.0}}]
    assert len({spec_hash(spec), *(spec_hash(tiny(**each).at(tmp_path)) for each in others)}) == 4
