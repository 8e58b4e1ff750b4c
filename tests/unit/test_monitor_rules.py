"""The monitor's decisions: evidence, brakes, labels, and old windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.calendar import Calendar
from evergreen.handovers.monitor import Finding, Rival
from evergreen.monitor import brakes, paired, rules
from evergreen.monitor.brakes import Retrained
from evergreen.monitor.evidence import Unfit, Weighed
from evergreen.monitor.rules import Decision, Findings, Known, Labels
from evergreen.monitor.waiting import Good
from evergreen.spec.schema import ModelSpec
from tests.small_models import tiny

FIRST, DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)
ENOUGH = Labels(learn=1000, evaluate=1000, folds=3)
SEEN = paired.Evidence(0.2, 0.01, 2.5, 5.0, 30.0, 1.0, 0.2, 3, due=True)
LOSS = Known(Weighed(10, SEEN, FIRST + 3 * DAY), trained=FIRST)
NO_LOSS = Known(Weighed(10, replace(SEEN, due=False, since=None)), trained=FIRST)


def spec_of(**monitoring: Any) -> ModelSpec:
    return tiny(
        monitoring={"minimum_rows": 100, "cooldown": "5d", "budget": 2} | monitoring,
        gates={"minimum_rows": 50, "floor": {"roc_auc": 0.5}},
        split={"window": "30d", "evaluation": "3d", "minimum_rows": 200},
    )


def found(kind: Any, cause: str = "x", said: str = "it is wrong") -> Finding:
    return Finding(cause=cause, kind=kind, observed=1.0, bound=0.5, said=said)


def window(day: int, *wrong: Finding, version: int | None = 1, champion: int | None = 1) -> Findings:
    return Findings(FIRST + day * DAY, FIRST + (day + 1) * DAY, version, champion, 500, wrong)


def decide(
    findings: Findings,
    history: Sequence[Decision] = (),
    known: Known = LOSS,
    labels: Labels | None = ENOUGH,
    spec: ModelSpec | None = None,
) -> Decision:
    return rules.decide(spec or spec_of(), rules.assess(findings, history), known, labels, {})


def watch(days: range, known: Known = LOSS, spec: ModelSpec | None = None) -> list[Decision]:
    made: list[Decision] = []
    for day in days:
        made.append(decide(window(day), made, known, spec=spec))
    return made


def test_a_loss_that_a_retraining_avoids_retrains_and_says_why() -> None:
    decision = decide(window(10))
    assert (decision.action, decision.triggers, decision.changed_at) == ("retrain", True, FIRST + 3 * DAY)
    assert decision.cause == "loss"
    assert "loses 0.2000 less per row" in decision.reasons[0] and "1000 rows to learn from" in decision.reasons[-1]


@given(
    wrong=st.lists(st.sampled_from(["drift", "loss"]), max_size=5),
    labels=st.sampled_from([None, ENOUGH]),
    trained=st.integers(0, 9),
)
def test_neither_drift_nor_a_fall_retrains_without_evidence(wrong: list[str], labels: Labels, trained: int) -> None:
    known = replace(NO_LOSS, trained=FIRST + trained * DAY)
    decision = decide(window(10, *(found(kind) for kind in wrong)), (), known, labels)
    assert (decision.action, decision.triggers) == ("none", False)
    assert decision.drifted == ("drift" in wrong)


def test_an_incident_alerts_and_retrains_nothing_whatever_the_evidence() -> None:
    decision = decide(window(10, found("incident", said="nulls of age grew")))
    assert (decision.action, decision.triggers, decision.incident) == ("alert", False, True)
    assert decision.reasons == ("nulls of age grew", "a data incident: nothing is retrained")


def test_without_a_champion_there_is_nothing_to_watch() -> None:
    decision = decide(window(10, version=None, champion=None), known=Known())
    assert (decision.action, decision.reasons) == ("none", ("no champion yet: nothing to watch",))


@pytest.mark.parametrize(
    ("labels", "lacking"),
    [
        (None, "no matured labels from after the change"),
        (replace(ENOUGH, folds=0), "no matured labels from after the change"),
        (replace(ENOUGH, learn=199), "199 of 200 rows to learn from"),
        (replace(ENOUGH, evaluate=49), "49 of 50 rows from after the change to evaluate on"),
    ],
)
def test_a_retraining_waits_for_labels(labels: Labels | None, lacking: str) -> None:
    decision = decide(window(10), labels=labels)
    assert (decision.action, decision.triggers) == ("wait for labels", False) and lacking in decision.reasons[-1]
    assert decision.changed_at == FIRST + 3 * DAY


def test_nothing_is_retrained_while_a_version_is_rolled_out_and_what_is_due_then_stays_due() -> None:
    held = decide(window(10), known=replace(LOSS, rollout=2))
    assert (held.action, held.triggers) == ("none", False)
    assert held.reasons[-1] == "the rollout of version 2 is open: nothing is retrained before it has ended"
    assert decide(window(11), [held]).triggers


@given(cooldown=st.integers(1, 20), budget=st.integers(1, 5))
def test_it_never_retrains_within_cooldown_or_beyond_the_budget(cooldown: int, budget: int) -> None:
    spec = spec_of(cooldown=f"{cooldown}d", budget=budget)
    made = watch(range(100), spec=spec)
    ends = [decision.end for decision in made if decision.triggers]
    assert ends, "the case: it does retrain"
    assert all((later - one) >= cooldown * DAY for one, later in pairwise(ends))
    for end in ends:
        assert sum(end - 30 * DAY < other <= end for other in ends) <= budget
    held = [decision for decision in made if brakes.BUDGET in {each.cause for each in decision.standing.found}]
    assert all(decision.action == "alert" or "cooldown" in decision.reasons[-1] for decision in held)
    assert not any(brakes.BUDGET in decision.standing.over for decision in held)


def test_an_old_window_is_recorded_and_triggers_nothing() -> None:
    newer = decide(window(20), known=NO_LOSS)
    decision = decide(window(10), [newer])
    assert (decision.action, decision.triggers) == ("retrain", False)
    assert decision.reasons[-1].startswith("a newer window was decided already")


def test_a_calendar_is_a_net_where_the_evidence_says_nothing() -> None:
    spec = spec_of(retrain={"at_latest": "10d"})
    assert decide(window(8), known=NO_LOSS, spec=spec).action == "none"
    decision = decide(window(9), known=NO_LOSS, spec=spec)
    assert (decision.action, decision.changed_at, decision.cause) == ("retrain", None, "calendar")
    assert "nothing newer than 2026-01-01, more than 10d ago" in decision.reasons[0]
    again = replace(NO_LOSS, retrained=(Retrained("d", FIRST + 10 * DAY, None, "has no outcome yet"),))
    assert decide(window(12), known=again, spec=spec).action == "none", "one was started since"


USELESS = tuple(Retrained(f"d{day}", FIRST + day * DAY, False, "it did not help") for day in (9, 3))


def test_after_two_retrainings_in_a_row_that_did_not_help_a_person_looks() -> None:
    for known in (LOSS, NO_LOSS):
        told = decide(window(20), known=replace(known, retrained=USELESS))
        person = next(each for each in told.standing.found if each.cause == brakes.PERSON)
        assert (person.kind, person.said) == ("brake", "2 retrainings in a row did not help: a person has to look")
        assert person.next_step.endswith("train by hand") and brakes.PERSON not in told.standing.over
    due = decide(window(20), known=replace(LOSS, retrained=USELESS))
    assert (due.action, due.triggers) == ("alert", False) and any(person.said in reason for reason in due.reasons)
    assert brakes.PERSON in decide(window(20)).standing.over
    one = replace(LOSS, retrained=(USELESS[0], replace(USELESS[1], helped=True)))
    assert decide(window(20), known=one).triggers
    unknown = replace(LOSS, retrained=(replace(USELESS[0], helped=None), USELESS[1]))
    assert decide(window(20), known=unknown).triggers


def test_that_nothing_was_better_stands_with_the_next_step() -> None:
    refused = (Retrained("abc", FIRST + 9 * DAY, False, "made nothing better than the champion", refused=True),)
    decision = decide(window(10), known=replace(NO_LOSS, retrained=refused))
    (outcome,) = decision.standing.found
    assert (outcome.kind, outcome.cause) == ("outcome", "retraining abc") and "look at its gates" in outcome.next_step
    assert decision.action == "none" and "decision abc made nothing better" in decision.reasons[-1]


def test_whether_a_retraining_helped_is_said_in_numbers() -> None:
    said = "version 2 loses 0.1 less per row than the version it replaced"
    helped = Retrained("abc", FIRST + 9 * DAY, True, said, gain=0.1)
    decision = decide(window(10), known=replace(NO_LOSS, retrained=(helped,)))
    assert decision.action == "none" and decision.reasons[-1] == helped.outcome
    (outcome,) = decision.standing.found
    assert (outcome.observed, outcome.said, outcome.next_step) == (0.1, said, "")
    useless = decide(window(10), known=replace(NO_LOSS, retrained=(replace(helped, helped=False, gain=-0.1),)))
    assert "after 2 in a row" in useless.standing.found[0].next_step
    unknown = decide(window(10), known=replace(NO_LOSS, retrained=(replace(helped, helped=None),)))
    assert unknown.standing.found == ()


def test_a_recipe_that_no_longer_fits_alerts() -> None:
    known = replace(NO_LOSS, weighed=replace(NO_LOSS.weighed, unfit=Unfit(0.5, 0.9, FIRST + 8 * DAY)))
    told = decide(window(10), known=known)
    assert (told.action, told.triggers) == ("alert", False)
    assert told.reasons[0].startswith("retraining will not help: since 2026-01-09")
    assert [(each.cause, each.kind) for each in told.standing.found] == [(brakes.RECIPE, "brake")]
    assert brakes.RECIPE in decide(window(11), [told]).standing.over


@given(days=st.lists(st.integers(0, 60), max_size=30), last=st.integers(0, 60))
def test_the_same_history_gives_the_same_decision(days: list[int], last: int) -> None:
    history = [decide(window(day)) for day in days if day != last]
    assert decide(window(last), history) == decide(window(last), history[::-1])


GOOD = Good(1, tried=False)
OPEN = replace(NO_LOSS, good=GOOD)
FALL_BACK = spec_of(while_waiting="fall_back")


def rival(gain: float, bound: float | None = 0.05, version: int | None = 1) -> Rival:
    name = "the baseline" if version is None else f"version {version}"
    return Rival(name=name, version=version, estimated=0.8, gain=gain, bound=bound, error=None)


def waiting(*rivals: Rival, known: Known = OPEN, spec: ModelSpec = FALL_BACK, wrong: str = "loss") -> Decision:
    findings = replace(window(10, found(wrong), version=2, champion=2), rivals=rivals)
    return decide(findings, (), known, spec=spec)


def test_what_is_likely_to_be_clearly_worse_falls_back_where_the_owner_wants_that() -> None:
    decision = waiting(rival(0.1))
    assert (decision.falls_back, decision.action) == (1, "none")
    assert decision.reasons[-1] == "version 1 serves instead of version 2 until labels judge it"
    assert waiting(rival(0.1), spec=spec_of()).falls_back is None, "by default its owner is told, and no more"
    assert decision.id != waiting(rival(0.1), spec=spec_of()).id


@pytest.mark.parametrize("rivals", [(), (rival(0.05),), (rival(0.1, None),), (rival(-0.1),)])
def test_what_is_within_the_error_of_estimates_or_unknown_changes_nothing(rivals: tuple[Rival, ...]) -> None:
    decision = waiting(*rivals)
    assert decision.falls_back is None and "fall back" not in decision.reasons[-1]


def test_below_the_baseline_it_falls_back_to_what_is_likely_to_be_better() -> None:
    below = rival(0.2, version=None)
    assert waiting(below, rival(0.01)).falls_back == 1
    assert waiting(below, rival(-0.01)).reasons[-1].endswith("is not likely to be better: no fall back")
    assert waiting(below).falls_back is None, "it could not be asked"


def test_there_is_no_fall_back_without_a_good_version_nor_twice_to_the_same() -> None:
    assert "no earlier version is known good" in waiting(rival(0.1), known=NO_LOSS).reasons[-1]
    again = waiting(rival(0.1), known=replace(OPEN, good=replace(GOOD, tried=True)))
    assert again.falls_back is None and again.reasons[-1].endswith("labels decided since: not again")


def test_a_data_incident_a_retraining_or_an_old_window_falls_back_to_nothing() -> None:
    assert waiting(rival(0.1), wrong="incident").falls_back is None
    due = waiting(rival(0.1), known=replace(LOSS, good=GOOD))
    assert (due.action, due.falls_back) == ("retrain", None), "its labels are there"
    old = replace(window(10, version=2, champion=2), rivals=(rival(0.1),))
    assert decide(old, [decide(window(20), known=NO_LOSS)], OPEN, spec=FALL_BACK).falls_back is None


def test_where_the_recipe_changed_it_says_so_and_does_not_blame_the_world() -> None:
    unfit = Unfit(0.5, 0.9, FIRST + 8 * DAY, (3, 4), "version 3: logistic_regression, without minutes")
    decision = decide(window(10), known=replace(NO_LOSS, weighed=replace(NO_LOSS.weighed, unfit=unfit)))
    (brake,) = decision.standing.found
    assert decision.action == "alert" and "fresh fits of version 4's recipe lose 0.9000" in brake.said
    assert brake.said.endswith("the world need not have (before: version 3: logistic_regression, without minutes)")
    assert "retraining will not help" not in brake.said and "the one before again" in brake.next_step


def test_a_retraining_by_another_recipe_than_was_compared_says_so() -> None:
    decision = decide(window(10), known=replace(LOSS, recipe="with visits"))
    assert decision.action == "retrain"
    assert "a retraining learns by the recipe that is declared now: with visits" in decision.reasons
    silent = decide(window(10), known=replace(NO_LOSS, recipe="without minutes", comparable=False))
    (brake,) = silent.standing.found
    assert brake.cause == brakes.COMPARISON and "since another one is declared now (without minutes)" in brake.said
    assert brakes.COMPARISON in decision.standing.over


def test_cooldown_is_counted_in_local_days_where_the_clock_is_changed() -> None:
    """Five local days over the night in which Berlin's clock is put back are 121 hours."""
    berlin = Calendar("day", "Europe/Berlin")
    spec = spec_of().model_copy(update={"calendar": berlin})
    day, made = berlin.at("2026-10-20"), list[Decision]()
    for _ in range(12):
        made.append(decide(Findings(day.start, day.end, 1, 1, 500, ()), made, spec=spec))
        day = berlin.after(day)
    first, second = [decision.end for decision in made if decision.triggers][:2]
    assert (first, second) == (berlin.at("2026-10-20").end, berlin.at("2026-10-25").end)
    assert second - first == 5 * DAY + timedelta(hours=1)
