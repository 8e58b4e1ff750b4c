"""Champion and challenger: the verdict says what was seen, no more, and errs as rarely as it says."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.rollout import bounds
from evergreen.rollout.sequential import MEASURES, Measure, Verdict, decide, judge
from evergreen.rollout.tallies import CELLS, Sums, Tally

WRONG = Measure("outcomes", 0.01, decides=True)
FAILED = Measure("errors", 0.005, "event")
MOVED = Measure("answers", 0.1, "shift")
Floats = npt.NDArray[np.float64]


def drawn(share: float, requests: int, means: tuple[float, float], seed: int = 0) -> Tally:
    """Requests of as many entities, wrong as often as each arm is."""
    random = np.random.default_rng(seed)
    arms = (random.random(requests) < share).astype(int)
    cells = random.integers(CELLS, size=requests)
    scores = random.random(requests) < np.asarray(means)[arms]
    return Tally({share: Sums.of(arms.tolist(), cells.tolist(), scores.astype(float).tolist())})


def of_counts(share: float, rows: tuple[int, int], failed: tuple[int, int]) -> Tally:
    """Requests and the first failures of entities, by arm."""
    arms = [0] * rows[0] + [1] * rows[1]
    scores = [1.0] * failed[0] + [0.0] * (rows[0] - failed[0]) + [1.0] * failed[1] + [0.0] * (rows[1] - failed[1])
    return Tally({share: Sums.of(arms, [number % CELLS for number in range(len(arms))], scores)})


@pytest.mark.parametrize(
    ("challenger", "expected"),
    [(0.30, "worse"), (0.10, "better"), (0.20, "not worse")],
    ids=("worse", "better", "equal"),
)
def test_many_requests_tell_what_is_true(challenger: float, expected: Verdict) -> None:
    found = judge({"outcomes": drawn(0.5, 120_000, (0.2, challenger))}, (WRONG,))
    assert found.verdict == expected
    only = found.compared[0]
    assert only.low is not None and only.high is not None
    assert only.low < challenger - 0.2 < only.high


def test_few_requests_tell_nothing() -> None:
    for requests in (0, 1, 10, 100):
        assert judge({"outcomes": drawn(0.5, requests, (0.2, 0.2))}, (WRONG,)).verdict == "undecided"


def test_a_measure_without_rows_keeps_a_rollout_open() -> None:
    good = drawn(0.5, 120_000, (0.2, 0.1))
    assert judge({"outcomes": good}, (WRONG, FAILED)).verdict == "undecided"
    assert judge({}, ()).verdict == "undecided"


def test_what_is_worse_in_one_thing_is_worse() -> None:
    tallies = {"outcomes": drawn(0.5, 120_000, (0.2, 0.1)), "errors": of_counts(0.5, (1000, 1000), (0, 300))}
    found = judge(tallies, (WRONG, FAILED))
    assert found.verdict == "worse"
    assert "errors: worse" in found.sentence and "outcomes" not in found.sentence


def test_better_is_what_decides_and_nothing_else() -> None:
    equal = drawn(0.5, 120_000, (0.2, 0.2))
    other = Measure("slow answers", 0.01)
    tallies = {"outcomes": equal, "slow answers": drawn(0.5, 120_000, (0.2, 0.1))}
    assert [each.verdict for each in judge(tallies, (WRONG, other)).compared] == ["not worse", "better"]
    assert judge(tallies, (WRONG, other)).verdict == "not worse"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.02, -0.001, "better"),
        (-0.02, 0.009, "not worse"),
        (0.001, 0.009, "not worse"),  # surely worse, and surely by less than what matters
        (-0.001, 0.01, "undecided"),
        (0.001, 0.02, "worse"),
        (-math.inf, math.inf, "undecided"),
    ],
)
def test_an_interval_decides(low: float, high: float, expected: Verdict) -> None:
    assert decide(WRONG, low, high, (-math.inf, math.inf)) == expected


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        ((-0.09, 0.09), (-0.12, 0.12), "not worse"),
        ((-0.09, 0.1), (-0.12, 0.12), "undecided"),
        ((0.11, 0.2), (0.09, 0.22), "undecided"),
        ((0.12, 0.2), (0.11, 0.22), "worse"),
        ((-0.3, -0.2), (-0.35, -0.15), "worse"),
    ],
)
def test_a_shift_is_bad_in_either_direction(
    inner: tuple[float, float], outer: tuple[float, float], expected: Verdict
) -> None:
    assert decide(MOVED, *inner, outer) == expected


@given(st.integers(1, 60), st.sampled_from((0.05, 0.25, 0.5)), st.sampled_from((WRONG, FAILED, MOVED)))
@settings(max_examples=30, deadline=None)
def test_no_rows_whatever_are_an_error(requests: int, share: float, measure: Measure) -> None:
    for scores in ((0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)):
        found = judge({measure.name: drawn(share, requests, scores)}, (measure,))
        wrong = {"worse", "better"} if len(set(scores)) == 1 else {"better"} if scores[0] < scores[1] else {"worse"}
        assert found.verdict not in wrong or measure is MOVED, found.sentence


def test_a_bad_day_is_no_reproach_to_the_arm_that_had_more_requests() -> None:
    """The challenger has half of the requests on the day on which both arms err four times as often."""
    quiet, bad = drawn(0.05, 40_000, (0.1, 0.1)), drawn(0.5, 40_000, (0.4, 0.4), seed=1)
    found = judge({"outcomes": Tally({**quiet.by_share, **bad.by_share})}, (WRONG,)).compared[0]
    assert found.verdict != "worse" and found.difference == pytest.approx(0, abs=0.01)
    few, many = of_counts(0.05, (9500, 500), (19, 1)), of_counts(0.5, (5000, 5000), (400, 400))
    failing = Tally({**few.by_share, **many.by_share})
    assert judge({"errors": failing}, (FAILED,)).verdict == "undecided"


def test_no_loss_among_few_requests_is_no_proof() -> None:
    """Cells that agree by chance have no variance; the champion knows how much a challenger may vary."""
    rows = np.zeros((1, 2, CELLS))
    rows[0, 0], rows[0, 1] = 100, 4
    totals = np.zeros_like(rows)
    totals[0, 0, ::3] = 1  # the champion is wrong in 3 of 1,000, the challenger in none of 256
    found = bounds.means(rows, totals, margin=0.005, alphas=(0.05, 0.05))
    assert found.seen < 0 < 0.005 < found.high
    totals[0, 0] = 0  # and nobody was ever wrong
    assert bounds.means(rows, totals, margin=0.005, alphas=(0.05, 0.05)).high > 0.005


def test_requests_of_one_entity_say_little_however_many() -> None:
    """All rows of the challenger are of three entities."""
    rows = np.zeros((1, 2, CELLS))
    rows[0, 0], rows[0, 1, :3] = 1000, 10_000
    totals = 0.2 * rows
    totals[0, 1, :3] = 5000
    found = bounds.means(rows, totals, margin=0.01, alphas=(0.05, 0.05))
    assert np.isneginf(found.low) and np.isposinf(found.high)


def test_a_challenger_that_always_fails_is_caught_after_a_few_requests() -> None:
    seen = [judge({"errors": of_counts(0.05, (19 * n, n), (0, n))}).verdict for n in range(1, 9)]
    assert "worse" in seen and seen.index("worse") <= 4, seen
    assert seen[seen.index("worse") :] == ["worse"] * (8 - seen.index("worse"))


def test_a_failure_of_both_arms_is_nobodys() -> None:
    assert judge({"errors": of_counts(0.05, (19_000, 1_000), (1900, 100))}, (FAILED,)).verdict == "undecided"


def test_no_failures_in_many_requests_are_not_worse() -> None:
    assert judge({"errors": of_counts(0.5, (1000, 1000), (0, 0))}, (FAILED,)).verdict == "undecided"
    found = judge({"errors": of_counts(0.5, (3000, 3000), (0, 0))}, (FAILED,)).compared[0]
    assert found.verdict == "not worse" and found.high == pytest.approx(0.002, abs=0.001)


def test_the_bounds_of_rare_events_solve_their_equation() -> None:
    seen, alpha = np.array([0.0, 1.0, 7.0, 400.0]), 0.01
    low, high = bounds._of_events(seen, np.array(alpha))
    for number, events in enumerate(seen):
        for end in (low[number], high[number]):
            won = end + math.lgamma(1 + events) - (1 + events) * math.log1p(end)
            assert won == pytest.approx(math.log(1 / alpha), abs=1e-5) or end == 0
        assert low[number] <= events < high[number]


def test_students_t_is_met_without_a_table() -> None:
    from scipy.stats import norm, t

    for degrees in (8.0, 20.0, 63.0):
        for alpha in (0.05, 0.01):
            normal = bounds.deviations(np.array(1.0), 1.0, alpha, np.array(1e9))
            student = bounds.deviations(np.array(1.0), 1.0, alpha, np.array(degrees))
            assert student == pytest.approx(t.isf(norm.sf(normal), degrees), rel=0.02)


def looks(random: np.random.Generator, rollouts: int, share: float, wrong: tuple[float, float], count: int) -> Floats:
    """Cells of entities that come back again and again: rows and totals, shape (2, rollouts, looks, 1, arms, cells)."""
    shape = (rollouts, CELLS, 8)  # entities of a cell, in both arms together
    mine = random.random(shape) < share
    asks = np.stack([~mine, mine], 1)[:, None] * random.poisson(1.0, (rollouts, count, 2, *shape[1:]))
    level = np.stack([random.beta(9 * each, 9 * (1 - each), shape) for each in wrong], 1)
    bad = random.binomial(asks, level[:, None])
    both = np.stack([asks.sum(-1), bad.sum(-1)]).cumsum(2)
    return both[:, :, :, None].astype(float)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_equal_arms_are_taken_for_worse_as_rarely_as_stated(share: float) -> None:
    """Of 300 rollouts at 5 %, 15 are to be expected at most, and more than 26 one time in 500."""
    rows, totals = looks(np.random.default_rng(5), 300, share, (0.2, 0.2), 20)
    found = bounds.means(rows, totals, margin=0.02, alphas=(0.05, 0.05))
    assert (found.low > 0).any(-1).sum() <= 26
    assert (found.high < 0).any(-1).sum() <= 26


def test_what_is_worse_by_the_margin_is_promoted_as_rarely_as_stated() -> None:
    rows, totals = looks(np.random.default_rng(6), 300, 0.5, (0.2, 0.22), 20)
    found = bounds.means(rows, totals, margin=0.02, alphas=(0.05, 0.05))
    assert (found.high < 0.02).any(-1).sum() <= 26


def test_equal_failures_are_taken_for_worse_as_rarely_as_stated() -> None:
    """Exact: each failure is a draw; 600 rollouts of 400 failures, looked at after each."""
    random = np.random.default_rng(7)
    for share in (0.05, 0.5):
        mine = random.random((600, 400)) < share
        failed = np.stack([(~mine).cumsum(-1), mine.cumsum(-1)], -1)[:, :, None].astype(float)
        rows = failed * 0 + 1000
        found = bounds.events(rows, failed, np.array([share]), alphas=(0.05, 0.05))
        assert (found.low > 0).any(-1).sum() <= 46


def test_sentences_are_plain() -> None:
    told = judge({"outcomes": drawn(0.5, 120_000, (0.2, 0.3))}).compared[-1].sentence
    assert told.startswith("outcomes: worse, +")
    assert "points (at least +" in told and "margin 1.00) on " in told and "requests of the champion" in told
    nothing = "outcomes: nothing to compare yet, on 0 requests of the champion and 0 of the challenger"
    assert judge({}, (WRONG,)).sentence == f"the challenger is not judged yet: {nothing}"


def test_the_defaults_name_what_they_decide_by() -> None:
    assert [each.name for each in MEASURES if each.decides] == ["outcomes"]
    assert len({each.name for each in MEASURES}) == len(MEASURES)


@pytest.mark.parametrize("margin", [0.0, 1.0, -1.0, float("nan")])
def test_a_margin_is_a_part_of_a_score(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        Measure("outcomes", margin)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, float("nan")])
def test_a_rate_is_stated(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        judge({}, alpha=alpha)


def answered_by_both(random: np.random.Generator, rollouts: int, wrong: float, more: float, count: int) -> Floats:
    """Rows and differences of entities that come back again and again, shape (2, rollouts, looks, cells): the champion
    is wrong in `wrong` of them; the challenger in some of those it is not, and in so many more."""
    shape = (rollouts, count, CELLS, 8)  # entities of a cell
    asks = random.poisson(1.0, shape)
    level = random.beta(2, 2 * (1 - wrong) / wrong, (rollouts, 1, CELLS, 8))  # an entity is lucky or not, with both
    lost, won = (random.binomial(asks, np.clip(level * part / wrong, 0, 1)) for part in (wrong / 4 + more, wrong / 4))
    both = np.stack([asks.sum(-1), (lost - won).sum(-1)]).cumsum(2)
    return both.astype(float)


@pytest.mark.parametrize("wrong", [0.2, 0.02])
def test_equal_answers_to_the_same_requests_are_taken_for_worse_as_rarely_as_stated(wrong: float) -> None:
    """Of 300 rollouts at 5 %, 15 are to be expected at most, and more than 26 one time in 500."""
    rows, differences = answered_by_both(np.random.default_rng(11), 300, wrong, 0.0, 20)
    found = bounds.paired(rows, differences, margin=0.01, alphas=(0.05, 0.05))
    assert (found.low > 0).any(-1).sum() <= 26
    assert (found.high < 0).any(-1).sum() <= 26
    assert (found.high < 0.01).any(-1).mean() > 0.5, "and what is equal is told to be so"


@pytest.mark.parametrize("wrong", [0.2, 0.02])
def test_what_is_worse_by_the_margin_in_the_same_requests_is_promoted_as_rarely_as_stated(wrong: float) -> None:
    rows, differences = answered_by_both(np.random.default_rng(12), 300, wrong, 0.01, 20)
    found = bounds.paired(rows, differences, margin=0.01, alphas=(0.05, 0.05))
    assert (found.high < 0.01).any(-1).sum() <= 26


def test_a_rare_loss_that_has_not_come_yet_is_no_proof() -> None:
    """A challenger that is wrong in 1 of 100 answers, and else answers as the champion does, to the digit."""
    random, rows = np.random.default_rng(13), np.full((2000, 40, CELLS), 1.0).cumsum(1)
    lost = (random.random((2000, 40, CELLS)) < 0.01).astype(float).cumsum(1)
    found = bounds.paired(rows, lost, margin=0.01, alphas=(0.05, 0.05))
    assert (found.high < 0.01).any(-1).mean() <= 0.05
    assert bounds.paired(rows[0, 0], lost[0, 0] * 0, margin=0.01, alphas=(0.05, 0.05)).high > 0.01
    same = bounds.paired(rows[0], lost[0] * 0, margin=0.01, alphas=(0.05, 0.05))
    assert same.high[-1] < 0.01 and same.seen[-1] == 0, "versions that answer alike are told so"


def pairs(requests: int, champion: float, challenger: float, seed: int = 3) -> Tally:
    """Requests that both versions answered; where the better one is wrong, the other one is too."""
    random = np.random.default_rng(seed)
    chance, cells = random.random(requests), random.integers(CELLS, size=requests).tolist()
    arms = [0] * requests + [1] * requests
    scores = [*(chance < champion).astype(float).tolist(), *(chance < challenger).astype(float).tolist()]
    return Tally(pairs=Sums.of(arms, cells * 2, scores))


@pytest.mark.parametrize(("challenger", "expected"), [(0.22, "worse"), (0.18, "better"), (0.2, "not worse")])
def test_the_same_requests_tell_sooner(challenger: float, expected: Verdict) -> None:
    tally = pairs(3000, 0.2, challenger)
    assert judge({"outcomes": tally}, (WRONG,), ways=("paired",)).verdict == expected
    assert judge({"outcomes": tally}, (WRONG,), ways=("paired", "dealt")).verdict == expected
    apart = drawn(0.5, 3000, (0.2, challenger))
    assert judge({"outcomes": apart}, (WRONG,)).verdict == "undecided"


def test_what_is_worse_in_one_way_is_worse() -> None:
    """As a shadow it answered as the champion did; with clients it does not."""
    both = Tally(drawn(0.5, 120_000, (0.2, 0.3)).by_share, pairs(5000, 0.2, 0.2).pairs)
    told = judge({"outcomes": both}, (WRONG,), ways=("paired", "dealt")).compared[0]
    assert (told.verdict, sum(told.rows)) == ("worse", 120_000)


def test_failures_of_a_shadow_alone_are_caught_and_those_of_both_are_nobodys() -> None:
    alone = judge({"errors": pairs(40, 0.0, 1.0)}, (FAILED,), ways=("paired",))
    assert alone.verdict == "worse"
    assert judge({"errors": pairs(2000, 0.1, 0.1)}, (FAILED,), ways=("paired",)).verdict == "undecided"


def test_answers_that_lie_elsewhere_are_no_fault_where_outcomes_are_as_good() -> None:
    moved = pairs(3000, 0.2, 0.6)
    alone = judge({"answers": moved}, (MOVED, WRONG), ways=("paired",))
    assert alone.verdict == "worse"
    waits = judge({"answers": moved}, (MOVED, WRONG), ways=("paired",), shadow=True)
    assert (waits.verdict, waits.compared[0].moved) == ("undecided", True), "nobody is given them"
    for shadow in (False, True):
        good = judge(
            {"answers": moved, "outcomes": pairs(3000, 0.2, 0.2)}, (MOVED, WRONG), ways=("paired",), shadow=shadow
        )
        assert good.verdict == "not worse"
        bad = judge(
            {"answers": moved, "outcomes": pairs(3000, 0.2, 0.3)}, (MOVED, WRONG), ways=("paired",), shadow=shadow
        )
        assert bad.verdict == "worse"
