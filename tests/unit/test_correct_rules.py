"""What a correction touches beyond partitions, and when it is written down."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from evergreen.correct import rules
from evergreen.handovers.correct import Change, ChangedOnline, ChangedSource, Planned
from evergreen.history.events import Decided, Event, Trained
from evergreen.history.story import Entry
from evergreen.interval import Interval
from evergreen.settings import PROJECT
from evergreen.spec.load import load_spec

DAY = Interval.of_day(date(2026, 1, 5))
SAME, CHANGED = Change(before=5, rows=5, same=True), Change(before=5, rows=4, same=False)
SPECS = PROJECT / "tests" / "specs" / "valid"


def source(
    change: Change = CHANGED, *, hashed: str = "b", replaces: int | None = 3, erased: int = 0, back: int = 0
) -> ChangedSource:
    return ChangedSource(
        published=change,
        quarantined=SAME,
        released=0,
        replaces=replaces,
        content_hash=hashed,
        erased=erased,
        back=back,
    )


def planned(**more: Any) -> Planned:
    nothing: dict[str, Any] = {name: {} for name in ("features", "online", "labels", "versions", "decisions")}
    nothing |= {"models": (), "erasures": ()}
    return Planned(**{"partition": "2026-01-05", "sources": {"usage": source(SAME)}} | nothing | more)


def event(plan: Planned, model: str = "churn") -> Any:
    return rules.event(plan, "churn", model, as_of=DAY.end, actor="ada", reason="sent again")


def entries(*events: Event) -> list[Entry]:
    return [Entry(number, datetime(2026, 2, number, tzinfo=UTC), each) for number, each in enumerate(events, 1)]


def test_rows_are_joined_with_the_features_of_their_own_cutoff_or_with_those_before_their_request() -> None:
    churn, parcels = (load_spec(folder) for folder in (PROJECT / "include" / "models" / "churn", SPECS / "parcels"))
    assert rules.cutoffs(churn, DAY) == ["2026-01-05"]
    # A request of the 6th, or of the day before the interval that it belongs to.
    assert rules.cutoffs(parcels, DAY) == ["2026-01-06", "2026-01-07"]


def test_a_decision_is_open_until_its_training_came_or_another_window_was_decided() -> None:
    def decided(day: int, action: str, *, triggers: bool = False) -> Decided:
        start = datetime(2026, 1, day, tzinfo=UTC)
        common = {"id": f"d{day}", "model": "churn", "as_of": start, "actor": "run", "reason": "why"}
        more = {"decision_id": f"d{day}", "start": start, "end": start + timedelta(days=1), "version": 1}
        return Decided(**common, **more, action=action, triggers=triggers, changed_at=None, evidence={})  # type: ignore[arg-type]

    waits, wants = decided(6, "wait for labels"), decided(7, "retrain", triggers=True)
    trained = Trained(
        id="t",
        model="churn",
        as_of=wants.as_of,
        actor="run",
        reason="why",
        run_id="r",
        key="k",
        family="ridge",
        metric="rmse",
        score=1.0,
        trials=1,
        decision_id="d7",  # type: ignore[arg-type]
    )
    since = datetime(2026, 1, 5, tzinfo=UTC)
    assert rules.open_decisions([waits], [waits], since) == ["d6 about 2026-01-06: wait for labels"]
    assert rules.open_decisions([waits, wants], [waits, wants], since) == ["d7 about 2026-01-07: retrain"]
    assert rules.open_decisions([waits, wants], [waits, wants, trained], since) == []
    assert rules.open_decisions([waits], [waits], waits.end) == [], "its window was over before"


def test_a_correction_is_written_down_once_and_again_when_its_rows_come_back() -> None:
    first = event(planned(sources={"usage": source()}))
    assert rules.unless_begun(first, []) == (first,)
    assert event(planned(sources={"usage": source()})).id == first.id, "killed before anything was published"
    left = event(planned(sources={"usage": source(SAME)}, features={"activity": {"2026-01-05": CHANGED}}))
    assert rules.unless_begun(left, entries(first)) == (), "killed after it"
    assert rules.unless_begun(left, []) == (left,), "an ingestion was killed, and nobody wrote it down"
    back = event(planned(sources={"usage": source(hashed="a", replaces=4)}))
    again = event(planned(sources={"usage": source(replaces=5)}))
    assert rules.unless_begun(again, entries(first, back)) == (again,) and again.id != first.id
    assert event(planned(sources={"usage": source()}), "tickets").id != first.id


def test_the_list_says_what_is_new_what_changes_and_what_stays() -> None:
    assert planned().nothing
    assert list(rules.lines("churn", planned())) == [
        "churn of 2026-01-05: nothing to change, what the batches say is published"
    ]
    new = Change(before=None, rows=3, same=False)
    plan = planned(
        sources={"usage": source(), "tickets": source(SAME)},
        features={"activity": {"2026-01-05": CHANGED, "2026-01-06": SAME, "2026-01-07": new}},
        online={"activity": ChangedOnline(partitions=("2026-01-07",), entities=1)},
        labels={"tickets": {"2026-01-02": CHANGED}},
        models=("churn", "tickets"),
        versions={"tickets": {"3": ("2026-01-02",)}},
        decisions={"tickets": ("d6 about 2026-01-06: wait for labels",)},
    )
    assert not plan.nothing
    assert list(rules.lines("churn", plan)) == [
        "churn of 2026-01-05:",
        "  source usage: 5 → 4 rows published; 5 rows (the same) in quarantine",
        "  unchanged: tickets",
        "  features activity: 1 new (2026-01-07); 1 changed (2026-01-05); 1 computed again, with the same content "
        "(2026-01-06)",
        "  online activity: 1 entity changes, by 2026-01-07",
        "  labels of tickets: 1 changed (2026-01-02)",
        "  models: churn, tickets",
        "  version 3 of tickets was trained on rows that change: the same training would differ by 2026-01-02",
        "  open decision of tickets: d6 about 2026-01-06: wait for labels",
    ]


def test_the_list_says_who_may_come_back_after_an_erasure_and_what_to_do() -> None:
    plan = planned(
        sources={"usage": source(erased=3, back=4), "tickets": source(SAME, erased=1), "payments": source(erased=2)},
        erasures=("e1", "e2"),
    )
    assert list(rules.lines("churn", plan))[3:] == [
        "  source payments: erasures removed 2 of its rows, and they stay out",
        "  source tickets: erasures removed 1 of its rows, and they stay out",
        "  WHO WAS ERASED MAY COME BACK into usage: erasures removed 3 of its rows, and its batch has 4 of keys that "
        "are not there now",
        "  erasures since it was published: e1, e2; have their rows taken out of the batch first, or give "
        "`evergreen erase` again afterwards",
        "  unchanged: tickets",
    ]
