"""What the champion and fresh fits of its recipe lose on windows whose labels have matured, on real parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from evergreen import database
from evergreen.handovers.monitor import Compared
from evergreen.history import ledger, story
from evergreen.lake import tables
from evergreen.lake.schema import WINDOWS
from evergreen.model import rows as model_rows
from evergreen.monitor import kept_fits, origins, stages, understudies, windows
from evergreen.monitor.windows import Row
from evergreen.registry import loading
from tests.components.train.conftest import at

from .conftest import Live

FIRST, SERVED = 4, 20  # days of which there are outcomes; from the second on the champion answers


def turned(frame: pd.DataFrame) -> pd.DataFrame:
    """The world is another one: who stayed leaves."""
    return frame.assign(left=1 - frame["left"])


def live_until(live: Live, last: int, changed: int = 99, customers: int = 120) -> None:
    """Features and outcomes of every day, and answers since the champion serves; from a day on in another world."""
    live.customers = customers
    for day in range(FIRST, last + 1):
        change = turned if day >= changed else (lambda frame: frame)
        live.features(day)
        live.label(day, change)
        if day >= SERVED:
            live.serve(day)


def monitored(live: Live, days: Iterable[int]) -> list[Compared]:
    return [stages.compare(live.run(day), stages.collect(live.run(day))) for day in days]


def table(live: Live) -> list[dict[str, Any]]:
    return [asdict(row) for row in windows.read(live.spec).values()]


def of(live: Live, day: int) -> Row:
    return windows.read(live.spec)[at(day - 1)]


def test_a_window_is_compared_once_its_labels_are_mature(live: Live) -> None:
    live_until(live, 22)
    early, due = monitored(live, (20, 21))
    assert (early.windows, early.table_version) == ((), None), "its labels mature with the end of day 21"
    assert due.windows == ("2026-01-21",)
    row = of(live, 20)
    frame = live.requests(20)
    answers = loading.load(live.spec.model, 1).predict(model_rows.inputs(live.spec.feature_types, frame))
    assert row.champion == pytest.approx(log_loss(frame["left"], answers))
    assert (row.version, row.rows, row.known_at) == (1, 120, at(21))
    # The champion, trained as of the same moment, kept back a day to evaluate on and a horizon before it.
    assert row.usual == 120 and row.apart == 2
    assert row.understudy == pytest.approx(row.champion, rel=0.2) and row.earlier != row.understudy

    (again,) = monitored(live, (21,))
    assert again.windows == () and again.table_version == due.table_version, "nothing is made twice"


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """As of which moments understudies are fitted, while a test runs."""
    made: list[datetime] = []
    real = understudies.Champion._fitted

    def fitted(self: understudies.Champion, as_of: datetime, key: str) -> understudies.Understudy | None:
        made.append(as_of)
        return real(self, as_of, key)

    monkeypatch.setattr(understudies.Champion, "_fitted", fitted)
    return made


def fitted_for(live: Live, days: Iterable[int], fits: list[datetime]) -> list[int]:
    """How many fits each day's run made."""
    counts = []
    for day in days:
        fits.clear()
        monitored(live, (day,))
        counts.append(len(fits))
    return counts


def test_an_understudy_learns_what_the_champion_cannot_know(live: Live, fits: list[datetime]) -> None:
    live_until(live, 28, changed=20)
    counts = fitted_for(live, range(20, 29), fits)
    assert counts == [0, 2] + [1] * 7, "what a window costs does not grow with those before it"
    before, after = of(live, 20), of(live, 27)
    assert before.understudy == pytest.approx(before.champion, rel=0.2), "nobody could know yet"
    assert after.champion is not None and after.understudy is not None and after.apart == 9
    assert after.champion - after.understudy > 0.1


