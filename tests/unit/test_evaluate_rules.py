"""The gates: what passes, what fails, and that everything unknown is no evidence."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.evaluate import rules
from evergreen.handovers.train import Gate, Since
from evergreen.spec.measures import MEASURES, MetricName
from evergreen.spec.problem import Binary
from evergreen.spec.schema import Gates

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
METRICS: tuple[MetricName, ...] = ("roc_auc", "average_precision", "log_loss", "brier")
BOUNDS = Gates.model_validate(
    {
        "minimum_rows": 100,
        "minimum_positives": 20,
        "floor": {"roc_auc": 0.7, "log_loss": 0.4},
        "better_than_baseline": 0.1,
        "better_than_champion": 0.01,
    }
)
GOOD = {"roc_auc": 0.85, "average_precision": 0.6, "log_loss": 0.3, "brier": 0.1}
CHAMPION = rules.Champion(AS_OF - timedelta(days=7), GOOD | {"roc_auc": 0.8})
EVIDENCE = rules.Evidence(
    problem=Binary(),
    metric="roc_auc",
    as_of=AS_OF,
    rows=1000,
    rows_of_class={"1": 200, "0": 800},
    candidate=GOOD,
    baseline={"roc_auc": 0.5, "average_precision": 0.2, "log_loss": 0.5, "brier": 0.16},
    champion=CHAMPION,
)
UNKNOWN = (None, math.nan, math.inf, -math.inf)


def verdict(evidence: rules.Evidence, bounds: Gates = BOUNDS) -> rules.Verdict:
    return rules.verdict(rules.gates(evidence, bounds))


def verdicts(evidence: rules.Evidence, bounds: Gates = BOUNDS) -> dict[str, rules.Verdict]:
    return {gate.name: gate.verdict for gate in rules.gates(evidence, bounds)}


def changed(**changes: Any) -> rules.Evidence:
    return replace(EVIDENCE, **changes)


def test_a_candidate_that_meets_every_bound_passes() -> None:
    assert verdict(EVIDENCE) == "pass", rules.reason(rules.gates(EVIDENCE, BOUNDS))
    assert set(verdicts(EVIDENCE)) == {
        "evaluation rows",
        "rows of the rarer class",
        "roc_auc at least",
        "log_loss at most",
        "better than the baseline",
        "better than the champion",
        "not older than the champion",
    }


@pytest.mark.parametrize("value", UNKNOWN)
@pytest.mark.parametrize("metric", ["roc_auc", "log_loss"])
def test_a_metric_of_the_candidate_that_is_not_known_is_no_evidence(metric: str, value: float | None) -> None:
    assert verdict(changed(candidate=GOOD | {metric: value})) == "no evidence"
    assert verdict(changed(candidate={name: score for name, score in GOOD.items() if name != metric})) == "no evidence"


@pytest.mark.parametrize("value", UNKNOWN)
@pytest.mark.parametrize("side", ["baseline", "champion"])
def test_a_comparison_whose_other_side_is_not_known_is_no_evidence(side: str, value: float | None) -> None:
    scores = {**GOOD, "roc_auc": value}
    assert (
        verdict(changed(**{side: scores if side == "baseline" else replace(CHAMPION, scores=scores)})) == "no evidence"
    )
    without = {"log_loss": 0.3}
    assert (
        verdict(changed(**{side: without if side == "baseline" else replace(CHAMPION, scores=without)}))
        == "no evidence"
    )


def test_a_champion_that_could_not_be_scored_is_no_evidence_and_says_why() -> None:
    gates = rules.gates(changed(champion=rules.Champion(AS_OF, None, "version 3: gone")), BOUNDS)
    assert rules.verdict(gates) == "no evidence"
    assert "version 3: gone" in rules.reason(gates)


def test_a_champion_that_does_not_say_what_it_knew_is_no_evidence() -> None:
    assert verdict(changed(champion=replace(CHAMPION, as_of=None))) == "no evidence"


@pytest.mark.parametrize(
    ("rows", "positives", "gate"),
    [
        (99, 50, "evaluation rows"),
        (1000, 19, "rows of the rarer class"),
        (1000, 981, "rows of the rarer class"),
        (0, 0, "evaluation rows"),
    ],
)
def test_too_few_rows_are_no_evidence(rows: int, positives: int, gate: str) -> None:
    evidence = changed(rows=rows, rows_of_class={"1": positives, "0": rows - positives})
    assert (verdict(evidence), verdicts(evidence)[gate]) == ("no evidence", "no evidence")


@pytest.mark.parametrize(
    ("candidate", "gate"),
    [
        ({"roc_auc": 0.69}, "roc_auc at least"),
        ({"log_loss": 0.41}, "log_loss at most"),
        ({"roc_auc": 0.805}, "better than the champion"),
    ],
)
def test_a_candidate_that_is_not_good_enough_fails_with_the_reason(candidate: dict[str, float], gate: str) -> None:
    evidence = changed(candidate=GOOD | candidate)
    assert (verdict(evidence), verdicts(evidence)[gate]) == ("fail", "fail")
    assert gate in rules.reason(rules.gates(evidence, BOUNDS))


@pytest.mark.parametrize("metric", METRICS)
def test_a_gain_is_a_loss_that_falls_or_a_score_that_rises(metric: MetricName) -> None:
    better, worse = (0.3, 0.6) if MEASURES[metric].lower_is_better else (0.6, 0.3)
    for ours, theirs, expected in ((better, worse, "pass"), (worse, better, "fail")):
        evidence = changed(
            metric=metric, candidate=GOOD | {metric: ours}, baseline=GOOD | {metric: theirs}, champion=None
        )
        assert verdicts(evidence)["better than the baseline"] == expected


def test_as_good_as_the_champion_is_not_better_even_when_no_gain_is_asked_for() -> None:
    bounds = BOUNDS.model_copy(update={"better_than_champion": 0.0})
    assert verdicts(changed(champion=replace(CHAMPION, scores=GOOD)), bounds)["better than the champion"] == "fail"


def test_the_first_candidate_has_no_champion_to_beat_and_the_gate_says_so() -> None:
    gates = rules.gates(changed(champion=None), BOUNDS)
    assert rules.verdict(gates) == "pass"
    assert {"there is no champion yet"} == {gate.reason for gate in gates if "champion" in gate.name}


def test_a_candidate_older_than_the_champion_is_refused_however_good_it_is() -> None:
    newer = replace(CHAMPION, as_of=AS_OF + timedelta(days=1))
    assert verdicts(changed(champion=newer))["not older than the champion"] == "fail"
    assert verdict(changed(champion=newer)) == "fail"
    assert verdict(changed(champion=replace(CHAMPION, as_of=AS_OF))) == "pass", "as old is not older"


def test_a_rerun_of_the_champions_own_training_fails_as_nothing_new() -> None:
    gates = rules.gates(changed(champion=replace(CHAMPION, scores=GOOD, is_candidate=True)), BOUNDS)
    assert rules.verdict(gates) == "fail"
    assert "the candidate is the champion already" in rules.reason(gates)


VERDICTS = st.lists(st.sampled_from(["pass", "fail", "no evidence"]))


@given(VERDICTS)
def test_missing_evidence_outweighs_a_failure_and_a_failure_a_pass(verdicts: list[rules.Verdict]) -> None:
    gates = [rules.Gate(str(number), None, None, each, "because") for number, each in enumerate(verdicts)]
    expected = "no evidence" if not verdicts or "no evidence" in verdicts else "fail" if "fail" in verdicts else "pass"
    assert rules.verdict(gates) == expected


SCORE = st.none() | st.floats(allow_nan=True, allow_infinity=True)
SCORES = st.dictionaries(st.sampled_from(METRICS), SCORE)


@given(
    metric=st.sampled_from(METRICS),
    candidate=SCORES,
    baseline=SCORES,
    champion=st.none() | SCORES,
    rows=st.integers(0, 200),
    positives=st.integers(0, 200),
)
def test_a_pass_rests_on_known_numbers_only(
    metric: MetricName,
    candidate: rules.Scores,
    baseline: rules.Scores,
    champion: rules.Scores | None,
    rows: int,
    positives: int,
) -> None:
    evidence = rules.Evidence(
        Binary(),
        metric,
        AS_OF,
        rows,
        {"1": positives, "0": rows - positives},
        candidate,
        baseline,
        rules.Champion(AS_OF, champion),
    )
    if verdict(evidence) == "pass":
        assert rows >= 100 and 20 <= positives <= rows - 20
        assert champion is not None
        looked_at = [
            *(candidate.get(name) for name in {metric, *BOUNDS.floor}),
            baseline.get(metric),
            champion.get(metric),
        ]
        assert all(value is not None and math.isfinite(value) for value in looked_at)


def test_the_table_of_a_log_is_aligned_and_holds_every_gate() -> None:
    gates = rules.gates(EVIDENCE, BOUNDS)
    head, *lines = rules.table(gates)
    assert len(lines) == len(gates)
    column = head.index("reason")
    for line, gate in zip(lines, gates, strict=True):
        assert line.startswith(gate.name) and line[column:] == gate.reason


AFTER = datetime(2026, 1, 20, tzinfo=UTC)


def since(rows: int = 400, positives: int = 40, candidate: dict[str, float] | None = None) -> Since:
    """What comes after all that a refitted champion has learned from."""
    counts = {"1": positives, "0": rows - positives}
    return Since(after=AFTER, rows=rows, rows_of_class=counts, candidate=GOOD if candidate is None else candidate)


def of_champion(**changes: Any) -> Gate:
    """The gate against a refitted champion."""
    gates = rules.gates(changed(champion=replace(CHAMPION, **changes)), BOUNDS)
    return next(gate for gate in gates if gate.name == "better than the champion")


def test_a_refitted_champion_is_compared_on_the_rows_from_after_its_last_one() -> None:
    worse = {**GOOD, "roc_auc": 0.5}
    assert of_champion(since=since(), scores=worse).verdict == "pass"
    # by the candidate's scores on the same rows, not on all of them
    assert of_champion(since=since(candidate=worse), scores=GOOD).verdict == "fail"


@pytest.mark.parametrize(
    ("rows", "positives", "told"),
    [(0, 0, "only 0 of at least 100 rows"), (99, 40, "only 99 of at least 100 rows"), (400, 19, "19 of at least 20")],
)
def test_too_few_rows_from_after_a_refitted_champions_last_are_no_evidence(
    rows: int, positives: int, told: str
) -> None:
    scores = {**GOOD, "roc_auc": 0.5} if rows else None
    gate = of_champion(since=since(rows, positives), scores=scores)
    assert gate.verdict == "no evidence" and told in gate.reason and "2026-01-20" in gate.reason


def test_a_backfill_behind_a_refitted_champion_is_a_good_run_that_promotes_nothing() -> None:
    gate = of_champion(since=since(0, 0), scores=None, as_of=AS_OF + timedelta(days=30))
    assert gate.verdict == "fail" and "the champion is newer" in gate.reason
    again = of_champion(since=since(0, 0), scores=None, is_candidate=True)
    assert again.verdict == "fail" and again.reason == "the candidate is the champion already"


def test_a_refitted_champion_that_could_not_be_scored_is_no_evidence() -> None:
    gate = of_champion(since=since(), scores=None, problem="version 3: gone")
    assert gate.verdict == "no evidence" and "version 3: gone" in gate.reason
