"""Gates: how often they err, and what they find.

Two models of known worth are compared on simulated rows by the product's own comparison and rule. Half of what a row is
belongs to its group (its entity, or its day of requests), and half of what a model does wrong the other one does too.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

import numpy as np

from benchmarks import document
from evergreen.evaluate.rules import MARGIN_SHARE, Champion, Test
from evergreen.handovers.gate import Gate
from evergreen.handovers.train import Comparison
from evergreen.model.metrics import Metric, metric
from evergreen.model.weightings import Floats, Labels
from evergreen.spec.measures import MetricName
from evergreen.spec.problem import Binary, Numeric, Problem

TRAININGS = 400  # that are simulated for each share: at 5 % it is right to 1.1 percentage points
OF_DAYS = 2_000  # where groups are few, which is cheap, and where tests err most: to 0.5
RESAMPLES = 100  # of the percentile bootstrap
CONFIDENCE = 0.95
_FEW = 100
_NOISE = 1.0  # how far off the champion is
Sizes = Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Shape:
    """Rows of an evaluation."""

    name: str
    sizes: Sizes  # rows of each group


@dataclass(frozen=True)
class Sample:
    """Rows, and how two models err on them."""

    problem: Problem
    groups: np.ndarray
    labels: Labels
    signal: Floats
    errors: tuple[Floats, Floats]

    def predictions(self, model: int, noise: float) -> Floats:
        """What a model predicts that is so far off; it knows it, and shrinks what it says."""
        score = (self.signal + noise * self.errors[model]) / (1 + noise**2)
        return 1 / (1 + np.exp(2 - 1.5 * score)) if self.problem.kind == "binary" else score


def alike(groups: int, rows: int) -> Sizes:
    """Groups with as many rows each."""
    return lambda _: np.full(groups, rows)


def uneven(groups: int, least: int) -> Sizes:
    """A few groups have most of the rows."""
    return lambda random: np.maximum(1, (least * random.pareto(1.5, groups)).astype(int))


SHAPES = (
    Shape("1,000 rows of 1,000 entities", alike(1000, 1)),
    Shape("4,000 rows of 1,000 entities", alike(1000, 4)),
    Shape("1,200 rows of 300 entities", alike(300, 4)),
    Shape("some 1,200 rows of 300 entities, uneven", uneven(300, 2)),
    Shape("3,000 requests of 14 days", alike(14, 214)),
    Shape("1,800 requests of 6 days", alike(6, 300)),
    Shape("some 2,000 requests of 10 days, uneven", uneven(10, 100)),
    Shape("1,200 requests of 4 days", alike(4, 300)),
)
JUDGED: tuple[tuple[Problem, MetricName], ...] = ((Binary(), "roc_auc"), (Binary(), "log_loss"), (Numeric(), "rmse"))


def sample(problem: Problem, sizes: np.ndarray, random: np.random.Generator) -> Sample:
    """Rows as they are drawn, with both models' errors."""
    groups = np.repeat(np.arange(len(sizes)), sizes)

    def drawn() -> Floats:
        apart = random.normal(size=len(sizes))[groups], random.normal(size=len(groups))
        return math.sqrt(0.5) * (apart[0] + apart[1])

    signal, both = drawn(), drawn()
    errors = tuple(math.sqrt(0.5) * (both + drawn()) for _ in range(2))
    labels: Labels = signal + drawn()
    if problem.kind == "binary":
        labels = (random.random(len(groups)) < 1 / (1 + np.exp(2 - 1.5 * signal))).astype(np.int64)
    return Sample(problem, groups.astype(object), labels, signal, (errors[0], errors[1]))


@cache
def worth(problem: Problem, name: MetricName, noise: float) -> float:
    """The metric of a model that is so far off, on very many rows."""
    many = sample(problem, np.ones(400_000, int), np.random.default_rng(0))
    return metric(problem, name).value(many.labels, many.predictions(0, noise))


@cache
def margin(problem: Problem, name: MetricName) -> float:
    """The default: a share of what the champion gains over the baseline."""
    labels = sample(problem, np.ones(400_000, int), np.random.default_rng(0)).labels
    judged = metric(problem, name)
    trivial = judged.value(labels, problem.baseline(labels, len(labels)))
    return MARGIN_SHARE * judged.measure.gain(worth(problem, name, _NOISE), trivial)


@cache
def noise_for(problem: Problem, name: MetricName, gain: float) -> float:
    """How far off a model is that is better than the champion by so much."""
    low, high = 0.0, 4.0
    for _ in range(18):
        middle = (low + high) / 2
        reached = metric(problem, name).measure.gain(worth(problem, name, middle), worth(problem, name, _NOISE))
        low, high = (middle, high) if reached > gain else (low, middle)
    return (low + high) / 2


def judged(tests: Sequence[Test], name: MetricName, rows: Sample, noise: float) -> list[Gate]:
    """The gates of a candidate that is so far off, as the stage `gates` has each."""
    measure = metric(rows.problem, name)
    ours, theirs = rows.predictions(1, noise), rows.predictions(0, _NOISE)
    found = measure.compare(rows.labels, ours, theirs, rows.groups, confidence=CONFIDENCE)
    ends = {"low": found.low, "high": found.high, "tells": found.tells}
    comparison = Comparison(
        gain=found.gain,
        rows=found.rows,
        groups=found.entities,
        **{end: value if math.isfinite(value) else None for end, value in ends.items()},
    )
    champion = Champion(
        datetime(2026, 1, 1, tzinfo=UTC), {name: measure.value(rows.labels, theirs)}, comparison=comparison
    )
    return [by.gate(name, measure.value(rows.labels, ours), champion) for by in tests]


