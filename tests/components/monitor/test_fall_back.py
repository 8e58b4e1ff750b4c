"""A covariate change for which the version before is likely to be better: told, and where its owner wants it, acted on
before labels come."""

from __future__ import annotations

import pandas as pd
import pytest

from evergreen.errors import StageSkipped
from evergreen.history import events, ledger, story
from evergreen.monitor import stages
from evergreen.registry import store
from evergreen.serve import deployment
from tests.components.train.conftest import at, rows_of

from .conftest import Live, Watched, lost_in_mlflow

OLDER, CHAMPION = 2, 3
FEW = 32


def usual(frame: pd.DataFrame) -> pd.DataFrame:
    """Customers with few minutes."""
    return frame[frame["minutes"].fillna(0) < FEW].reset_index(drop=True)


def moved(frame: pd.DataFrame) -> pd.DataFrame:
    """Customers with many, of whom the champion has hardly learned anything."""
    return frame.assign(minutes=FEW + 18 * frame["minutes"].rank(pct=True).fillna(0.5))


def two_versions(live: Live, policy: str) -> None:
    """One that knows customers of all kinds, and after it one that has hardly seen any with many minutes."""
    monitoring = live.spec.monitoring.model_copy(update={"while_waiting": policy})
    live.contest.spec = live.spec.model_copy(update={"monitoring": monitoring}).at(live.spec.folder)
    live.customers = 1500
    contest, earlier, run = live.contest, live.run(20), live.run(28)
    data = contest.data(earlier, rows_of(range(21), 200, seed=1))
    wide = contest.candidate(earlier, data, "logistic_regression", held_out=rows_of(range(14, 20), 300, seed=2))
    assert contest.champion(earlier, data, wide) == OLDER
    known = rows_of(range(8, 29), 400, seed=3)
    data = contest.data(run, usual(known[known["event_timestamp"] <= at(27)]))
    late = known[known["event_timestamp"] > at(20)]
    some = late[late["minutes"] >= FEW].sample(frac=0.08, random_state=0)  # it was evaluated on some of them
    late = pd.concat([usual(late), some]).sort_values("event_timestamp").reset_index(drop=True)
    narrow = contest.candidate(run, data, "gradient_boosting", held_out=late)
    assert contest.champion(run, data, narrow, replaced=OLDER) == CHAMPION


def told(live: Live, day: int, watched: Watched) -> tuple[str, ...]:
    try:
        return stages.alert(live.run(day), watched.quality, watched.performance, watched.decided).warnings
    except StageSkipped:
        return ()


def test_the_last_known_good_version_serves_until_labels_judge_it(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    two_versions(live, "fall_back")
    deployed: list[int] = []
    monkeypatch.setattr(deployment, "confirmed", lambda intent: deployed.append(intent.version))
    monkeypatch.setattr(deployment, "SWAPPING", 0.0)
    live.serve(29, usual, version=CHAMPION)
    calm = live.watch(29, drawn=False)
    assert calm.decided.falls_back is None and not any(each.better for each in calm.performance.rivals)
    assert {each.name for each in calm.performance.rivals} == {"version 2", "the baseline"}
    with pytest.raises(StageSkipped, match="no fall back"):
        stages.fall_back(live.run(29), calm.collected, calm.decided)

    live.serve(30, moved, version=CHAMPION)
    watched = live.watch(30, drawn=False)
    (rival,) = (each for each in watched.performance.rivals if each.version == OLDER)
    assert rival.better and watched.decided.falls_back == OLDER, (rival, watched.decided.reasons)
    for _ in range(2):
        done = stages.fall_back(live.run(30), watched.collected, watched.decided)
        assert (done.left, done.version, deployed) == (CHAMPION, OLDER, [OLDER])
    (move,) = (e.event for e in ledger.entries(live.spec.model) if isinstance(e.event, events.RolledBack))
    assert (move.decision_id, move.as_of, move.until) == (watched.decided.decision_id, at(30), at(31))
    (decision,) = (each for each in story.decisions(ledger.entries(live.spec.model)) if each.start == at(29))
    assert decision.falls_back == OLDER and "rivals" in str(decision.evidence), "recorded with its evidence"
    lines = told(live, 30, watched)
    assert any(
        "is likely to be worse than with version 2" in each and "version 2 serves instead" in each for each in lines
    )

    again = live.watch(30, drawn=False)
    assert again.decided.decision_id == watched.decided.decision_id and again.decided.falls_back == OLDER
    live.serve(31, moved, version=OLDER)
    after = live.watch(31, drawn=False)
    assert after.collected.champion == OLDER and after.decided.falls_back is None
    assert any("over: estimated below version 2" in each for each in told(live, 31, after))
    assert store.champion(live.spec.model) is not None and deployed == [OLDER]


def test_by_default_the_owner_is_told_and_the_champion_serves_on(live: Live) -> None:
    two_versions(live, "alert")
    live.serve(30, moved, version=CHAMPION)
    watched = live.watch(30, drawn=False)
    assert watched.decided.falls_back is None
    lines = told(live, 30, watched)
    assert any("is likely to be worse than with version 2" in each for each in lines)
    assert not any("serves instead" in each for each in lines)
    assert ledger.standing(live.spec.model).champion == CHAMPION


def test_a_good_version_that_cannot_be_looked_up_any_more_costs_itself_alone(
    live: Live, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    two_versions(live, "fall_back")
    live.serve(30, moved, version=CHAMPION)
    lost_in_mlflow(monkeypatch, live, OLDER)
    watched = live.watch(30, drawn=False)
    assert {each.name for each in watched.performance.rivals} == {"the baseline"}
    assert watched.decided.falls_back is None and "What version 2 would say cannot be had" in caplog.text
