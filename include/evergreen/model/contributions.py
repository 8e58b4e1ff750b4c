"""What each input contributed to a prediction's raw score, against what is usual.

Two ways, whatever the model is:

- *One at a time*: what the score loses on average when the input is taken from other rows. Of a model without
  interactions these add up to the score. That is checked for every row, and they are shown only where they do.
- *Sampled*: Shapley values by random orders, each from a random other row to this one. Each order adds up by itself,
  and how much orders differ is the sampling error that is told.

A library's explainer that knows the model's insides is not asked: of boosted trees with categories it is wrong, and
says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.handovers.explanation import Contribution, Explanation
from evergreen.spec.schema import ModelSpec

Floats = npt.NDArray[np.float64]
Score = Callable[[pd.DataFrame], Floats]

BACKGROUND = 200  # other rows
ORDERS = 400
_CELLS = 20_000_000  # that are predicted from at once: of several hundred inputs there are fewer orders
_FEWEST = 20  # orders, so that their error can be told
_CLOSE = 1e-6  # of the spread of the scores: by so much a sum may differ


def explain(row: pd.DataFrame, background: pd.DataFrame, score: Score, seed: int) -> Explanation:
    """The explanation of a row.

    Args:
        row: one row of inputs.
        background: rows that say what is usual.
        score: gives the raw score of rows.
    """
    random = np.random.default_rng(seed)
    if len(background) > BACKGROUND:
        background = background.iloc[np.sort(random.choice(len(background), BACKGROUND, replace=False))]
    background = background.reset_index(drop=True)
    scores = score(background)
    whole, close = float(score(row)[0]), _CLOSE * max(float(np.ptp(scores)), 1e-9)
    alone = _one_at_a_time(row, background, score, whole)
    usual = float(scores.mean())
    off = abs(usual + sum(alone.values()) - whole)
    if off <= close:
        exact = _ordered({name: (each, 0.0) for name, each in alone.items()})
        return Explanation("one at a time", usual, whole, exact, off)
    usual, sampled = _sampled(row, background, score, random)
    off = abs(usual + sum(value for value, _ in sampled.values()) - whole)
    return Explanation("sampled", usual, whole, _ordered(sampled), off)


def adds_up(explanation: Explanation) -> bool:
    """Whether usual and parts are the score, but for rounding."""
    reach = max(abs(explanation.score), abs(explanation.usual), 1.0)
    return explanation.off <= 1e-6 * reach


def scale_of(spec: ModelSpec, decided: object, predict: Score) -> tuple[str, Score]:
    """The scale of a model that only predicts, and the score on it.

    Args:
        decided: the class that was answered, of a label with several.
        predict: gives what `spec.problem` describes.
    """
    if spec.problem.kind == "numeric":
        return f"in the unit of {spec.label.name}", predict
    if spec.problem.kind == "binary":
        return "probability", predict
    column = list(spec.label.classes).index(str(decided)) if decided in spec.label.classes else 0
    return f"probability of {spec.label.classes[column]}", lambda rows: predict(rows)[:, column]


def _ordered(found: Mapping[str, tuple[float, float]]) -> tuple[Contribution, ...]:
    parts = [Contribution(name, value, error) for name, (value, error) in found.items()]
    return tuple(sorted(parts, key=lambda part: -abs(part.contribution)))


def _one_at_a_time(row: pd.DataFrame, background: pd.DataFrame, score: Score, whole: float) -> dict[str, float]:
    repeated = row.iloc[np.zeros(len(background), int)].reset_index(drop=True)
    return {
        str(name): whole - float(score(repeated.assign(**{str(name): background[name]})).mean()) for name in row.columns
    }


def _sampled(
    row: pd.DataFrame, background: pd.DataFrame, score: Score, random: np.random.Generator
) -> tuple[float, dict[str, tuple[float, float]]]:
    """What is usual among the rows that were drawn, and each input's mean step with its standard error."""
    names = [str(name) for name in row.columns]
    steps = len(names) + 1
    count = min(ORDERS, max(_FEWEST, _CELLS // (steps * len(names))))
    drawn = random.integers(0, len(background), count)
    orders = np.array([random.permutation(len(names)) for _ in range(count)])
    # Step s of an order has the row's values of its first s inputs, and the other row's of the others.
    place = np.argsort(orders, axis=1)
    others = background.iloc[np.repeat(drawn, steps)].reset_index(drop=True)
    step = np.tile(np.arange(steps), count)
    columns = {}
    for number, name in enumerate(names):
        ours = np.repeat(place[:, number], steps) < step
        column = others[name].copy()
        column[ours] = row[name].iloc[0]
        columns[name] = column
    values = score(pd.DataFrame(columns)).reshape(count, steps)
    moves = np.diff(values, axis=1)
    moved = np.take_along_axis(moves, place, axis=1)
    means, errors = moved.mean(axis=0), moved.std(axis=0, ddof=1) / np.sqrt(count)
    found = {name: (float(means[n]), float(errors[n])) for n, name in enumerate(names)}
    return float(values[:, 0].mean()), found