def percentile(measure: Metric, rows: Sample, noise: float, random: np.random.Generator) -> bool:
    """Whether the percentile bootstrap over groups takes the candidate for better."""
    names, index = np.unique(rows.groups, return_inverse=True)
    drawn = random.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)[:, index].astype(float)
    ways = [measure.weighted(rows.labels, rows.predictions(*each)) for each in ((1, noise), (0, _NOISE))]
    with np.errstate(invalid="ignore"):
        gains = measure.measure.gain(ways[0](drawn), ways[1](drawn))
    return bool(np.nanquantile(gains, 1 - CONFIDENCE) > 0)


SUPERIOR = Test(superior=True, margin=0.0, derived=False)


def errors(number: int, problem: Problem, name: MetricName) -> tuple[object, ...]:
    """One row of the table: of equal candidates and of those that are worse by the margin, how many are promoted."""
    shape, random = SHAPES[number], np.random.default_rng(number)
    bound = margin(problem, name)
    not_worse = Test(superior=False, margin=bound, derived=True)
    worse = noise_for(problem, name, -bound)
    count = dict.fromkeys(("equal", "percentile", "worse", "not worse", "no evidence"), 0)
    trainings = OF_DAYS if len(shape.sizes(random)) < _FEW else TRAININGS
    for done in range(trainings):
        rows = sample(problem, shape.sizes(random), random)
        superior, equal = judged((SUPERIOR, not_worse), name, rows, _NOISE)
        count["equal"] += superior.verdict == "pass"
        if done < TRAININGS:
            count["percentile"] += percentile(metric(problem, name), rows, _NOISE, random)
        count["worse"] += judged((not_worse,), name, rows, worse)[0].verdict == "pass"
        count["not worse"] += equal.verdict == "pass"
        count["no evidence"] += equal.verdict == "no evidence"
    told = [f"{count[each] / (TRAININGS if each == 'percentile' else trainings):.1%}" for each in count]
    return (shape.name, name, f"{trainings:,}", told[0], told[1], f"{bound:.4f}", told[2], told[3], told[4])


POWER_ROWS = (500, 2_000, 8_000)


def power(rows: int, problem: Problem, name: MetricName) -> tuple[object, ...]:
    """One row of the table: what gain such rows tell, and how often a gain of that size is told."""
    random, sizes, trainings = np.random.default_rng(rows), np.full(rows // 4, 4), 200
    measure = metric(problem, name)
    tells = []
    for _ in range(20):
        drawn = sample(problem, sizes, random)
        ways = (drawn.predictions(1, _NOISE), drawn.predictions(0, _NOISE))
        tells.append(measure.compare(drawn.labels, *ways, drawn.groups, confidence=CONFIDENCE).tells)
    gain = float(np.median(tells))
    better = noise_for(problem, name, gain)
    found = sum(
        judged((SUPERIOR,), name, sample(problem, sizes, random), better)[0].verdict == "pass" for _ in range(trainings)
    )
    return (f"{rows:,}", f"{rows // 4:,}", name, f"{gain:.4f}", f"{found / trainings:.0%}")


def run() -> str:
    """The tables of docs/benchmarks.md."""
    cells = [(number, *each) for each in JUDGED for number in range(len(SHAPES))]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        wrong = list(pool.map(_errors_of, cells))
        found = list(pool.map(_power_of, [(rows, *each) for each in JUDGED for rows in POWER_ROWS]))
    return f"""{_ABOUT.format(trainings=TRAININGS, of_days=OF_DAYS)}

{document.table(_HEAD, wrong)}

What gain is found with how many rows (four of each entity), where the confidence is {CONFIDENCE:g}:

{document.table(_POWER_HEAD, found)}"""


def _errors_of(cell: tuple[int, Problem, MetricName]) -> tuple[object, ...]:
    return errors(*cell)


def _power_of(cell: tuple[int, Problem, MetricName]) -> tuple[object, ...]:
    return power(*cell)


_ABOUT = """Two models of known worth are compared on the same simulated rows by the product's own comparison and rule.
Half of what a row is belongs to its group (its entity, or its day of requests); half of what one model does wrong the
other one does too. The confidence is 0.95, so a test may err in 5 %; of {trainings:,} trainings such a share is right
to 1.1 percentage points, of {of_days:,} to 0.5. The margin is the default, a tenth of what the champion gains over the
baseline. Beside the interval that gates use stands the percentile bootstrap, which they do not."""
_HEAD = (
    "rows",
    "metric",
    "trainings",
    "superiority: equal ones promoted",
    "the same by percentiles",
    "margin",
    "non-inferiority: promoted that are worse by the margin",
    "equal ones promoted",
    "equal ones: no evidence",
)
_POWER_HEAD = (
    "rows",
    "entities",
    "metric",
    "gain that is told in four of five trainings",
    "told, of candidates better by that",
)
