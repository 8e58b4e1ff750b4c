"""Rollouts: how often a challenger is rolled back or promoted by chance, and how soon a worse one is caught.

Requests of entities that come again and again are dealt to two arms by entity, and the product's own bounds look at
them after every batch. An entity's requests go well or badly together, and some entities ask far more than others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import document
from evergreen.rollout import bounds
from evergreen.rollout.sequential import ALPHA, MEASURES, Measure, bounded, judge
from evergreen.rollout.tallies import CELLS, Sums, Tally

ROLLOUTS = 2_000  # of a line: at 5 % it is right to half a percentage point
TOGETHER = 20  # that are judged in one call
BY_NAME = {each.name: each for each in MEASURES}
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """What a challenger does otherwise, in shares of requests; more is worse."""

    outcomes: float = 0.0
    slow: float = 0.0
    errors: float = 0.0


@dataclass(frozen=True)
class World:
    """A rollout's traffic, and the challengers that are tried on it.

    Attributes:
        shares: of the challenger, step by step; each is kept for as many looks.
        batch: requests between two looks.
        looks: of all steps.
        each: requests of an entity, on the average.
        alike: correlation of two outcomes of an entity.
        wrong: share of outcomes that the champion gets wrong.
        begins: with this part of it, for both arms; it grows until the end.
        effects: one challenger each.
    """

    shares: tuple[float, ...]
    batch: int
    looks: int
    effects: tuple[Effect, ...]
    each: float = 3.0
    alike: float = 0.1
    wrong: float = 0.2
    begins: float = 1.0

    @property
    def name(self) -> str:
        return ", ".join(f"{share:.0%}".removesuffix("%") for share in self.shares) + " %"

    @property
    def requests(self) -> int:
        return self.batch * self.looks


@dataclass(frozen=True)
class Seen:
    """All looks of some rollouts.

    Attributes:
        rows: shape (rollouts, looks, strata, arms, cells).
        totals: by measure, shape (rollouts, effects, looks, strata, arms, cells).
    """

    rows: Floats
    totals: dict[str, Floats]


SLOW, FRAGILE = 0.01, 0.004  # requests that are slow; entities whose requests fail half of the time


def simulate(world: World, rollouts: int, random: np.random.Generator) -> Seen:
    """What the looks of rollouts see."""
    steps, count = len(world.shares), world.requests
    entities = max(1, int(count / world.each))
    look = np.repeat(np.arange(world.looks), world.batch)
    step_of = np.arange(world.looks) * steps // world.looks
    step = step_of[look]
    shape = (world.looks, 2, CELLS)
    rows = np.zeros((rollouts, world.looks, steps, 2, CELLS))
    totals = {name: np.zeros((rollouts, len(world.effects), *rows.shape[1:])) for name in BY_NAME}
    grown = (world.begins + (1 - world.begins) * look / world.looks).astype(np.float32)
    share = np.asarray(world.shares, np.float32)[step]
    for rollout in range(rollouts):
        drawn = random.random((5, count), dtype=np.float32)
        whose = (drawn[0] ** 2 * entities).astype(np.int32)  # some ask far more than others
        place, bad = _entities(world, entities, random)
        arm = place[whose] < share
        index = (look * 2 + arm) * CELLS + random.integers(CELLS, size=entities, dtype=np.int32)[whose]

        def sums(chosen: npt.NDArray[Any] | slice, weights: Floats | None = None) -> Floats:
            counted = np.bincount(index[chosen], weights, minlength=world.looks * 2 * CELLS)  # noqa: B023 - used here
            return counted.reshape(shape).astype(float)

        def put(into: Floats, found: Floats) -> None:
            into[np.arange(world.looks), step_of] = found
            np.cumsum(into, axis=0, out=into)

        put(rows[rollout], sums(slice(None)))
        ours = np.flatnonzero(arm)
        wrong = bad[whose] * grown
        fragile = random.random(entities, dtype=np.float32)[whose]
        fails = (fragile < FRAGILE) & (drawn[4] < 0.5)
        answers = sums(slice(None), (random.random(entities, dtype=np.float32)[whose] + drawn[3]) / 2)
        of_champion = {"outcomes": sums(~arm & (drawn[1] < wrong)), "slow answers": sums(~arm & (drawn[2] < SLOW))}
        for number, effect in enumerate(world.effects):
            put(totals["answers"][rollout, number], answers)
            for name, level, base, change, chance in (
                ("outcomes", wrong[ours], world.wrong * grown[ours], effect.outcomes, drawn[1][ours]),
                ("slow answers", np.float32(SLOW), np.float32(SLOW), effect.slow, drawn[2][ours]),
            ):
                moved = level + change * (1 - level) / (1 - base) if change > 0 else level * (1 + change / base)
                put(totals[name][rollout, number], of_champion[name] + sums(ours[chance < moved]))
            broken = fails | (arm & (drawn[4] > 1 - effect.errors)) if effect.errors else fails
            at = np.flatnonzero(broken)
            put(totals["errors"][rollout, number], sums(at[np.unique(whose[at], return_index=True)[1]]))
    return Seen(rows, totals)


def _entities(world: World, count: int, random: np.random.Generator) -> tuple[npt.NDArray[np.float32], Floats]:
    """Where each one's hash lies, and how often its outcomes are wrong."""
    place = random.random(count, dtype=np.float32)
    if world.alike == 0:
        return place, np.full(count, world.wrong, np.float32)
    many = 1 / world.alike - 1
    return place, random.beta(world.wrong * many, (1 - world.wrong) * many, count).astype(np.float32)


Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Verdicts:
    """Of each look, shape (rollouts, effects, looks)."""

    worse: Bools
    not_worse: Bools  # or better


