"""The evidence for a retraining: as its formulas say, and the same for losses of any scale."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.monitor.paired import Evidence, Rule, Window, deviation, weigh

losses = st.floats(0.01, 5.0)
drawn = st.builds(
    Window,
    version=st.just(1),
    rows=st.floats(0.1, 3.0),
    champion=losses,
    understudy=losses,
    earlier=st.none() | losses,
    apart=st.integers(0, 60),
)
rules = st.builds(
    Rule,
    window=st.integers(1, 40),
    refit=st.integers(1, 5),
    delay=st.integers(0, 10),
    cost=st.none() | st.floats(0.0, 2.0),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Window]:
    """Windows of one champion after the other."""
    versions = itertools.accumulate(draw(st.lists(st.booleans(), max_size=40)), initial=1)
    return [replace(draw(drawn), version=version) for version in versions]


def steady(count: int, gap: float = 0.0, version: int = 1) -> list[Window]:
    """Windows in which fits differ a little, and a champion that is worse by as much as is said."""
    random = np.random.default_rng(3)
    return [
        Window(version, 1.0, 0.5 + gap + each, 0.5, 0.5 + other, apart=5 + number)
        for number, (each, other) in enumerate(random.normal(0, 0.005, (count, 2)))
    ]


def jumps_of(windows: Sequence[Window], rule: Rule) -> list[float]:
    """Of each champion, what the gap jumps by between windows that say something, as of one window's reach."""
    telling = [each for each in windows if each.apart]
    return [
        abs((new.champion - new.understudy) - (old.champion - old.understudy))
        / np.sqrt(2)
        / min(new.apart, rule.window) ** 0.4
        for old, new in itertools.pairwise(telling)
        if old.version == new.version
    ]


def by_the_formulas(windows: Sequence[Window], rule: Rule) -> list[tuple[float, float, float, float | None, bool]]:
    """Fast evidence, slow evidence, avoided loss, cost and whether a retraining is due, each from all windows anew."""
    found = []
    for now in range(1, len(windows) + 1):
        so_far = windows[:now]
        since = max((at for at in range(1, now) if so_far[at].version != so_far[at - 1].version), default=0)
        fast, bets, avoided = 0.0, np.ones(3), 0.0
        for at in range(since, now):
            seen, window = so_far[: at + 1], so_far[at]
            differences = np.array(
                [(each.earlier - each.understudy) / rule.refit**0.4 for each in seen if each.earlier is not None]
            )
            base = 0.05 * np.mean([each.understudy for each in seen[-8:]])
            spread = 1.4826 * np.median(np.abs(differences - np.median(differences))) if len(differences) else 0.0
            noise = np.sqrt((4 * base**2 + len(differences) * spread**2) / (4 + len(differences)))
            if window.apart == 0:
                continue
            jumps = np.array(jumps_of(seen, rule))
            if len(jumps) >= 5:
                noise = np.sqrt(noise**2 + (1.4826 * np.median(jumps)) ** 2)
            gap = window.champion - window.understudy
            z = np.clip(gap / (noise * min(window.apart, rule.window) ** 0.4), -2.5, 2.5)
            fast = max(0.0, fast + z - 0.5)
            bets = bets * (1 + np.array([0.1, 0.2, 0.4]) * z / 2.5)
            avoided += gap * window.rows
        newest = so_far[-1]
        expected = avoided
        if newest.apart:
            expected += (rule.delay + 1) * max(0.0, (newest.champion - newest.understudy) * newest.rows)
        first = list(itertools.takewhile(lambda each: each.version == windows[0].version, so_far))[:4]
        cost = rule.cost
        if cost is None and len(first) == 4:
            cost = 0.35 * np.mean([each.champion for each in first])
        believed = fast >= 4.0 or bets.mean() >= 20
        due = bool(newest.apart > 0 and believed and cost is not None and expected >= cost)
        found.append((fast, float(bets.mean()), expected, cost, due))
    return found


@given(histories(), rules)
def test_it_is_what_the_formulas_say(windows: list[Window], rule: Rule) -> None:
    for said, formula in zip(weigh(windows, rule), by_the_formulas(windows, rule), strict=True):
        assert (said.fast, said.slow, said.avoided) == pytest.approx(formula[:3], rel=1e-6, abs=1e-9)
        assert said.cost == (None if formula[3] is None else pytest.approx(formula[3]))
        margins = (said.fast - 4.0, said.slow - 20.0, said.avoided - (said.cost or 0.0))
        assert said.due == formula[4] or min(map(abs, margins)) < 1e-6


@given(histories(), rules, st.integers(0, 40))
def test_what_comes_later_changes_nothing_that_was_said(windows: list[Window], rule: Rule, count: int) -> None:
    assert list(weigh(windows, rule))[:count] == list(weigh(windows[:count], rule))


@given(histories(), rules, st.sampled_from([0.125, 8.0, 1024.0]))
def test_the_scale_of_the_loss_does_not_matter(windows: list[Window], rule: Rule, scale: float) -> None:
    rule = replace(rule, cost=None)
    larger = [
        replace(
            each,
            champion=each.champion * scale,
            understudy=each.understudy * scale,
            earlier=None if each.earlier is None else each.earlier * scale,
        )
        for each in windows
    ]
    for one, other in zip(weigh(windows, rule), weigh(larger, rule), strict=True):
        assert (one.fast, one.slow, one.due) == pytest.approx((other.fast, other.slow, other.due), rel=1e-9, abs=1e-12)


