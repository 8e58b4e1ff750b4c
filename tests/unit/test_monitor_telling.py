"""What an owner is told: each cause once when it begins, changes and is over, whatever is run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.calendar import Calendar
from evergreen.handovers.monitor import Action, Finding
from evergreen.history.events import Told
from evergreen.interval import Interval
from evergreen.monitor import telling

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
CALENDAR = Calendar(every="day")
KINDS = {
    "nulls of age": "incident",
    "volume": "incident",
    "performance": "loss",
    "drift of fare": "drift",
    "the budget": "brake",
}
DOING: tuple[Action, ...] = ("none", "wait for labels", "retrain")


@dataclass(frozen=True)
class Seen:
    """What a window shows."""

    observed: dict[str, float]
    doing: Action = "none"
    unseen: frozenset[str] = frozenset()  # kinds that it could not look at


windows = st.lists(
    st.builds(
        Seen,
        st.dictionaries(st.sampled_from(sorted(KINDS)), st.floats(0.01, 2.0), max_size=4),
        st.sampled_from(DOING),
        st.frozensets(st.sampled_from(["incident", "loss", "brake"])),
    ),
    max_size=25,
)


def found(seen: Seen) -> list[Finding]:
    return [
        Finding(cause=cause, kind=KINDS[cause], observed=value, bound=0.005, said=f"{cause} is {value}")  # type: ignore[arg-type]
        for cause, value in seen.observed.items()
        if KINDS[cause] not in seen.unseen
    ]


def told_of(seen: Seen, before: Sequence[Told], number: int) -> tuple[Told, ...]:
    return telling.tell(
        found(seen),
        before,
        FIRST + number * DAY,
        doing=telling.doing(seen.doing, None),
        judged=lambda kind, cause: kind not in seen.unseen,
    )


def lived(seen: Sequence[Seen]) -> list[tuple[Told, ...]]:
    """What each window tells, each after the last one."""
    told: list[tuple[Told, ...]] = []
    for number, each in enumerate(seen):
        told.append(told_of(each, told[-1] if told else (), number))
    return told


@given(windows)
def test_each_cause_begins_once_and_is_over_once(seen: Sequence[Seen]) -> None:
    wrong: set[str] = set()
    for number, (each, told) in enumerate(zip(seen, lived(seen), strict=True)):
        by_cause = {one.cause: one for one in told}
        assert len(by_cause) == len(told) and not any(one.kind == "drift" for one in told)
        now = {finding.cause for finding in found(each) if finding.kind != "drift"}
        kept = {cause for cause in wrong if KINDS[cause] in each.unseen}
        assert {cause for cause, one in by_cause.items() if one.state == "began"} == now - wrong
        assert {cause for cause, one in by_cause.items() if one.state == "resolved"} == wrong - now - kept
        assert all(one.since == FIRST + number * DAY for one in told if one.state == "began")
        wrong = now | kept
        assert {cause for cause, one in by_cause.items() if one.state != "resolved"} == wrong


@given(windows)
def test_a_change_is_told_once_and_compared_with_what_was_told_last(seen: Sequence[Seen]) -> None:
    last: dict[str, Told] = {}
    for told in lived(seen):
        for one in told:
            earlier = last.get(one.cause)
            if one.state == "changed":
                assert earlier is not None and earlier.since == one.since
                assert one.kind != "brake", "why nothing is retrained is no worse for lasting"
                assert earlier.doing != one.doing or one.observed >= 2 * earlier.observed
            if one.state == "stands":
                assert earlier is not None and one.observed == earlier.observed, "it stands as it was told"
            last[one.cause] = one


@given(windows, st.data())
def test_a_kill_and_a_rerun_anywhere_tell_the_same(seen: Sequence[Seen], data: st.DataObject) -> None:
    """What a window has recorded is where its rerun begins: nothing is news, and all windows after it are the same."""
    once = lived(seen)
    again: list[tuple[Told, ...]] = []
    for number, each in enumerate(seen):
        told = told_of(each, again[-1] if again else (), number)
        for _ in range(data.draw(st.integers(0, 2))):
            rerun = told_of(each, told, number)
            assert telling.news(rerun) == []
        again.append(told)
    assert again == once


def test_calm_tells_nothing_and_drift_alone_neither() -> None:
    assert lived([Seen({}), Seen({"drift of fare": 1.0}), Seen({})]) == [(), (), ()]


def test_an_owner_reads_what_since_when_and_what_is_done() -> None:
    seen = [Seen({"performance": 0.2}, "wait for labels"), Seen({"performance": 0.21}, "retrain"), Seen({})]
    began, changed, over = (telling.news(told) for told in lived(seen))
    assert [telling.line(*each, CALENDAR) for each in (began, changed, over)] == [
        "performance is 0.2 (since 2026-01-01); what is done: a retraining waits for labels",
        "changed: performance is 0.21 (since 2026-01-01); what is done: a retraining",
        "over: performance (since 2026-01-01)",
    ]


@pytest.mark.parametrize(
    ("have", "said"),
    [
        (36, "36% of the labels that a retraining needs are there (36 of 100); at this rate on 2026-01-28"),
        (0, "0% of the labels that a retraining needs are there (0 of 100); when they will be cannot be said yet"),
        (100, None),
    ],
)
def test_when_the_labels_are_there(have: int, said: str | None) -> None:
    now = Interval(FIRST + 9 * DAY, FIRST + 10 * DAY, "2026-01-10")
    assert telling.forecast(have, 100, FIRST, now, CALENDAR) == said


def test_a_rate_that_leads_nowhere_names_no_day() -> None:
    now = Interval(FIRST + 9 * DAY, FIRST + 10 * DAY, "2026-01-10")
    assert "more than 1,000 intervals" in str(telling.forecast(1, 10**6, FIRST, now, CALENDAR))


def outcome(number: int, *, helped: bool) -> Finding:
    said = f"version 2 loses {'less' if helped else 'more'}: the retraining {'helped' if helped else 'did not help'}"
    return Finding(
        cause=f"retraining d{number}", kind="outcome", observed=0.1, bound=0.0, said=said,
        next_step="" if helped else "none yet",
    )  # fmt: skip


def test_whether_a_retraining_helped_is_told_once_and_again_where_it_turns_out_otherwise() -> None:
    windows = [(), (outcome(1, helped=True),), (outcome(1, helped=True),), (), (outcome(1, helped=False),),
               (outcome(2, helped=True),), (outcome(2, helped=True),)]  # fmt: skip
    told: tuple[Told, ...] = ()
    lines = []
    for number, found in enumerate(windows):
        told = telling.tell(found, told, FIRST + number * DAY, doing="nothing", judged=lambda kind, cause: False)
        lines.append([telling.line(each, CALENDAR) for each in telling.news(told)])
    assert lines == [
        [],
        ["version 2 loses less: the retraining helped"],
        [],
        [],
        ["changed: version 2 loses more: the retraining did not help; next step: none yet"],
        ["version 2 loses less: the retraining helped"],
        [],
    ]
    assert [each.cause for each in told] == ["retraining d2"], "the one before is no matter any more"


def test_a_brake_is_told_with_what_a_person_does_next() -> None:
    brake = Finding(cause="the budget", kind="brake", observed=4, bound=4, said="4 retrainings", next_step="wait")
    (told,) = telling.tell([brake], (), FIRST, doing="nothing", judged=lambda kind, cause: True)
    assert telling.line(told, CALENDAR) == "4 retrainings (since 2026-01-01); next step: wait"
    (over,) = telling.tell([], [told], FIRST + DAY, doing="nothing", judged=lambda kind, cause: True)
    assert telling.line(over, CALENDAR) == "over: the budget (since 2026-01-01)"


def test_a_loss_is_told_with_the_version_that_serves_instead() -> None:
    assert telling.doing("wait for labels", 3) == (
        "a retraining waits for labels, and version 3 serves instead until labels judge it"
    )
