"""What matured is scored for every version that answered, also for those that do so no longer."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from evergreen.history import ledger, story
from evergreen.model.rows import inputs
from evergreen.monitor import stages, window_page
from evergreen.monitor.live import read as live_read
from evergreen.monitor.understudies import Champion
from evergreen.registry import loading
from evergreen.settings import settings
from evergreen.spec.selection import Selection

from .conftest import Live, lost_in_mlflow


def turned(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(left=1 - frame["left"])


def auc(live: Live, day: int, version: int) -> float:
    """Of a version's answers of a day whose outcomes are turned."""
    frame = live.requests(day, turned)
    answers = loading.load(live.spec.model, version).predict(inputs(live.spec.feature_types, frame))
    return float(roc_auc_score(frame["left"], answers))


def two_versions(live: Live) -> None:
    """Version 1 answers on days 20 and 21, version 2 from day 22 on; each label is known two days later."""
    run = live.run(21)
    data = live.contest.data(run)
    candidate = live.contest.evaluate(run, data, live.contest.candidate(run, data))
    assert live.contest.champion(run, data, candidate, replaced=1) == 2
    for day in range(20, 25):
        live.serve(day, version=1 if day < 22 else 2)
        live.label(day, turned)


def test_what_matures_of_the_version_before_is_scored_too(live: Live) -> None:
    two_versions(live)
    made = {day: live.watch(day, drawn=False).performance for day in range(20, 25)}
    assert (made[21].others, made[21].rows) == ((), 60), "it answers itself"
    before = made[22]
    assert before.value is None and before.rows == 0, "none of the new version's labels has matured"
    (other,) = before.others
    assert (other.version, other.rows) == (1, 60) and other.value == pytest.approx(auc(live, 21, 1))
    assert other.low is not None and other.high is not None and other.low < other.value < other.high
    assert other.reference == made[21].reference and other.loss is not None
    assert (made[23].others, made[23].value) == ((), pytest.approx(auc(live, 22, 2)))

    watched = live.watch(24)
    page = (settings().reports / live.spec.model / "windows" / "2026-01-25.html").read_text()
    assert watched.reported is not None and "<td>2</td><td>2, 2026-01-24" in page
    assert "<td>1</td><td>2, 2026-01-22 to 2026-01-23</td>" in page, "its last day stands beside the new one's"
    decided = story.decisions(ledger.entries(live.spec.model))
    seen = [each for one in decided for each in window_page.performed(live.spec, one)]
    assert [(each.key, each.version) for each in seen] == [
        ("2026-01-22", 1), ("2026-01-23", 1), ("2026-01-24", 2), ("2026-01-25", 2),
    ]  # fmt: skip


def test_it_is_scored_on_a_day_without_an_answer(live: Live) -> None:
    live.serve(20)
    live.label(20, turned)
    stages.collect(live.run(20))
    performance = stages.performance(live.run(21), stages.collect(live.run(21)))
    (other,) = performance.others
    assert performance.value is None and other.value == pytest.approx(auc(live, 20, 1))


def test_a_version_that_cannot_be_looked_up_any_more_costs_itself_alone(
    live: Live, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    two_versions(live)
    lost_in_mlflow(monkeypatch, live, 1)
    for day in (20, 21):
        stages.collect(live.run(day))
    performance = stages.performance(live.run(22), stages.collect(live.run(22)))
    assert performance.others == ()
    assert "How version 1 did cannot be told" in caplog.text


def test_what_a_version_does_without_is_seen_neither_with_its_answers_nor_with_the_next_ones(live: Live) -> None:
    two_days = live.spec.monitoring.model_copy(update={"window": timedelta(days=2)})
    live.contest.spec = live.spec.model_copy(update={"selection": Selection(), "monitoring": two_days})
    for number, day, dropped in ((2, 20, ("sessions", "mobile")), (3, 21, ())):
        run = live.run(day)
        data = live.contest.data(run)
        made = live.contest.evaluate(run, data, live.contest.candidate(run, data, dropped=dropped))
        assert live.contest.champion(run, data, made, replaced=number - 1) == number
    for day in range(18, 23):
        live.features(day)
    for day, version in ((20, 1), (21, 2), (22, 3)):
        live.serve(day, version=version)
    stages.collect(live.run(20))
    of_second, of_third = (live.watch(day, drawn=False) for day in (21, 22))
    for watched, taken in ((of_second, {"minutes", "plan"}), (of_third, {"minutes", "sessions", "mobile", "plan"})):
        assert watched.drift.distances.keys() == watched.quality.missing.keys() == watched.quality.skew.keys() == taken
        assert not any(each.different for each in watched.quality.skew.values())
        assert not any("sessions" in each.cause for each in (*watched.quality.findings, *watched.drift.findings))
    answered = live_rows(live, 21)
    second, third = Champion(live.spec, 2), Champion(live.spec, 3)
    assert np.isfinite(second.answers(live_rows(live, 20))).all(), "the log of another one has more than it takes"
    with pytest.raises(ValueError, match="version 2 answered without features that it takes"):
        third.answers(answered)
    assert (second.declared, third.declared) == (None, None), "a selection is no other recipe"


def live_rows(live: Live, day: int) -> pd.DataFrame:
    frame = live_read(live.spec, [live.run(day).interval.partition])
    assert frame is not None and len(frame)
    return frame