@given(drawn, rules)
def test_one_odd_window_never_retrains(window: Window, rule: Rule) -> None:
    assert not any(each.due for each in weigh([window], replace(rule, cost=0.0)))


def test_a_champion_as_good_as_a_fresh_fit_is_kept_and_one_that_is_worse_is_not() -> None:
    rule = Rule(window=28)
    assert not any(each.due for each in weigh(steady(300), rule))
    told = [each.due for each in weigh([*steady(30), *steady(30, gap=0.1)], rule)]
    assert told.index(True) in range(31, 36), "from the thirtieth on it is worse"


def test_the_evidence_says_with_which_window_it_began() -> None:
    evidence = list(weigh([*steady(30), *steady(30, gap=0.1)], Rule(window=28)))
    due = next(each for each in evidence if each.due)
    assert due.since is not None and 28 <= due.since <= 30
    assert all((each.since is None) == (each.fast == 0) for each in evidence)


def test_a_new_champion_begins_anew_and_what_fits_differ_by_stays_known() -> None:
    old = [*steady(30), *steady(20, gap=0.1)]
    before, after = list(weigh([*old, *steady(1, version=2)], Rule(window=28)))[-2:]
    assert before.due and not after.due
    assert before.fast > 4.0 > after.fast and abs(after.avoided) < 0.05 < before.avoided
    alone = next(weigh(steady(1, version=2), Rule(window=28)))
    assert before.noise is not None and after.noise is not None and alone.noise is not None
    reach = (24 / 5) ** 0.4  # of the first champion's last window, in that of the second one's first
    assert after.noise * reach == pytest.approx(before.noise, rel=0.05) and alone.noise > 2 * after.noise


def test_what_jumps_from_window_to_window_is_noise_and_what_lasts_is_not() -> None:
    random = np.random.default_rng(5)
    odd = random.normal(0, 0.1, 60)  # a champion that learned from other rows errs on other days
    told = [replace(each, champion=each.champion + by) for each, by in zip(steady(60), odd, strict=True)]
    assert not any(each.due for each in weigh(told, Rule(window=28)))
    lasting = [replace(each, champion=each.champion + 0.2) for each in told]
    assert any(each.due for each in weigh(lasting, Rule(window=28)))


def test_an_understudy_that_is_no_newer_says_nothing() -> None:
    windows = [*steady(30), replace(steady(1, gap=1.0)[0], apart=0)]
    evidence = list(weigh(windows, Rule(window=28)))
    assert (evidence[-1].fast, evidence[-1].slow, evidence[-1].due) == (evidence[-2].fast, evidence[-2].slow, False)


def test_a_retraining_waits_until_it_has_paid() -> None:
    windows = [*steady(30), *steady(30, gap=0.1)]
    cheap, dear = (list(weigh(windows, Rule(window=28, cost=cost))) for cost in (0.0, 1.0))
    first = [next(at for at, each in enumerate(evidence) if each.due) for evidence in (cheap, dear)]
    assert first[0] < 36 and first[1] == pytest.approx(30 + 9, abs=2), "ten windows avoid a tenth each"
    never = weigh(windows, Rule(window=28, cost=100.0))
    assert not any(each.due for each in never)


def test_before_the_cost_is_known_nothing_is_due() -> None:
    told: list[Evidence] = list(weigh(steady(6, gap=2.0), Rule(window=28)))
    assert [each.cost is None for each in told] == [True] * 3 + [False] * 3
    assert [each.due for each in told] == [False] * 3 + [True] * 3


FINITE = st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float)


@given(st.lists(FINITE, min_size=1, max_size=40))
def test_a_deviation_is_the_median_of_what_lies_between_values_and_their_median(values: list[float]) -> None:
    assert deviation(values) == 1.4826 * median(abs(value - median(values)) for value in values)


def test_what_a_window_costs_does_not_grow_with_those_before_it() -> None:
    """As much is compared and computed for the last hundred of 2,000 windows as for the last hundred of 500."""
    compared = 0

    class Counted(float):
        def __lt__(self, other: float) -> bool:
            nonlocal compared
            compared += 1
            return float(self) < float(other)

        def __sub__(self, other: float) -> Counted:
            nonlocal compared
            compared += 1
            return Counted(float(self) - float(other))

        def __rsub__(self, other: float) -> Counted:
            return Counted(other) - self

    random = np.random.default_rng(1)
    cost = {}
    for count in (500, 2000):
        losses = [Counted(each) for each in random.uniform(0.3, 0.4, 3 * count)]
        told = weigh((Window(1, 1.0, *losses[3 * at : 3 * at + 3], apart=7) for at in range(count)), Rule(window=30))
        for _ in itertools.islice(told, count - 100):
            pass
        compared = 0
        assert len(list(told)) == 100
        cost[count] = compared
    assert 0 < cost[2000] < 1.5 * cost[500]