def verdict(measure: Measure, seen: Seen, shares: Sequence[float], alpha: float, part: float) -> Verdicts:
    """Of one measure, as `sequential.judge` has it."""
    rows, totals = seen.rows[:, None], seen.totals[measure.name]
    rows = np.broadcast_to(rows, totals.shape)
    found, wider = bounded(measure, rows, totals, np.asarray(shares), part=part, alpha=alpha)
    if measure.kind == "shift":
        moved = (wider.low > measure.margin) | (wider.high < -measure.margin)
        return Verdicts(moved, ~moved & (found.low > -measure.margin) & (found.high < measure.margin))
    near = found.high < measure.margin
    return Verdicts((found.low > 0) & ~near, near)


def judged(world: World, seen: Seen, measures: Sequence[Measure] = MEASURES, alpha: float = ALPHA) -> Verdicts:
    """Of all measures together."""
    each = [verdict(one, seen, world.shares, alpha, alpha / len(measures)) for one in measures]
    worse = np.any([one.worse for one in each], axis=0)
    return Verdicts(worse, ~worse & np.all([one.not_worse for one in each], axis=0))


def same_as_the_product(world: World, seen: Seen, found: Verdicts) -> None:
    """Whether `judge` says the same of the same tallies: the last look of a few rollouts.

    Raises:
        AssertionError: it does not.
    """
    for number in range(len(world.effects)):
        tallies = {}
        for name, totals in seen.totals.items():
            strata = zip(world.shares, seen.rows[0, -1], totals[0, number, -1], strict=True)
            tallies[name] = Tally({share: Sums(_whole(rows), _whole(total * 1e6)) for share, rows, total in strata})
        said = judge(tallies).verdict
        ours = (bool(found.worse[0, number, -1]), bool(found.not_worse[0, number, -1]))
        assert ours == (said == "worse", said in ("not worse", "better")), (said, ours)


def _whole(counts: Floats) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return tuple(map(round, counts[0])), tuple(map(round, counts[1]))


@dataclass(frozen=True)
class Ends:
    """Where rollouts of one challenger ended, shape (rollouts,).

    Attributes:
        rolled_back, promoted: requests until then; infinite where it came to something else.
    """

    rolled_back: Floats
    promoted: Floats


def ended(world: World, found: Verdicts) -> Iterator[Ends]:
    """For each effect; the first verdict is the last one."""
    for number in range(len(world.effects)):
        first = [_first(each[:, number]) for each in (found.worse, found.not_worse)]
        back, on = first[0] < first[1], first[1] < first[0]
        yield Ends(
            np.where(back, (first[0] + 1) * world.batch, np.inf), np.where(on, (first[1] + 1) * world.batch, np.inf)
        )


