"""What answers were made from is what the offline store has of the same entity at the same moment, or it is counted."""

from __future__ import annotations

import pytest

from evergreen.database import connect
from evergreen.handovers.monitor import Quality
from evergreen.loops import inline
from evergreen.monitor import skew, stages
from evergreen.status import facts
from tests.components.train.conftest import CUSTOMERS

from .conftest import Live

FEATURES = ["minutes", "sessions", "mobile", "plan"]


def judged(live: Live, day: int = 20) -> Quality:
    """What the monitor says of the data of a day."""
    quality: Quality = inline.run(live.run(day), "monitor", last="quality")["quality"]
    return quality


def skewed(quality: Quality) -> dict[str, str]:
    return {each.cause: each.kind for each in quality.findings if each.cause.startswith("skew of ")}


def test_a_server_that_answers_by_what_the_store_has_shows_no_difference(live: Live) -> None:
    for day in (18, 19, 20):
        live.features(day)
    live.serve(20)
    quality = judged(live)
    assert set(quality.skew) == set(FEATURES) and skewed(quality) == {}
    for each in quality.skew.values():
        assert (each.rows, each.different, each.since, each.nothing, each.largest) == (CUSTOMERS, 0, 0, 0, None)


def test_a_server_that_serves_an_older_row_is_found(live: Live) -> None:
    for day in (18, 19, 20):
        live.features(day)
    older = live.requests(19)[FEATURES]
    live.serve(20, lambda frame: frame.assign(**{name: older[name].to_numpy() for name in FEATURES}))
    quality = judged(live)
    assert skewed(quality) == {f"skew of {name}": "incident" for name in FEATURES}
    assert quality.skew["minutes"].different > 0.95 * CUSTOMERS
    assert 0.3 < quality.skew["mobile"].different / CUSTOMERS < 0.7, "half of them are equal by chance"


def test_a_server_that_rounds_is_found(live: Live) -> None:
    live.features(20)
    live.serve(20, lambda frame: frame.assign(minutes=frame["minutes"].round()))
    quality = judged(live)
    assert skewed(quality) == {"skew of minutes": "incident"}
    (found,) = (each for each in quality.findings if each.cause == "skew of minutes")
    largest = quality.skew["minutes"].largest
    assert largest is not None and 0.3 < largest <= 0.5
    assert found.said.startswith("minutes: ") and f"by {largest:.4g} at most" in found.said
    watched = live.watch(20, drawn=False)
    assert watched.decided.action == "alert" and any("minutes: " in each for each in watched.decided.reasons)
    each = quality.skew["minutes"]
    assert facts.skewed(live.spec) == each.different / each.rows > 0.8, "for Prometheus"


def test_a_server_with_a_wrong_unit_is_found(live: Live) -> None:
    live.features(20)
    live.serve(20, lambda frame: frame.assign(minutes=frame["minutes"] * 60))
    assert skewed(judged(live)) == {"skew of minutes": "incident"}


def test_a_few_rows_that_differ_are_counted_and_no_incident(live: Live) -> None:
    live.features(20)
    live.serve(20, lambda frame: frame.assign(sessions=frame["sessions"].where(frame.index > 0, 99.0)))
    quality = judged(live)
    assert quality.skew["sessions"].different == 1 and skewed(quality) == {"skew of sessions": "drift"}


def test_a_correction_that_came_after_the_answer_is_told_apart(live: Live) -> None:
    wrong = lambda frame: frame.assign(minutes=frame["minutes"] + 7)  # noqa: E731 - the day as it was first published
    live.features(20, wrong)
    live.serve(20, wrong)
    live.features(20)
    quality = judged(live)
    known = live.requests(20)["minutes"].notna().sum()
    assert (quality.skew["minutes"].different, quality.skew["minutes"].since) == (0, known)
    assert skewed(quality) == {}


def test_a_correction_that_came_before_the_answer_is_no_excuse(live: Live) -> None:
    wrong = lambda frame: frame.assign(minutes=frame["minutes"] + 7)  # noqa: E731 - the day as it was first published
    live.features(20, wrong)
    live.features(20)
    live.serve(20, wrong)
    quality = judged(live)
    assert quality.skew["minutes"].since == 0 and skewed(quality) == {"skew of minutes": "incident"}


def test_a_day_that_was_published_after_the_answer_is_told_apart(live: Live) -> None:
    """The answer came before the newest features did; it used those of the day before, as the store then had them."""
    live.features(19)
    older = live.requests(19)[FEATURES]
    live.serve(20, lambda frame: frame.assign(**{name: older[name].to_numpy() for name in FEATURES}))
    live.features(20)
    quality = judged(live)
    assert skewed(quality) == {} and quality.skew["minutes"].since > 0.95 * CUSTOMERS


def test_rows_that_the_store_has_nothing_of_are_counted(live: Live) -> None:
    live.features(20, lambda frame: frame.head(CUSTOMERS // 2))
    live.serve(20)
    quality = judged(live)
    each = quality.skew["sessions"]
    assert (each.rows, each.nothing, each.different) == (CUSTOMERS, CUSTOMERS // 2, 0) and skewed(quality) == {}


def test_without_any_features_in_the_store_nothing_is_compared(live: Live) -> None:
    live.serve(20)
    assert judged(live).skew == {}


def test_a_state_that_cannot_be_read_any_more_excuses_and_accuses_nobody(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = lambda frame: frame.assign(minutes=frame["minutes"] + 7)  # noqa: E731 - the day as it was first published
    live.features(20, wrong)
    live.serve(20, wrong)
    live.features(20)
    monkeypatch.setattr(skew.tables, "missing", lambda *_: ["a file"])
    quality = judged(live)
    assert skewed(quality) == {}
    assert quality.skew["minutes"].rows == CUSTOMERS - live.requests(20)["minutes"].notna().sum()


def test_answers_of_an_earlier_release_are_held_against_the_store_as_it_is(live: Live) -> None:
    live.features(20)
    live.serve(20, lambda frame: frame.assign(minutes=frame["minutes"].round()))
    frame = live.requests(20)
    collected = stages.collect(live.run(20))
    from evergreen.monitor.live import read

    window = read(live.spec, [collected.partition])
    assert window is not None and len(window) == len(frame)
    found = skew.measure(live.run(20), window.drop(columns="_logged_at"), None)
    assert found["minutes"].different > 0 and found["minutes"].since == 0


def test_what_it_reads_and_compares_is_bounded(live: Live, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """By a sample of the answers, and by what is newer than two months, also of entities that have no features."""
    for day in (*range(1, 11), 100):
        live.features(day)
    live.serve(100)
    with connect() as connection:  # entities that never were
        connection.execute(
            "update predictions set entity = 'x' || entity where model = %s and position < 10", [live.spec.model]
        )
    monkeypatch.setattr(skew, "ROWS", 20)
    run = live.run(100)
    window = stages._window(run, stages.collect(run), [run.interval])
    opened.clear()
    found = skew.measure(run, window, None)
    assert {each.rows for each in found.values()} == {20}
    assert {each.nothing > 0 for each in found.values()} == {True}
    assert opened and not [file for file in opened if "partition=2026-01" in file], "days before two months"
