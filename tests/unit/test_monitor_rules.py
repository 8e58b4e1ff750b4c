"""What a window says and what is decided about it: drift must last, brakes hold, outages retrain nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.monitor import rules
from evergreen.spec.schema import ModelSpec
from tests.small_models import tiny

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ENOUGH = rules.Labels(learn=1000, evaluate=1000, folds=3)
PERSISTENCE, COOLDOWN, BUDGET = 3, 5, 2


def spec_of(**monitoring: Any) -> ModelSpec:
    bounds = {
        "minimum_rows": 100,
        "feature_drift": 0.1,
        "drifted_share": 0.5,
        "prediction_drift": 0.2,
        "performance_drop": 0.05,
        "missing_share": 0.3,
        "persistence": PERSISTENCE,
        "cooldown": f"{COOLDOWN}d",
        "budget": BUDGET,
    }
    return tiny(
        features={
            "spend": {"sources": ("events",), "look_back": "3d", "features": {"spent": "float", "visits": "int"}}
        },
        split={"window": "30d", "evaluation": "3d", "minimum_rows": 500},
        gates={"minimum_rows": 200, "floor": {"roc_auc": 0.5}},
        monitoring=bounds | monitoring,
    )


SPEC = spec_of()


def window(day: int, **changes: Any) -> rules.Findings:
    """Day `day` as it should be: version 1, 500 predictions, nothing drifted."""
    usual = rules.Findings(
        start=FIRST + day * DAY,
        end=FIRST + (day + 1) * DAY,
        version=1,
        champion=1,
        rows=500,
        distances={"spent": 0.02, "visits": 0.03},
        missing={"spent": 0.0, "visits": 0.0},
        prediction=0.01,
    )
    return replace(usual, **changes)


def drifted(day: int, **changes: Any) -> rules.Findings:
    return window(day, **{"distances": {"spent": 0.4, "visits": 0.03}, **changes})


def outage(day: int) -> rules.Findings:
    """A sensor that stopped: one feature is null everywhere, and so everything else looks odd as well."""
    return drifted(day, missing={"spent": 0.9, "visits": 0.0}, prediction=0.8)


def decide(
    spec: ModelSpec,
    findings: rules.Findings,
    history: Sequence[rules.Decision],
    labels: rules.Labels | None,
    evidence: dict[str, Any],
) -> rules.Decision:
    return rules.decide(spec, rules.assess(findings, history, spec.monitoring), labels, evidence)


def watch(
    windows: Sequence[rules.Findings], spec: ModelSpec = SPEC, labels: rules.Labels | None = ENOUGH
) -> list[rules.Decision]:
    """Decide about windows in the given order, each with the decisions so far."""
    kept: dict[datetime, rules.Decision] = {}
    decisions = []
    for findings in windows:
        others = [decision for start, decision in kept.items() if start != findings.start]
        kept[findings.start] = decide(spec, findings, others, labels, {})
        decisions.append(kept[findings.start])
    return decisions


def actions(decisions: Sequence[rules.Decision]) -> list[str]:
    return [decision.action for decision in decisions]


KINDS = st.sampled_from(
    [
        window,
        drifted,
        outage,
        lambda day: window(day, version=None, rows=0, distances={}, missing={}, prediction=None),
        lambda day: window(day, rows=20),
        lambda day: window(day, prediction=0.5),
        lambda day: window(day, performance=0.2, performance_significant=True, performance_rows=300),
        lambda day: drifted(day, version=2),
    ]
)
HISTORIES = st.lists(KINDS, min_size=1, max_size=40).map(lambda kinds: [kind(day) for day, kind in enumerate(kinds)])


class TestFindings:
    @pytest.mark.parametrize(
        ("findings", "reason"),
        [
            (drifted(0), "1 of 2 features drifted: spent"),
            (window(0, prediction=0.21), "predictions drifted by 0.210"),
            (
                window(0, performance=0.06, performance_significant=True, performance_rows=80),
                "performance fell by 0.060",
            ),
        ],
    )
    def test_each_material_deviation_is_told(self, findings: rules.Findings, reason: str) -> None:
        assert [text.startswith(reason) for text in rules.deviations(findings, SPEC.monitoring)] == [True]

    @pytest.mark.parametrize(
        "findings",
        [
            window(0),
            window(
                0,
                distances={"spent": 0.1, "visits": 0.1},
                prediction=0.2,
                performance=0.05,
                performance_significant=True,
            ),
            window(0, performance=0.9, performance_significant=False),
            # A third of the features, and half of them is material.
            window(0, distances={"a": 0.4, "b": 0.0, "c": 0.0}),
            window(0, distances={}, prediction=None),
        ],
        ids=["usual", "at the bounds", "a loss within chance", "too few features", "nothing to compare"],
    )
    def test_what_is_not_material_is_no_deviation(self, findings: rules.Findings) -> None:
        assert rules.deviations(findings, SPEC.monitoring) == []

    @pytest.mark.parametrize(
        ("findings", "reason"),
        [
            (outage(0), "nulls of spent grew by 90%"),
            (window(0, rows=99), "only 99 predictions"),
            (window(0, version=None, rows=0), "no predictions, although a champion serves"),
        ],
    )
    def test_data_that_cannot_be_judged_is_an_incident(self, findings: rules.Findings, reason: str) -> None:
        assert any(text.startswith(reason) for text in rules.incidents(findings, SPEC.monitoring))

    def test_before_there_is_a_champion_silence_is_no_incident(self) -> None:
        findings = window(0, version=None, champion=None, rows=0)
        (decision,) = watch([findings])
        assert (decision.action, decision.incident) == ("none", False)


class TestOutage:
    @given(HISTORIES)
    def test_an_incident_alerts_and_never_retrains(self, windows: list[rules.Findings]) -> None:
        for findings, decision in zip(windows, watch(windows), strict=True):
            if rules.incidents(findings, SPEC.monitoring):
                assert (decision.action, decision.triggers, decision.drifted) == ("alert", False, False)

    @given(st.integers(1, 30))
    def test_an_outage_retrains_nothing_however_long_it_lasts(self, days: int) -> None:
        assert set(actions(watch([outage(day) for day in range(days)]))) == {"alert"}

    def test_an_incident_in_between_starts_the_count_anew(self) -> None:
        decisions = watch([drifted(0), drifted(1), outage(2), drifted(3), drifted(4), drifted(5)])
        assert actions(decisions) == ["none", "none", "alert", "none", "none", "retrain"]
        assert decisions[-1].changed_at == FIRST + 3 * DAY


class TestPersistence:
    @given(HISTORIES)
    def test_nothing_is_done_before_drift_has_lasted(self, windows: list[rules.Findings]) -> None:
        decisions = watch(windows)
        for position, decision in enumerate(decisions):
            if decision.action in ("retrain", "wait for labels"):
                streak = decisions[position - PERSISTENCE + 1 : position + 1]
                assert len(streak) == PERSISTENCE
                assert all(each.drifted and each.version == decision.version for each in streak)

    @given(st.integers(1, 8))
    def test_drift_is_believed_in_the_window_that_completes_the_streak(self, persistence: int) -> None:
        decisions = watch([drifted(day) for day in range(persistence)], spec_of(persistence=persistence))
        assert actions(decisions) == ["none"] * (persistence - 1) + ["retrain"]
        assert decisions[-1].changed_at == FIRST, "the change is where the streak began"

    @pytest.mark.parametrize(
        "windows",
        [
            [drifted(0), drifted(1), window(2), drifted(3), drifted(4)],
            [drifted(0), drifted(1), drifted(3), drifted(4)],
            [drifted(0), drifted(1), drifted(2, version=2), drifted(3, version=2)],
        ],
        ids=["a usual window", "a window that was not watched", "another version"],
    )
    def test_what_interrupts_the_streak(self, windows: list[rules.Findings]) -> None:
        assert set(actions(watch(windows))) == {"none"}

    def test_different_deviations_make_one_streak(self) -> None:
        decisions = watch(
            [drifted(0), window(1, prediction=0.5), window(2, performance=0.2, performance_significant=True)]
        )
        assert actions(decisions)[-1] == "retrain"


class TestBrakes:
    @given(HISTORIES)
    def test_two_retrainings_are_a_cooldown_apart(self, windows: list[rules.Findings]) -> None:
        ends = [decision.end for decision in watch(windows) if decision.action == "retrain"]
        assert all(later - earlier >= COOLDOWN * DAY for earlier, later in itertools.pairwise(ends))

    @given(HISTORIES)
    def test_no_thirty_days_have_more_retrainings_than_the_budget(self, windows: list[rules.Findings]) -> None:
        ends = [decision.end for decision in watch(windows) if decision.action == "retrain"]
        for end in ends:
            assert sum(timedelta(0) <= end - other < rules.BUDGET_PERIOD for other in ends) <= BUDGET

    def test_a_drift_that_retraining_does_not_cure(self) -> None:
        """The version stays, since no candidate was better: again after the cooldown, then the budget stops it."""
        decisions = watch([drifted(day) for day in range(2 + 2 * COOLDOWN + 4)])
        expected = [
            "none",
            "none",
            "retrain",
            *["none"] * (COOLDOWN - 1),
            "retrain",
            *["none"] * (COOLDOWN - 1),
            "alert",
            *["none"] * 3,
        ]
        assert actions(decisions)[: len(expected)] == expected
        assert "cooldown" in decisions[3].reasons[-1]
        assert "budget: 2 retrainings in 30 days" in decisions[expected.index("alert")].reasons[-1]

    def test_what_the_cooldown_told_does_not_keep_the_budget_from_being_told(self) -> None:
        """The owner was told that retraining goes on after the cooldown; then the budget is used up."""
        spec = spec_of(budget=1, cooldown="5d")
        decisions = watch(
            [*(drifted(day) for day in range(3)), *(drifted(day, version=2) for day in range(3, 14))], spec
        )
        alerts = [decision.reasons[-1].partition(":")[0] for decision in decisions if decision.action == "alert"]
        assert alerts == ["cooldown", "budget"]

    def test_within_the_cooldown_a_new_drift_is_told_once(self) -> None:
        decisions = watch([*(drifted(day) for day in range(3)), *(drifted(day, version=2) for day in range(3, 7))])
        assert actions(decisions) == ["none", "none", "retrain", "none", "none", "alert", "none"]

    def test_the_budget_is_free_again_after_its_period(self) -> None:
        spec = spec_of(budget=1, cooldown="1d")
        decisions = watch([drifted(day) for day in range(40)], spec)
        retrained = [position for position, decision in enumerate(decisions) if decision.action == "retrain"]
        assert retrained == [2, 32]


class TestLabels:
    @pytest.mark.parametrize(
        ("labels", "reason"),
        [
            (None, "no matured labels"),
            (rules.Labels(0, 0, 0), "no matured labels"),
            (rules.Labels(499, 200, 2), "499 of 500 rows to learn from"),
            (rules.Labels(500, 199, 2), "199 of 200 rows from after the change to evaluate on"),
        ],
    )
    def test_it_waits_until_there_is_enough_to_learn_from_and_to_evaluate_on(
        self, labels: rules.Labels | None, reason: str
    ) -> None:
        decision = watch([drifted(day) for day in range(3)], labels=labels)[-1]
        assert (decision.action, decision.triggers) == ("wait for labels", False)
        assert reason in decision.reasons[-1]

    def test_once_there_is_enough_it_retrains_from_the_first_drifted_window_on(self) -> None:
        waiting = watch([drifted(day) for day in range(6)], labels=rules.Labels(100, 0, 1))
        assert actions(waiting)[2:] == ["wait for labels"] * 4
        decision = decide(SPEC, drifted(6), waiting, rules.Labels(500, 200, 2), {})
        assert (decision.action, decision.changed_at) == ("retrain", FIRST)


class TestOldWindows:
    @given(HISTORIES, st.integers(1, 10))
    def test_a_window_older_than_the_newest_decision_triggers_nothing(
        self, windows: list[rules.Findings], later: int
    ) -> None:
        newest = watch([window(len(windows) + later)])
        for position, findings in enumerate(windows):
            earlier = watch(windows[:position])
            alone = decide(SPEC, findings, earlier, ENOUGH, {})
            late = decide(SPEC, findings, [*earlier, *newest], ENOUGH, {})
            assert not late.triggers
            assert (late.action, late.id) == (alone.action, alone.id), "it is recorded as it would have been decided"

    def test_it_says_why_it_triggers_nothing(self) -> None:
        history = [*watch([drifted(0), drifted(1)]), *watch([window(9)])]
        decision = decide(SPEC, drifted(2), history, ENOUGH, {})
        assert (decision.action, decision.triggers) == ("retrain", False)
        assert "a newer window was decided already" in decision.reasons[-1]

    def test_a_retraining_that_was_only_recorded_is_no_brake(self) -> None:
        decisions = watch([window(3), *(drifted(day) for day in (0, 1, 2, 4, 5, 6))])
        assert [decision.triggers for decision in decisions] == [False] * 6 + [True]

    @given(HISTORIES)
    def test_later_windows_decide_nothing_about_an_earlier_one(self, windows: list[rules.Findings]) -> None:
        decisions = watch(windows)
        for position, findings in enumerate(windows):
            others = decisions[:position] + decisions[position + 1 :]
            assert decide(SPEC, findings, others, ENOUGH, {}).id == decisions[position].id


class TestIdentity:
    @given(HISTORIES, st.randoms())
    def test_the_same_findings_and_history_make_the_same_decision(
        self, windows: list[rules.Findings], random: Any
    ) -> None:
        *before, last = windows
        history = watch(before)
        decision = decide(SPEC, last, history, ENOUGH, {})
        random.shuffle(history)
        assert decide(SPEC, last, history, ENOUGH, {}) == decision

    @given(HISTORIES)
    def test_no_two_windows_share_an_id(self, windows: list[rules.Findings]) -> None:
        decisions = watch(windows)
        assert len({decision.id for decision in decisions}) == len(decisions)

    def test_another_model_version_or_action_has_another_id(self) -> None:
        history = watch([drifted(0), drifted(1)])
        retrain = decide(SPEC, drifted(2), history, ENOUGH, {})
        waiting = decide(SPEC, drifted(2), history, None, {})
        other = decide(SPEC.model_copy(update={"model": "small"}), drifted(2), history, ENOUGH, {})
        newer = decide(SPEC, drifted(2, version=2), history, ENOUGH, {})
        assert len({decision.id for decision in (retrain, waiting, other, newer)}) == 4
