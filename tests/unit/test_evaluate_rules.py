"""The gates: what passes, what fails, and that everything unknown is no evidence."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.evaluate import rules
from evergreen.handovers.gate import Gate
from evergreen.handovers.train import Comparison, Since
from evergreen.spec.gates import BetterThanChampion, Gates
from evergreen.spec.measures import MEASURES, MetricName
from evergreen.spec.problem import Binary
from tests.handovers import recorded_comparison

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
METRICS: tuple[MetricName, ...] = ("roc_auc", "average_precision", "log_loss", "brier")
BOUNDS = Gates.model_validate(
    {
        "minimum_rows": 100,
        "minimum_positives": 20,
        "floor": {"roc_auc": 0.7, "log_loss": 0.4},
        "better_than_baseline": 0.1,
        "better_than_champion": {"by": "superiority", "margin": 0.01},
    }
)
GOOD = {"roc_auc": 0.85, "average_precision": 0.6, "log_loss": 0.3, "brier": 0.1}


def compared(gain: float = 0.05, half: float = 0.02, tells: float = 0.008, rows: int = 1000) -> Comparison:
    return Comparison(gain=gain, low=gain - half, high=gain + half, tells=tells, rows=rows, groups=300)


CHAMPION = rules.Champion(AS_OF - timedelta(days=7), GOOD | {"roc_auc": 0.8}, comparison=compared(), over_baseline=0.3)
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


def against_champion(
    stated: Any, gain: float, half: float, tells: float, over_baseline: float | None = 0.3, **changes: Any
) -> Gate:
    """The gate against a champion, of a candidate with this gain and half of its interval."""
    bounds = Gates.model_validate(BOUNDS.model_dump() | {"better_than_champion": stated})
    champion = replace(
        CHAMPION,
        scores=GOOD | {"roc_auc": 0.85 - gain},
        comparison=compared(gain, half, tells),
        over_baseline=over_baseline,
    )
    gates = rules.gates(changed(champion=champion, **changes), bounds)
    return next(gate for gate in gates if gate.name == rules.CHAMPION_GATE)


SUPERIOR = {"by": "superiority", "margin": 0.01}
NOT_WORSE = {"by": "non_inferiority", "margin": 0.01}


@pytest.mark.parametrize(
    ("stated", "gain", "half", "tells", "expected", "told"),
    [
        (SUPERIOR, 0.02, 0.01, 0.015, "pass", "surely better"),
        (SUPERIOR, 0.005, 0.004, 0.006, "fail", "better, but by less than 0.01"),
        (SUPERIOR, 0.0, 0.0, 0.0, "fail", "not surely better"),
        (SUPERIOR, 0.004, 0.005, 0.0075, "fail", "not surely better"),
        (SUPERIOR, 0.0, 0.02, 0.03, "no evidence", "about 9,000 rows would do, there are 1,000"),
        (SUPERIOR, -0.05, 0.02, 0.03, "fail", "not surely better"),
        ({"by": "superiority", "margin": 0.0}, 0.0, 0.02, 0.03, "fail", "not surely better"),
        (0.01, 0.0, 0.02, 0.03, "no evidence", "about 9,000 rows"),
        (NOT_WORSE, 0.0, 0.0, 0.0, "pass", "surely not worse by 0.01"),
        (NOT_WORSE, 0.0, 0.009, 0.015, "pass", "surely not worse"),
        (NOT_WORSE, -0.005, 0.006, 0.009, "fail", "perhaps worse by 0.01"),
        (NOT_WORSE, -0.005, 0.02, 0.03, "no evidence", "about 9,000 rows would do"),
        (NOT_WORSE, -0.03, 0.02, 0.03, "fail", "worse"),
        (NOT_WORSE, -0.03, 0.04, 0.06, "no evidence", "cannot tell a loss of 0.01 from none"),
    ],
)
def test_a_candidate_is_compared_by_its_interval(
    stated: Any, gain: float, half: float, tells: float, expected: str, told: str
) -> None:
    gate = against_champion(stated, gain, half, tells)
    assert (gate.verdict, gate.observed) == (expected, pytest.approx(gain))
    assert told in gate.reason, gate.reason
    assert (gate.low, gate.high) == pytest.approx((gain - half, gain + half))
    assert gate.rows == 1000


GAINS = st.floats(-0.2, 0.2)


@given(
    gain=GAINS,
    half=st.floats(0, 0.2),
    tells=st.floats(0, 0.3),
    margin=st.floats(0, 0.1),
    by=st.sampled_from(["superiority", "non_inferiority"]),
)
def test_what_is_promoted_is_surely_better_or_surely_not_worse(
    gain: float, half: float, tells: float, margin: float, by: str
) -> None:
    gate = against_champion({"by": by, "margin": margin}, gain, half, tells)
    low, high = gain - half, gain + half
    assert (gate.verdict == "pass") == (
        (low > 0 and gate.observed is not None and gate.observed >= margin) if by == "superiority" else low > -margin
    )
    if gate.verdict == "no evidence":
        assert gate.enough is not None and gate.enough > 1000, "more rows would do"
        assert high >= (margin if by == "superiority" else 0), "what is worse is told as that"
    if margin == 0:
        assert gate.verdict != "no evidence", "no rows can be too few to tell nothing"


def test_what_a_spec_does_not_say_follows_from_what_the_champion_is_worth_and_why_it_is_trained() -> None:
    scheduled = against_champion({}, -0.01, 0.015, 0.02)
    assert (scheduled.verdict, scheduled.bound) == ("pass", pytest.approx(-0.03)), "a tenth of 0.3 may be lost"
    assert "a tenth of what the champion gains over the baseline" in against_champion({}, 0.0, 0.05, 0.07).reason
    after = against_champion({}, -0.01, 0.015, 0.02, after_change=True)
    assert (after.verdict, after.bound) == ("fail", pytest.approx(0.03)), "of another world it must be better"
    worthless = against_champion({}, 0.0, 0.01, 0.02, over_baseline=-0.1)
    assert (worthless.verdict, worthless.bound) == ("fail", 0.0), "where the champion is worth nothing, nothing is lost"
    assert against_champion({"by": "non_inferiority"}, -0.01, 0.015, 0.02, after_change=True).verdict == "pass"
    unknown = against_champion({}, 0.0, 0.01, 0.02, over_baseline=None)
    assert unknown.verdict == "no evidence" and "no margin is stated" in unknown.reason


@pytest.mark.parametrize("interval", [{"low": None}, {"high": None}, {"tells": None}, {"low": math.nan}])
def test_a_gain_without_an_interval_is_no_evidence(interval: dict[str, float | None]) -> None:
    for comparison in (compared().model_copy(update=interval), None):
        gate = of_champion(comparison=comparison)
        assert gate.verdict == "no evidence" and "no interval can be had" in gate.reason


def test_a_number_alone_is_a_margin_by_superiority_and_stays_a_number() -> None:
    for stated in (0, 0.0, 0.005):
        read = Gates.model_validate_json(json.dumps(STATED | {"better_than_champion": stated}))
        assert read.better_than_champion == BetterThanChampion(by="superiority", margin=stated)
        again = read.model_dump(mode="json")
        assert again["better_than_champion"] == stated
        assert Gates.model_validate_json(json.dumps(again)) == read
    unsaid = Gates.model_validate_json(json.dumps(STATED))
    assert "better_than_champion" not in unsaid.model_dump(mode="json"), "what is not said is not stored"
    stated_whole = {"by": None, "margin": 0.02, "confidence": 0.9}
    whole = Gates.model_validate_json(json.dumps(STATED | {"better_than_champion": stated_whole}))
    assert whole.model_dump(mode="json")["better_than_champion"] == stated_whole
    for wrong in (-0.1, True, "0.1", {"by": "luck"}, {"margin": -1.0}, {"confidence": 0.5}):
        with pytest.raises(ValueError, match="better_than_champion"):
            Gates.model_validate_json(json.dumps(STATED | {"better_than_champion": wrong}))


STATED = {"minimum_rows": 100, "floor": {"roc_auc": 0.7}}


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
MEASURED = st.none() | st.floats(allow_nan=False, allow_infinity=False)
COMPARISONS = st.builds(
    Comparison,
    gain=MEASURED,
    low=MEASURED,
    high=MEASURED,
    tells=MEASURED,
    rows=st.integers(0, 200),
    groups=st.integers(0, 200),
)
SCORES = st.dictionaries(st.sampled_from(METRICS), SCORE)


@given(
    metric=st.sampled_from(METRICS),
    candidate=SCORES,
    baseline=SCORES,
    champion=st.none() | SCORES,
    comparison=st.none() | COMPARISONS,
    rows=st.integers(0, 200),
    positives=st.integers(0, 200),
)
def test_a_pass_rests_on_known_numbers_only(
    metric: MetricName,
    candidate: rules.Scores,
    baseline: rules.Scores,
    champion: rules.Scores | None,
    comparison: Comparison | None,
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
        rules.Champion(AS_OF, champion, comparison=comparison, over_baseline=0.3),
    )
    if verdict(evidence) == "pass":
        assert rows >= 100 and 20 <= positives <= rows - 20
        assert champion is not None and comparison is not None
        looked_at = [
            *(candidate.get(name) for name in {metric, *BOUNDS.floor}),
            baseline.get(metric),
            champion.get(metric),
            comparison.low,
            comparison.high,
            comparison.tells,
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
    assert of_champion(since=since(candidate=worse), scores=GOOD, comparison=compared(-0.35)).verdict == "fail"
    assert of_champion(since=since(candidate=worse), scores=GOOD).observed == pytest.approx(-0.35)


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


def test_a_gate_that_an_earlier_release_recorded_is_read() -> None:
    read = recorded_comparison(AS_OF)
    assert (read.low, read.high, read.rows, read.enough) == (None, None, None, None)
