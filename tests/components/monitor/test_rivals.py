"""While labels are open: what else could answer beside the champion, by estimate."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from evergreen.handovers.monitor import Rival
from evergreen.model.weightings import Floats
from evergreen.monitor import findings, rivals
from evergreen.monitor.comparison import Reference
from evergreen.monitor.rivals import BASELINE, Other
from evergreen.spec.schema import ModelSpec
from tests.components.train.conftest import spec_in

START = datetime(2026, 1, 5, tzinfo=UTC)
FEATURES = {"sessions": 1.0, "mobile": 1.0, "plan": "pro"}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return spec_in(tmp_path_factory.mktemp("model"))


def older(frame: pd.DataFrame) -> Floats:
    """It knows customers of all kinds."""
    known: Floats = 1 / (1 + np.exp(-frame["minutes"].to_numpy()))
    return known


def champion(frame: pd.DataFrame) -> Floats:
    """It has seen few customers beyond 2, and says the same of all of them; of the others it knows more."""
    known: Floats = 1 / (1 + np.exp(-frame["minutes"].to_numpy() - frame["sessions"].to_numpy()))
    return np.where(frame["minutes"] > 2, 0.85, known)


def rows(count: int, middle: float, *, seed: int, turned: bool = False, saying: Any = champion) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    minutes, sessions = random.normal(middle, 1, count), random.integers(-1, 2, count)
    chance = 1 / (1 + np.exp(-minutes - sessions))
    frame = pd.DataFrame(
        {
            **FEATURES,
            "minutes": minutes,
            "sessions": sessions,
            "label": (random.random(count) < (1 - chance if turned else chance)).astype("int64"),
            "event_timestamp": [START + timedelta(days=number % 20) for number in range(count)],
        }
    )
    return frame.assign(prediction=saying(frame))


def other(middle: float = 1.0, learned_to: datetime | None = None) -> Other:
    known = pd.concat([rows(3000, middle, seed=1, saying=older), rows(1000, 3.0, seed=2, saying=older)])
    return Other("version 1", 1, known, older, learned_to)


def seen(
    spec: ModelSpec,
    window: pd.DataFrame,
    scored: pd.DataFrame | None = None,
    errors: Sequence[float] = (),
    who: Sequence[Other] | None = None,
) -> tuple[Rival, ...]:
    reference = Reference(spec, rows(4000, 0.0, seed=3))
    open_ = window.drop(columns="label")
    return rivals.beside(reference, open_, scored, who or [other()], lambda name: errors)


def test_a_covariate_change_for_which_an_older_version_is_better_is_seen_without_labels(spec: ModelSpec) -> None:
    usual, moved = rows(1500, 0.0, seed=4), rows(1500, 3.0, seed=5)
    (before,) = seen(spec, usual)
    assert before.bound is not None and not before.better and before.gain < 0, "the champion knows more of these"
    (now,) = seen(spec, moved)
    truth = roc_auc_score(moved["label"], older(moved)) - roc_auc_score(moved["label"], moved["prediction"])
    assert now.better and truth > 0.05, "and it is so"
    assert now.gain == pytest.approx(truth, abs=0.15)
    (finding,) = findings.likely_worse((before, now), "roc_auc")
    assert (finding.cause, finding.kind, finding.observed) == ("estimated below version 1", "loss", now.gain)
    assert "blind to a changed relation" in finding.said


def test_a_changed_relation_is_not_seen(spec: ModelSpec) -> None:
    (rival,) = seen(spec, rows(1500, 0.0, seed=4, turned=True))
    assert not rival.better


def test_what_matured_says_how_wrong_the_estimate_was_and_bounds_it(spec: ModelSpec) -> None:
    moved, scored = rows(1500, 3.0, seed=5), rows(800, 3.0, seed=6, turned=True)
    (rival,) = seen(spec, moved, scored)
    true = roc_auc_score(scored["label"], older(scored)) - roc_auc_score(scored["label"], scored["prediction"])
    assert true < 0 < rival.gain and rival.error is not None and rival.error > rival.gain / 2
    (told,) = seen(spec, moved, errors=[rival.error] * 5)
    assert not told.better, "it was wrong by as much on every window before"
    (few,) = seen(spec, moved, errors=[rival.error] * 4)
    assert few.bound == seen(spec, moved)[0].bound, "before there are five, the reference says how wrong it is"


def test_rows_that_the_other_one_learned_from_say_nothing_of_its_error(spec: ModelSpec) -> None:
    late = other(learned_to=START + timedelta(days=16))
    (rival,) = seen(spec, rows(1500, 3.0, seed=5), who=[late])
    assert rival.bound is None and not rival.better and rival.gain > 0


def test_the_baseline_is_beside_it_the_stated_one_too(spec: ModelSpec) -> None:
    reference, window = Reference(spec, rows(4000, 0.0, seed=3)), rows(1500, 0.0, seed=4)
    for text, least, most in ((None, 0.49, 0.51), ("1 / (1 + exp(-minutes))", 0.6, 0.9)):
        gates = spec.gates.model_copy(update={"baseline": text})
        stated = spec.model_copy(update={"gates": gates}).at(spec.folder)
        known = Reference(stated, reference.rows)
        who = list(rivals.others(stated, known, None))
        assert [(each.name, each.version) for each in who] == [(BASELINE, None)]
        (rival,) = rivals.beside(known, window.drop(columns="label"), window, who, lambda name: ())
        assert least < rival.estimated < most and not rival.better and rival.error is not None


def test_one_that_cannot_be_asked_costs_nothing_else(spec: ModelSpec) -> None:
    def broken(frame: pd.DataFrame) -> Floats:
        raise ValueError("its label was of another kind")

    of_broken = Other("version 1", 1, rows(500, 0.0, seed=1), broken)
    assert [each.name for each in seen(spec, rows(800, 0.0, seed=4), who=[of_broken, other()])] == ["version 1"]
    assert seen(spec, rows(800, 0.0, seed=4).iloc[:0]) == ()
