"""The monitoring loop on real parts: the server's log, the lake, the registry, Evidently."""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp
from sklearn.metrics import roc_auc_score

from evergreen import cli
from evergreen.database import connect
from evergreen.errors import StageSkipped
from evergreen.handovers.monitor import Alerted, Collected, Drift
from evergreen.history import events, ledger, story, telling
from evergreen.lake import tables
from evergreen.lake.schema import LABELS, PREDICTIONS, WINDOWS
from evergreen.links import Link
from evergreen.model.rows import inputs
from evergreen.monitor import decisions, drift_report, stages
from evergreen.monitor.rules import Decision
from evergreen.registry import loading, store
from evergreen.settings import settings
from tests.components.train.conftest import at

from .conftest import HORIZON, Live, Watched, drifted, without_minutes

FEATURES = ("minutes", "sessions", "mobile", "plan")


class Loads(HTMLParser):
    """What a browser fetches to show a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get("src") or (given.get("href") if tag == "link" else None)
        if address and not address.startswith("data:"):
            self.found.append(f"<{tag} {address}>")


def kept(live: Live) -> list[Decision]:
    return [decisions.restored(event) for event in story.decisions(ledger.entries(live.spec.model, "decided"))]


def alerts(live: Live) -> list[events.Alerted]:
    return [entry.event for entry in ledger.entries(live.spec.model) if isinstance(entry.event, events.Alerted)]


def told(live: Live, day: int, watched: Watched) -> Alerted | None:
    """What the owner is told of a window; None: nothing."""
    try:
        return stages.alert(live.run(day), watched.quality, watched.performance, watched.decided)
    except StageSkipped:
        return None


def decided(live: Live) -> list[events.Decided]:
    return [entry.event for entry in ledger.entries(live.spec.model) if isinstance(entry.event, events.Decided)]


def test_the_owner_is_told_of_little_space(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    live.serve(20)
    monkeypatch.setenv("EVERGREEN_DISK_RESERVE_MB", "1000000000")
    monkeypatch.setenv("EVERGREEN_DATABASE_BOUND_MB", "1")
    settings.cache_clear()
    disk, database = stages.collect(live.run(20)).warnings
    assert disk.startswith("the disk of home, lake (/") and "EVERGREEN_DISK_RESERVE_MB): it is nearly used up" in disk
    assert "bounded to 1 MB" in database and "predictions are refused; delete what docs/operator.md" in database


def test_a_usual_window_is_compared_reported_and_decided_once(live: Live) -> None:
    live.serve(20)
    watched = live.watch(20)
    collected = Collected(partition="2026-01-21", rows=60, version=1, champion=1, ages={}, warnings=(), table_version=1)
    assert watched.collected == collected
    assert (watched.decided.action, watched.decided.triggers, watched.decided.reasons) == (
        "none",
        False,
        ("no window of version 1 has labels that have matured, and enough of them",),
    )
    assert set(watched.drift.distances) == set(FEATURES) == set(watched.quality.missing)
    assert max(watched.drift.distances.values()) < live.spec.monitoring.feature_drift

    below, reported = f"{live.spec.model}/drift/2026-01-21.html", watched.reported
    assert reported is not None and reported.performance is None, "no label has matured"
    assert reported.drift == reported.links()[Link.DRIFT_REPORT] == f"{settings().reports_url}/{below}"
    assert reported.page == watched.decided.links()[Link.WINDOW], "the decision's button leads to the page"
    own = (settings().reports / live.spec.model / "windows" / "2026-01-21.html").read_text()
    assert "no window of version 1 has labels" in own and "../drift/2026-01-21.html" in own
    page = (settings().reports / below).read_text()
    assert "minutes" in page and "prediction" in page
    loads = Loads()
    loads.feed(page)
    assert loads.found == [], "the report is readable without a network"
    assert not re.search(r"@import\s+(url\()?[\"']?https?:|url\([\"']?https?:", page)

    again = live.watch(20)
    assert (again.decided, again.drift) == (watched.decided, watched.drift)
    assert [decision.id for decision in kept(live)] == [watched.decided.decision_id], (
        "running a window again leaves one decision"
    )
    assert len(tables.read(PREDICTIONS.of(live.spec.model))) == 60
    (decision,) = kept(live)
    assert len(decided(live)) == 1
    assert decision.evidence["drift"]["distances"] == watched.drift.distances, "kept with its evidence"


def test_only_answers_of_the_window_and_of_the_version_that_made_most_of_them_are_judged(live: Live) -> None:
    earlier = live.contest.data(live.run(18))
    other = live.contest.candidate(live.run(18), earlier)
    version = store.register(live.spec.model, run_id=other.run.id, key="another", as_of=at(18), tags={}).number
    live.serve(19, drifted)
    live.serve(20)
    live.serve(20, drifted, version=version, only=25)
    live.serve(21, drifted)
    run = live.run(20)
    collected = stages.collect(run)
    assert (collected.rows, collected.version) == (85, 1)
    assert max(stages.drift(run, collected).distances.values()) < live.spec.monitoring.feature_drift


def test_numbers_are_collected_as_the_model_saw_them(live: Live) -> None:
    """Whole ones are larger than a float holds exactly, booleans are numbers, and a type may have been another one."""
    live.serve(20, lambda frame: frame.assign(minutes=2**53 + 1, sessions=True, plan=4.0))
    assert stages.collect(live.run(20)).rows == 60
    table = tables.read(PREDICTIONS.of(live.spec.model))
    assert table is not None
    assert (
        table.select(["minutes", "sessions", "plan"]).to_pylist()
        == [{"minutes": 2.0**53, "sessions": 1.0, "plan": None}] * 60
    )


def test_a_window_of_days_reaches_back_over_a_swap_and_still_sees_the_outage_of_a_day(live: Live) -> None:
    """Features of every version's answers count, predictions only of the one that serves;
    nulls are those of the day."""
    earlier = live.contest.candidate(live.run(18), live.contest.data(live.run(18)))
    other = store.register(live.spec.model, run_id=earlier.run.id, key="another", as_of=at(18), tags={}).number
    monitoring = live.spec.monitoring.model_copy(update={"window": timedelta(days=3)})
    spec = live.spec.model_copy(update={"monitoring": monitoring})
    for day in (19, 20):
        live.serve(day, drifted, version=other)
        stages.collect(live.run(day))
    live.serve(21, lambda frame: frame.assign(plan=None))
    run = dataclasses.replace(live.run(21), spec=spec)
    collected = stages.collect(run)
    window = stages._window(run, collected, spec.calendar.back(run.interval, spec.window))
    assert (len(window), int(window["prediction"].notna().sum()), collected.version) == (180, 60, 1)
    drift = stages.drift(run, collected)
    assert drift.distances["minutes"] > 0.35, "two days of three had drifted"
    alone = stages.drift(live.run(21), collected)
    assert alone.distances["minutes"] < 0.35
    assert drift.prediction == pytest.approx(alone.prediction), "the other version's predictions are not judged"
    assert stages.quality(run, collected).missing["plan"] > 0.85, "one day of nulls is not a third of an outage"


def test_distances_are_what_scipy_computes_on_the_same_rows(live: Live) -> None:
    live.serve(20, lambda frame: drifted(frame).assign(plan=frame["plan"].replace({"basic": "gold"})))
    run = live.run(20)
    collected = stages.collect(run)
    ours = stages.drift(run, collected)
    reference = stages._reference(run, collected)
    assert reference is not None
    window, usual = stages._window(run, collected, [run.interval]), reference.rows
    theirs = {
        name: ks_2samp(window[name].dropna(), usual[name].dropna(), method="asymp").statistic
        for name in ("minutes", "sessions", "mobile", "prediction")
    }
    assert {**ours.distances, "prediction": ours.prediction} == pytest.approx(
        theirs | {"plan": ours.distances["plan"]}, abs=0.01
    )
    assert ours.distances["minutes"] > 0.6 and ours.distances["plan"] > 0.3, "the case: they did drift"
    assert {"categories of plan"} == {each.cause for each in stages.quality(run, collected).findings} - {
        "range of minutes"
    }


def test_a_sensor_outage_alerts_and_never_retrains(live: Live) -> None:
    for day in range(14, 27):
        live.label(day, drifted)  # there would be enough to learn from
    for day in (20, 21, 22, 23):
        live.serve(day, without_minutes)
        watched = live.watch(day, drawn=False)
        assert (watched.decided.action, watched.decided.triggers) == ("alert", False)
        assert watched.decided.reasons[0].startswith("nulls of minutes grew by 89.6%")
        assert watched.drift.distances["sessions"] > 0.9, "the case: it looks like drift as well"
    assert [decision.incident for decision in kept(live)] == [True] * 4


def test_an_alert_stands_in_the_ledger_once(live: Live) -> None:
    live.serve(20, without_minutes)
    for _ in range(2):
        watched = live.watch(20, drawn=False)
        alerted = told(live, 20, watched)
        assert alerted is not None and alerted.owner == "team@example.org"
        assert alerted.decision_id == watched.decided.decision_id
        assert alerted.warnings[0].startswith("nulls of minutes grew by 89.6%")
        assert alerted.warnings[0].endswith("(since 2026-01-21); what is done: nothing is retrained on such data")
    (event,) = alerts(live)
    assert (event.decision_id, event.actor, event.as_of) == (watched.decided.decision_id, live.run(20).actor, at(20))
    assert "nulls of minutes" in event.reason and event.id == alerted.told_as


def test_an_outage_is_told_once_when_it_begins_and_once_when_it_is_over(live: Live) -> None:
    for day in (20, 21, 23):
        live.serve(day, without_minutes)
    live.serve(24)
    said = {day: told(live, day, live.watch(day, drawn=False)) for day in range(20, 25)}
    assert said[20] is not None and said[21] is None, "the second day is nothing new"
    assert said[22] is not None and said[22].warnings[0].startswith("no predictions, although"), "another cause"
    assert said[23] is not None and said[23].warnings == ("over: volume (since 2026-01-23)",), "the nulls stand"
    assert said[24] is not None and "over: nulls of minutes (since 2026-01-21)" in said[24].warnings
    assert told(live, 20, live.watch(20, drawn=False)) is None, "an old window tells nothing about today"
    assert len(alerts(live)) == 4
    lines = list(telling.whole(live.spec.model, ledger.entries(live.spec.model)))
    assert any("the owner was told of 2026-01-25: over: nulls of minutes" in line for line in lines)


def test_a_loss_is_told_in_the_interval_that_shows_it(live: Live) -> None:
    live.serve(20)
    live.serve(21)
    live.label(20, lambda frame: frame.assign(left=1 - frame["left"]))
    assert told(live, 20, live.watch(20, drawn=False)) is None
    lost = told(live, 21, live.watch(21, drawn=False))
    assert lost is not None and lost.warnings[0].startswith("performance fell by")
    assert lost.warnings[1] == (  # these were predicted as of the end of day 19; a fold and an evaluation follow it
        "if the world is different since 2026-01-21, the labels that a retraining needs are there on 2026-01-26 at the "
        "earliest"
    )
    live.serve(22)
    assert told(live, 22, live.watch(22, drawn=False)) is None, "no label matured: it stands as it was told"


def test_a_decision_that_is_no_alert_tells_nobody(live: Live) -> None:
    live.serve(20)
    with pytest.raises(StageSkipped, match="nothing new to tell"):
        watched = live.watch(20, drawn=False)
        stages.alert(live.run(20), watched.quality, watched.performance, watched.decided)
    assert alerts(live) == []


def test_silence_alerts_when_a_champion_served_and_not_before_there_was_one(live: Live) -> None:
    watched = live.watch(20, drawn=False)
    assert (watched.decided.action, watched.decided.reasons) == (
        "alert",
        ("no predictions, although a champion serves",),
    )
    assert watched.drift == Drift(distances={}, prediction=None, classes={})
    before = live.watch(15, drawn=False)  # a backfill: the champion knows what this window could not
    assert (before.decided.action, before.decided.reasons) == ("none", ("no champion yet: nothing to watch",))


def test_a_silent_window_is_judged_by_who_served_then_whatever_was_promoted_since(live: Live) -> None:
    watched = live.watch(20, drawn=False)
    run = live.run(23)
    data = live.contest.data(run)
    assert live.contest.champion(run, data, live.contest.candidate(run, data)) == 2
    again = live.watch(20, drawn=False)
    assert (again.decided.action, again.decided.decision_id) == (
        watched.decided.action,
        watched.decided.decision_id,
    ) and again.decided.action == "alert"


def test_performance_is_measured_on_the_labels_that_matured_in_the_window(live: Live) -> None:
    def turned(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(left=1 - frame["left"])

    live.serve(20)
    live.serve(20, drifted, hour=10)  # a second answer of the day about the same customer
    live.serve(21)
    live.label(20, turned)
    live.label(21)
    run = live.run(21)
    assert at(19) + HORIZON == run.as_of, "the labels of day 20 mature with the end of day 21"
    stages.collect(live.run(20))
    performance = stages.performance(run, stages.collect(run))
    requests = live.requests(20, turned)
    answers = loading.load(live.spec.model, 1).predict(inputs(live.spec.feature_types, requests))
    assert performance.value == pytest.approx(roc_auc_score(requests["left"], answers))
    assert (performance.rows, performance.significant, performance.metric) == (60, True, "roc_auc")
    assert performance.drop is not None and performance.reference is not None and performance.value is not None
    assert performance.drop == pytest.approx(performance.reference - performance.value)
    assert performance.drop > 0.2
    watched = live.watch(21)
    assert watched.decided.reasons[0].startswith("performance fell by")
    assert watched.reported is not None and watched.reported.performance is not None
    pages = [settings().reports / live.spec.model / kind / "2026-01-22.html" for kind in ("windows", "performance")]
    assert "version 1" in pages[0].read_text() and "../performance/2026-01-22.html" in pages[0].read_text()
    assert "ROC" in pages[1].read_text()

    nothing = stages.performance(live.run(20), stages.collect(live.run(20)))
    assert (nothing.value, nothing.rows) == (None, 0), "a label that is not mature yet scores nothing"


def test_a_decision_keeps_what_it_was_made_from_while_old_days_are_filled(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    live.serve(20)
    live.serve(21)
    live.label(20)
    live.watch(20, drawn=False)
    watched = live.watch(21, drawn=False)
    labels, predictions = LABELS.of(live.spec.model, "left"), PREDICTIONS.of(live.spec.model)
    windows = WINDOWS.of(live.spec.model)
    made_from = decided(live)[-1].made_from
    assert made_from is not None and set(made_from) == {str(labels), str(predictions), str(windows)}
    assert made_from[str(predictions)].version == tables.version(predictions)
    assert (made_from[str(labels)].first, made_from[str(labels)].partitions) == ("2026-01-20", 1)
    command = ["lineage", live.spec.model, "--decision", watched.decided.decision_id]
    assert cli.main(command) == 0
    told = capsys.readouterr().out
    assert f"{labels}, version 1: 2026-01-20 (1 partition)" in told and "answered by version 1 (120)" in told
    assert f"read: {labels}, version 1: 2026-01-20" in "\n".join(telling.evidence(decided(live)[-1]))

    live.label(21)  # known only after the window: no other decision
    assert live.watch(21, drawn=False).decided == watched.decided
    assert len([each for each in decided(live) if each.decision_id == watched.decided.decision_id]) == 1
    live.label(20, lambda frame: frame.assign(left=1 - frame["left"]))  # corrected
    assert cli.main(command) == 0
    assert capsys.readouterr().out == told, "whatever was written since"
    with connect() as connection:
        connection.execute("update publications set content_hash = 'another' where layer = 'labels'")
    assert cli.main(command) == 0
    assert "recorded otherwise by now" in capsys.readouterr().out


def test_a_small_loss_within_chance_is_not_significant(live: Live) -> None:
    live.serve(20)
    live.serve(21)
    live.label(20)
    stages.collect(live.run(20))
    performance = stages.performance(live.run(21), stages.collect(live.run(21)))
    assert performance.rows == 60
    assert performance.drop is not None and performance.drop < 0.2
    assert not performance.significant


def test_a_feature_that_the_serving_version_never_learned_is_not_judged(live: Live) -> None:
    """A data scientist adds a feature: until the next champion serves, the old one is watched by what it knows."""
    view = live.spec.features["activity"]
    wider = view.model_copy(update={"features": {**view.features, "visits": "int"}})
    live.serve(20)
    live.contest.spec = live.spec.model_copy(update={"features": {"activity": wider}}).at(live.spec.folder)
    watched = live.watch(20)
    assert set(watched.drift.distances) == set(FEATURES) == set(watched.quality.missing)
    assert watched.decided.action == "none"


def test_a_feature_that_is_no_longer_computed_is_an_incident_of_the_version_that_learned_from_it(live: Live) -> None:
    view = live.spec.features["activity"]
    fewer = {name: kind for name, kind in view.features.items() if name != "minutes"}
    live.serve(20, lambda frame: frame.assign(minutes=np.nan))  # the online store has it no more
    live.contest.spec = live.spec.model_copy(
        update={"features": {"activity": view.model_copy(update={"features": fewer})}}
    ).at(live.spec.folder)
    watched = live.watch(20)
    assert watched.quality.missing["minutes"] > 0.8
    assert watched.decided.action == "alert" and "nulls of minutes grew" in watched.decided.reasons[0], (
        watched.decided.reasons
    )


def test_a_window_without_a_value_of_a_feature_is_still_reported(live: Live) -> None:
    live.serve(20, lambda frame: frame.assign(plan=None, minutes=np.nan))
    watched = live.watch(20)
    assert set(watched.drift.distances) == {"sessions", "mobile"}
    assert watched.quality.missing["plan"] > 0.8
    assert (settings().reports / live.spec.model / "drift" / "2026-01-21.html").exists()


def test_the_report_shows_a_sample_where_there_are_more_rows(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    live.serve(20)
    run = live.run(20)
    of_version = stages._reference(run, stages.collect(run))
    assert of_version is not None
    reference = of_version.rows
    assert len(drift_report._sample(reference, 100)) == 100
    assert drift_report._sample(reference, 100).equals(drift_report._sample(reference, 100)), (
        "the same sample each time"
    )