def _first(verdicts: Bools) -> Floats:
    at: Floats = np.where(verdicts.any(-1), verdicts.argmax(-1).astype(float), np.inf)
    return at


def line(world: World, seed: int) -> list[Ends]:
    """Some rollouts of each challenger."""
    seen = simulate(world, TOGETHER, np.random.default_rng(seed))
    found = judged(world, seen)
    same_as_the_product(world, seen, found)
    return list(ended(world, found))


def _line(cell: tuple[World, int]) -> list[Ends]:
    return line(*cell)


def every(pool: ProcessPoolExecutor, worlds: Sequence[World]) -> list[list[Ends]]:
    """By world and challenger, all of its rollouts."""
    cells = [
        (world, 1000 * number + part) for number, world in enumerate(worlds) for part in range(ROLLOUTS // TOGETHER)
    ]
    found = list(pool.map(_line, cells))
    size = ROLLOUTS // TOGETHER
    return [
        [
            Ends(
                np.concatenate([part[effect].rolled_back for part in parts]),
                np.concatenate([part[effect].promoted for part in parts]),
            )
            for effect in range(len(world.effects))
        ]
        for world, parts in ((world, found[number * size : (number + 1) * size]) for number, world in enumerate(worlds))
    ]


POINTS = (0.0, -0.01, -0.02, 0.01, 0.02, 0.05)
OUTCOMES = tuple(Effect(outcomes=points) for points in POINTS)
FAULTS = {
    "errors + 1 point": Effect(errors=0.01),
    "errors + 10 points": Effect(errors=0.1),
    "errors + 50 points": Effect(errors=0.5),
    "slow answers + 2 points": Effect(slow=0.02),
    "slow answers + 10 points": Effect(slow=0.1),
}
CANARY = (
    World((0.05,), 5_000, 60, OUTCOMES),
    World((0.25,), 2_000, 60, OUTCOMES),
    World((0.5,), 1_500, 60, OUTCOMES),
    World((0.05, 0.25, 0.5), 2_000, 60, OUTCOMES, begins=0.5),
)
BROKEN = tuple(
    replace(world, batch=batch, effects=tuple(FAULTS.values()))
    for world, batch in zip(CANARY[:3], (600, 150, 75), strict=True)
)


def until(requests: Floats, world: World, share: float) -> str:
    """Requests until so many of the rollouts have ended."""
    at = float(np.quantile(requests, share, method="higher"))
    return f"{at:,.0f}" if np.isfinite(at) else f"over {world.requests:,}"


def _called(points: float) -> str:
    if points == 0:
        return "equal"
    return f"{abs(points) * 100:.0f} point{'s' if abs(points) > 0.01 else ''} {'worse' if points > 0 else 'better'}"


def run() -> str:
    """The tables of docs/benchmarks.md."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        outcomes, faults = every(pool, CANARY), every(pool, BROKEN)
        alike = list(pool.map(_grouped, range(len(GROUPS))))
    ended_as = [
        (
            world.name,
            _called(points),
            f"{np.isfinite(ends.rolled_back).mean():.1%}",
            f"{np.isfinite(ends.promoted).mean():.1%}",
            until(ends.rolled_back, world, 0.5) if points > 0 else "",
            until(ends.rolled_back, world, 0.95) if points > 0 else "",
            until(ends.promoted, world, 0.5) if points <= 0 else "",
        )
        for world, found in zip(CANARY, outcomes, strict=True)
        for points, ends in zip(POINTS, found, strict=True)
    ]
    caught = [
        (
            world.name,
            name,
            f"{np.isfinite(ends.promoted).mean():.1%}",
            until(ends.rolled_back, world, 0.5),
            until(ends.rolled_back, world, 0.95),
        )
        for world, found in zip(BROKEN, faults, strict=True)
        for name, ends in zip(FAULTS, found, strict=True)
    ]
    return f"""{_ABOUT}

{document.table(_HEAD, ended_as)}

{_FAULTS}

{document.table(_FAULTS_HEAD, caught)}

{_GROUPS}

{document.table(_GROUPS_HEAD, alike)}"""


GROUPS = tuple(
    World((share,), batch, 50, (Effect(), Effect(outcomes=margin)), each=each, alike=alike, wrong=wrong)
    for share, batch, each, alike, wrong, margin in (
        (0.5, 600, 1, 0.0, 0.2, 0.01),
        (0.5, 600, 5, 0.1, 0.2, 0.01),
        (0.5, 600, 20, 0.3, 0.2, 0.01),
        (0.05, 1_000, 5, 0.1, 0.2, 0.01),
        (0.05, 1_000, 1, 0.0, 0.002, 0.005),
        (0.05, 1_000, 20, 0.3, 0.01, 0.01),
    )
)


def _grouped(number: int) -> tuple[object, ...]:
    """One line of the third table: outcomes alone, at the whole of alpha."""
    world, random = GROUPS[number], np.random.default_rng(number)
    margin = world.effects[1].outcomes
    measure = replace(BY_NAME["outcomes"], margin=margin)
    wrongly = np.zeros(4)
    for _ in range(ROLLOUTS // TOGETHER):
        seen = simulate(world, TOGETHER, random)
        ours = verdict(measure, seen, world.shares, ALPHA, ALPHA)
        rows, totals = seen.rows[:, None].sum((-1, -3)), seen.totals["outcomes"].sum((-1, -3))  # arms last
        mean = totals / np.maximum(rows, 1)
        error = np.sqrt((mean * (1 - mean) / np.maximum(rows, 1)).sum(-1))
        width = bounds.deviations(np.maximum(error, 1e-9) ** 2, 2 * margin, ALPHA, np.full(error.shape, 1e6)) * error
        difference = mean[..., 1] - mean[..., 0]
        told = (rows.min(-1) >= bounds.FEWEST) & (error > 0)
        wrongly += [
            ours.worse[:, 0].any(-1).sum(),
            ours.not_worse[:, 1].any(-1).sum(),
            (told & (difference - width > 0))[:, 0].any(-1).sum(),
            (told & (difference - 1.645 * error > 0))[:, 0].any(-1).sum(),
        ]
    told_as = [f"{each / ROLLOUTS:.1%}" for each in wrongly]
    return (world.name, f"{world.each:g}", f"{world.alike:g}", f"{world.wrong:.1%}", *told_as)


_HEAD = (
    "share of the challenger",
    "outcomes",
    "rolled back",
    "promoted",
    "requests until half are caught",
    "until 95 % are",
    "until half are promoted",
)
_FAULTS_HEAD = ("share of the challenger", "fault", "promoted", "requests until half are caught", "until 95 % are")
_GROUPS_HEAD = (
    "share",
    "requests of an entity",
    "correlation",
    "wrong",
    "equal, taken for worse",
    "worse by the margin, promoted",
    "the same with rows for units",
    "a fixed interval of rows, looked at every time",
)
_ABOUT = f"""{ROLLOUTS:,} simulated rollouts a line. A champion is wrong in 20 % of the outcomes, slow in 1 % of the
answers, and fails in 0.2 % of the requests; an entity asks 3 times on the average, some of them hundreds of times, and
two of its outcomes have a correlation of 0.1. All five measures are compared after each of 60 batches (5,000, 2,000,
1,500 and 2,000 requests), and the first verdict ends a rollout: what is worse in anything is rolled back, what is not
worse by any margin is promoted. Stated: of challengers that are worse in nothing at most {ALPHA:.0%} are rolled back;
of those that are worse by the margin (1 point of outcomes) at most {ALPHA:.0%} are promoted. In the last lines the
share grows from 5 to 25 and 50 %, entities move to the challenger, and both arms come to be wrong twice as often
meanwhile. Requests are those of both arms."""
_FAULTS = """What is broken is caught sooner; looks after every 600, 150 and 75 requests:"""
_GROUPS = """Why cells of entities are the unit: outcomes alone, at the whole of 5 %, after each of 50 batches of 1,000
requests (600 where the share is 50 %). "Rows for units" is the same boundary with the variance of independent rows:"""
