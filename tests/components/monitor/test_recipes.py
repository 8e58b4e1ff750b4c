"""Fresh fits that lose more than they did, and as much as the champion: the world, or the recipe, by what is
registered."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evergreen.monitor import stages, windows
from tests.components.train.conftest import at

from .conftest import CHANGE, Live, Watched, lost_in_mlflow
from .test_compare import FIRST, SERVED, monitored

CHANGED, LAST = 30, 34  # days: of what changes, and of the last window that is decided


def lived(live: Live, change: CHANGE = lambda frame: frame, *, version: int = 1) -> Watched:
    """Ten days as they were, then others by another version or in another world; what is decided at the end.

    Args:
        change: of the outcomes.
        version: that answers from then on.
    """
    live.customers = 250
    for day in range(FIRST, LAST + 1):
        live.features(day)
        live.label(day, change if day >= CHANGED else (lambda frame: frame))
        if day >= SERVED:
            live.serve(day, version=version if day >= CHANGED else 1)
    monitored(live, range(SERVED, LAST))
    return live.watch(LAST, drawn=False)


def by_chance(frame: pd.DataFrame) -> pd.DataFrame:
    """Half of the outcomes follow from nothing that is known."""
    random = np.random.default_rng(len(frame))
    drawn = random.random(len(frame)) < 0.5
    return frame.assign(left=frame["left"].where(drawn, random.integers(0, 2, len(frame))))


def told(live: Live, watched: Watched) -> str:
    return "\n".join(stages.alert(live.run(LAST), watched.quality, watched.performance, watched.decided).warnings)


def test_a_recipe_that_fits_worse_than_the_one_before_is_named_and_the_world_is_not(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = live.run(CHANGED - 1)
    data = live.contest.data(run)
    coarse = live.contest.evaluate(run, data, live.contest.candidate(run, data))  # boosting, of ten trees
    assert live.contest.champion(run, data, coarse, replaced=1) == 2
    watched = lived(live, version=2)
    rows = windows.read(live.spec)
    assert [rows[at(day - 1)].version for day in (CHANGED - 1, CHANGED)] == [1, 2]
    assert watched.decided.action == "alert", watched.decided.reasons
    (reason,) = (each for each in watched.decided.reasons if "fresh fits" in each)
    assert "the recipe changed, and the world need not have (before: version 1: logistic_regression)" in reason
    assert "fresh fits of version 2's recipe" in reason and "retraining will not help" not in reason
    assert "compare both recipes on the same rows" in told(live, watched)

    lost_in_mlflow(monkeypatch, live, 1)
    assert live.watch(LAST, drawn=False).decided.action == "alert", "whatever the other's recipe was"


def test_a_world_that_no_fit_knows_any_more_is_told_as_that(live: Live) -> None:
    watched = lived(live, by_chance)
    assert watched.decided.action == "alert", watched.decided.reasons
    assert any(each.startswith("retraining will not help: since") for each in watched.decided.reasons)
    assert "look at the data and the features, or declare other families" in told(live, watched)
