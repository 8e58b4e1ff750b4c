"""How much of the window to learn from after a change: what each way loses, and what the product's backtest chooses.

Run by hand: `python -m benchmarks.windows` prints the table of ADR 0039. `STREAMS` says how many streams each cell has.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from benchmarks import document
from evergreen.families import Parameters
from evergreen.handovers.train import LearningWindow
from evergreen.model import families
from evergreen.model.metrics import metric
from evergreen.model.rows import Rows
from evergreen.spec.columns import EVENT
from evergreen.spec.kinds import FeatureType
from evergreen.spec.problem import Binary
from evergreen.train import windows

Floats = npt.NDArray[np.float64]
INTERVALS, ROWS, LATER = 60, 100, 8  # learned from, rows of each, and scored after them
FOLDS, MINIMUM = 3, 300
STREAMS = int(os.environ.get("STREAMS", "3"))
START = datetime(2026, 1, 1, tzinfo=UTC)
FEATURES: Mapping[str, FeatureType] = {f"x{number}": "float" for number in range(8)}
SEARCHED: Mapping[str, Sequence[Parameters]] = {  # the defaults first
    "logistic_regression": ({"C": 1.0}, {"C": 0.01}, {"C": 10.0}),
    "gradient_boosting": (
        {"max_iter": 100, "learning_rate": 0.1, "max_leaf_nodes": 31},
        {"max_iter": 50, "learning_rate": 0.1, "max_leaf_nodes": 4},
        {"max_iter": 200, "learning_rate": 0.03, "max_leaf_nodes": 31},
    ),
}
A_DAY = timedelta(days=1)
PRODUCT = ("full", "since", "half")  # the ways that the product tries
CELLS = (  # what changes, and intervals from the change to the training
    ("sudden", 3),
    ("sudden", 12),
    ("two of eight features", 3),
    ("covariates only", 6),
    ("covariates only", 20),
    ("slow, over the whole window", 6),  # it began with the window, and was believed then
)
_JUDGED = metric(Binary(), "roc_auc")


@dataclass(frozen=True)
class Stream:
    """Rows to learn from, rows that come after them, and the first cutoff after the change."""

    learn: Rows
    later: Rows
    changed_at: datetime


def stream(kind: str, since: int, seed: int) -> Stream:
    """A stream that changes so many intervals before its training."""
    random = np.random.default_rng([len(kind), since, seed])
    weights, width = random.normal(0, 1, len(FEATURES)), len(FEATURES)
    after, means = weights.copy(), random.normal(0, 1, width)
    if kind == "two of eight features":
        after[:2] = -after[:2]
    elif kind != "covariates only":
        after = random.permutation(-weights)
    change, inputs, labels = INTERVALS - since, [], []
    for interval in range(INTERVALS + LATER):
        slow = kind.startswith("slow")
        share = interval / INTERVALS if slow else float(interval >= change)
        drawn = random.normal(0, 1, (ROWS, width))
        if kind == "covariates only":
            drawn += share * means
        odds = drawn @ ((1 - share) * weights + share * after if kind != "covariates only" else weights)
        inputs.append(drawn)
        labels.append((random.random(ROWS) < 1 / (1 + np.exp(-odds))).astype(np.int64))

    def rows(first: int, last: int) -> Rows:
        table = pd.DataFrame(np.concatenate(inputs[first:last]), columns=list(FEATURES))
        moments = [START + timedelta(days=interval) for interval in range(first, last) for _ in range(ROWS)]
        frame = table.assign(**{EVENT: pd.to_datetime(moments, utc=True)})
        return Rows(frame, table, np.concatenate(labels[first:last]), np.arange(len(table)).astype(object))

    return Stream(rows(0, INTERVALS), rows(INTERVALS, INTERVALS + LATER), START + timedelta(days=change))


def ways(found: Stream) -> dict[str, LearningWindow]:
    """Those that the product tries, and other half-lives."""
    cutoffs = found.learn.frame[EVENT]
    tried, _ = windows.options(cutoffs, found.changed_at, minimum_rows=MINIMUM, weights=True)
    half = tried["weighted"].half_life
    assert half is not None
    return {
        "full": tried["full"],
        "since": tried["since"],
        "half": tried["weighted"],
        "all": LearningWindow(way="weighted", half_life=2 * half),
        "15": LearningWindow(way="weighted", half_life=timedelta(days=15)),
    }


def scored(family: str, parameters: Parameters, learn: Rows, later: Rows) -> float:
    """ROC AUC of a fit on other rows."""
    candidate = families.build(family, parameters, FEATURES, 0)
    families.fit(candidate, learn.inputs, learn.labels, learn.weights)
    return _JUDGED.value(later.labels, candidate.predict_proba(later.inputs)[:, 1])


def folded(found: Stream, window: LearningWindow, family: str, parameters: Parameters) -> float:
    """The mean of the time folds that are scored after the change, as the product's backtest has it."""
    moments, known = found.learn.frame[EVENT], windows.counts(window, found.learn.frame[EVENT]) > 0
    alone, _ = windows.folds(found.learn.cutoffs, lambda moment: moment - A_DAY, FOLDS, found.changed_at)
    scores = []
    for fold in alone:
        earlier = found.learn.take(np.flatnonzero(known & (moments <= fold.learn_to)))
        later = found.learn.take(np.flatnonzero(moments.between(fold.score_from, fold.score_to)))
        scores.append(scored(family, parameters, windows.of(window, earlier), later))
    return float(np.mean(scores))


def cell(kind: str, since: int, family: str) -> tuple[object, ...]:
    """One row of the table: thousandths of ROC AUC below the best way of the cell."""
    reached: dict[str, list[float]] = {}
    for seed in range(STREAMS):
        found = stream(kind, since, seed)
        of_ways, parameters = ways(found), SEARCHED[family]
        tried = {
            (name, number): folded(found, window, family, parameters[number])
            for name, window in of_ways.items()
            for number in range(len(parameters))
        }

        def search(name: str, scores: Mapping[tuple[str, int], float] = tried) -> tuple[str, int]:
            return max((each for each in scores if each[0] == name), key=lambda each: scores[each])

        own = [each for each in tried if each[0] in PRODUCT]
        by_default = max((each for each in own if each[1] == 0), key=lambda each: tried[each])
        of_full = search("full")[1]
        chosen = {name: search(name) for name in of_ways}
        chosen["defaults first"] = search(by_default[0])
        chosen["search of full"] = max((each for each in own if each[1] == of_full), key=lambda each: tried[each])
        chosen["all with all"] = max(own, key=lambda each: tried[each])
        for choice, (name, number) in chosen.items():
            learn = windows.of(of_ways[name], found.learn)
            reached.setdefault(choice, []).append(scored(family, parameters[number], learn, found.later))
    means = {choice: float(np.mean(each)) for choice, each in reached.items()}
    best = max(means[name] for name in of_ways)
    return (kind, since, family.replace("_", " "), *(f"{1000 * (best - mean):.0f}" for mean in means.values()))


def main() -> None:
    """Print the table."""
    cells = [(*each, family) for each in CELLS for family in SEARCHED]
    with ProcessPoolExecutor(os.cpu_count(), initializer=threadpool_limits, initargs=(1,)) as pool:
        print(document.table(_HEAD, pool.map(cell, *zip(*cells, strict=True))))


_HEAD = (
    "change",
    "n",
    "family",
    "full",
    "since",
    "half",
    "all",
    "15",
    "the backtest, defaults first",
    "the search of `full`, then the way",
    "all parameters with all ways",
)

if __name__ == "__main__":
    main()