@pytest.mark.parametrize(("every", "wanted"), [(1, [0, 2, 1, 1, 1, 1]), (3, [0, 2, 1, 0, 0, 1])])
def test_an_understudy_is_fitted_once_and_what_is_kept_is_what_a_fresh_fit_would_be(
    live: Live, fits: list[datetime], every: int, wanted: list[int]
) -> None:
    """The first day of data is 01-01, so of every third one the fits are as of 01-19, 01-22 and 01-25."""
    retrain = live.spec.monitoring.retrain.model_copy(update={"understudy_every": every})
    monitoring = live.spec.monitoring.model_copy(update={"retrain": retrain})
    live.contest.spec = live.spec.model_copy(update={"monitoring": monitoring}).at(live.spec.folder)
    live_until(live, 26)
    assert fitted_for(live, range(20, 26), fits) == wanted
    assert len(kept(live)) == 2, "those of the newest window alone"
    with_kept = table(live)
    _forget(live)
    kept_fits.forget(live.spec.model)
    monitored(live, (25,))
    assert table(live) == with_kept, "to the last bit"


def test_a_fit_that_learned_from_other_rows_or_cannot_be_read_is_made_anew(
    live: Live, fits: list[datetime], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    live_until(live, 26)
    fitted_for(live, range(20, 23), fits)
    live.label(14, turned)  # of a day that all of them learned from
    assert fitted_for(live, (23,), fits) == [4], "three windows and the one before them"
    assert fitted_for(live, (22,), fits) == [0], "an old run makes nothing"
    with database.connect() as connection:
        connection.execute("update understudies set content = %s where model = %s", [b"no pipeline", live.spec.model])
    assert fitted_for(live, (24,), fits) == [2] and "It is fitted anew" in caplog.text
    monkeypatch.setattr(kept_fits, "_LARGEST", 100)
    assert fitted_for(live, (25,), fits) == [1], "it finds the last one, and keeps none that is too large"
    assert fitted_for(live, (26,), fits) == [2]


def test_the_same_rows_whatever_the_order_the_kills_and_the_reruns(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    live_until(live, 24)
    for day in range(20, 25):
        stages.collect(live.run(day))
    real, made = windows._row, []

    def killed(*given: Any) -> Row:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(1)
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(windows, "_row", killed)
        with pytest.raises(KeyboardInterrupt):
            monitored(live, (24,))
    assert table(live) == []
    monitored(live, (24,))
    at_once = table(live)
    assert [row["window"] for row in at_once] == [at(day - 1) for day in range(20, 24)]
    _forget(live)
    monitored(live, (23, 21, 24, 22))
    assert table(live) == at_once


def test_a_label_that_is_corrected_replaces_the_row_and_those_that_learned_from_it(live: Live) -> None:
    live_until(live, 25)
    for day in range(20, 26):
        stages.collect(live.run(day))
    monitored(live, (25,))
    before = {row["window"]: row for row in table(live)}
    live.label(21, turned)
    (compared,) = monitored(live, (25,))
    after = {row["window"]: row for row in table(live)}
    changed = [window for window in before if before[window] != after[window]]
    assert at(19) not in changed and at(20) in changed
    assert after[at(20)]["champion"] > before[at(20)]["champion"] + 0.2
    assert after[at(23)]["champion"] == before[at(23)]["champion"], "only its understudies learned from that day"
    assert after[at(23)]["understudy"] != before[at(23)]["understudy"]
    assert len(compared.windows) == len(changed)


def test_a_champion_that_is_promoted_midway_is_asked_about_what_another_answered(live: Live) -> None:
    live_until(live, 24)
    for day in range(20, 25):
        stages.collect(live.run(day))
    run = live.run(21)
    data = live.contest.data(run)
    assert live.contest.champion(run, data, live.contest.candidate(run, data, "logistic_regression")) == 2
    monitored(live, (24,))
    assert [(row["version"], row["window"]) for row in table(live)] == [
        (1, at(19)), (1, at(20)), (2, at(21)), (2, at(22)),
    ]  # fmt: skip
    frame = live.requests(22)
    answers = loading.load(live.spec.model, 2).predict(model_rows.inputs(live.spec.feature_types, frame))
    assert of(live, 22).champion == pytest.approx(log_loss(frame["left"], answers)), "version 1 had answered"


def test_what_cannot_be_fitted_is_told_and_costs_nothing_else(live: Live) -> None:
    live.customers = 120
    for day in (20, 21, 22):
        live.features(day)
        live.label(day)
        live.serve(day)
    monitored(live, (20, 21))
    row = of(live, 20)
    assert row.champion is not None and (row.understudy, row.earlier, row.usual, row.apart) == (None, None, None, 0)


def test_a_family_that_is_installed_no_longer_costs_the_comparison_alone(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    live_until(live, 22)
    with database.connect() as connection:
        connection.execute("update candidates set family = 'absent' where model = %s", [live.spec.model])
    monitored(live, (20, 21))
    row = of(live, 20)
    assert row.champion is not None and row.understudy is None
    assert "No understudy as of" in caplog.text


def test_a_run_makes_at_most_so_many_rows_the_newest_first(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_MOST", 2)
    live_until(live, 24)
    for day in range(20, 25):
        stages.collect(live.run(day))
    first, old, second = monitored(live, (24, 21, 24))
    assert (first.windows, first.left) == (("2026-01-23", "2026-01-24"), 2)
    assert (old.windows, old.left) == (("2026-01-21",), 0), "an old run knows no more than it could"
    assert (second.windows, second.left) == (("2026-01-22",), 0)


@pytest.mark.long
def test_a_change_of_the_world_retrains_once_labels_allow_and_the_monitor_says_whether_it_helped(live: Live) -> None:
    """The relation of inputs and outcome turns round on day 22: no input moves, and fresh fits lose less and less."""
    live_until(live, 33, changed=22)
    made = {day: live.watch(day, drawn=False) for day in range(20, 34)}
    wanted = [day for day, watched in made.items() if watched.decided.triggers]
    assert wanted and 24 < wanted[0] < 33, "no label of the change was known before, and no understudy had learned"
    first = made[wanted[0]]
    # The decision names the windows that it weighed, and a rerun after more of them are known is the same one.
    events = [event for event in story.decisions(ledger.entries(live.spec.model)) if event.triggers]
    read = (events[0].made_from or {})[str(WINDOWS.of(live.spec.model))]
    weighed = tables.read(WINDOWS.of(live.spec.model), version=read.version)
    assert weighed is not None and weighed["window"].to_pylist() == [at(day - 1) for day in range(20, wanted[0])]
    assert origins.made_from(WINDOWS.of(live.spec.model), read.version, read.first, read.last, events[0].end) == read
    count = len(ledger.entries(live.spec.model, "decided"))
    live.watch(wanted[0] - 1, drawn=False)
    assert len(ledger.entries(live.spec.model, "decided")) == count
    assert first.decided.changed_at is not None and first.decided.changed_at >= at(21)
    assert [day for day in wanted if day < wanted[0] + 5] == wanted[:1], "cooldown"
    assert stages.retrain_wanted(live.run(wanted[0]), first.decided).conf.changed_at == first.decided.changed_at
    again = live.watch(33, drawn=False)
    assert again.decided == made[33].decided, "decided again"
    assert not live.watch(wanted[0], drawn=False).decided.triggers, "an old window triggers nothing"

    # What the training made is the champion from then on.
    run = live.run(wanted[0])
    frame = pd.concat([turned(live.requests(day)) for day in range(14, wanted[0])], ignore_index=True)
    data = live.contest.data(run, frame)
    number = live.contest.champion(
        run, data, live.contest.candidate(run, data, "logistic_regression"), decision_id=first.decided.decision_id
    )
    for _ in range(2):
        last = live.watch(33, drawn=False)
    assert of(live, 32).version == number == 2
    assert not last.decided.triggers and "the retraining helped" in last.decided.reasons[-1]


@pytest.mark.long
def test_days_that_are_shuffled_retrain_nothing(live: Live) -> None:
    """Some days are unlike others, and no fit knows better which."""
    live.customers = 250
    for day in range(FIRST, 31):
        change = turned if day % 9 == 4 else (lambda frame: frame)
        live.features(day)
        live.label(day, change)
        if day >= SERVED:
            live.serve(day)
    watched = [live.watch(day, drawn=False) for day in range(20, 31)]
    assert [each.decided.action for each in watched] == ["none"] * 11


def kept(live: Live) -> list[kept_fits.Fit]:
    with database.connect() as connection:
        return kept_fits.TABLE.select(connection, "where model = %s order by as_of", [live.spec.model])


def _forget(live: Live) -> None:
    import shutil

    shutil.rmtree(tables.table_path(WINDOWS.of(live.spec.model)))
    assert np.array_equal(table(live), [])
