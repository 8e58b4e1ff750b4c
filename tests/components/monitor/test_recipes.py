"""Fresh fits that lose more than they did, and as much as the champion: it may be the recipe, by what is registered."""

from __future__ import annotations

import pytest

from evergreen.monitor import stages, windows
from tests.components.train.conftest import at

from .conftest import Live, Watched, lost_in_mlflow
from .test_compare import FIRST, SERVED, monitored

CHANGED, LAST = 30, 34  # days: of the other version's first answers, and of the last window that is decided


def lived(live: Live) -> Watched:
    """Ten days by version 1, then some by version 2; what is decided at the end."""
    live.customers = 250
    for day in range(FIRST, LAST + 1):
        live.features(day)
        live.label(day)
        if day >= SERVED:
            live.serve(day, version=2 if day >= CHANGED else 1)
    monitored(live, range(SERVED, LAST))
    return live.watch(LAST, drawn=False)


def told(live: Live, watched: Watched) -> str:
    return "\n".join(stages.alert(live.run(LAST), watched.quality, watched.performance, watched.decided).warnings)


def test_a_recipe_that_fits_worse_than_the_one_before_is_named_and_the_world_is_not(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = live.run(CHANGED - 1)
    data = live.contest.data(run)
    coarse = live.contest.evaluate(run, data, live.contest.candidate(run, data))  # boosting, of ten trees
    assert live.contest.champion(run, data, coarse, replaced=1) == 2
    watched = lived(live)
    rows = windows.read(live.spec)
    assert [rows[at(day - 1)].version for day in (CHANGED - 1, CHANGED)] == [1, 2]
    assert watched.decided.action == "alert", watched.decided.reasons
    (reason,) = (each for each in watched.decided.reasons if "fresh fits" in each)
    assert "the recipe changed, and the world need not have (before: version 1: logistic_regression)" in reason
    assert "fresh fits of version 2's recipe" in reason and "retraining will not help" not in reason
    assert "compare both recipes on the same rows" in told(live, watched)

    lost_in_mlflow(monkeypatch, live, 1)
    assert live.watch(LAST, drawn=False).decided.action == "alert", "whatever the other's recipe was"
