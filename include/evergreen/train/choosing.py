"""Which trial of a study is taken: the defaults, unless every time fold says that another one is better. Pure.

The best of several trials is partly the luckiest on few folds, the more so the more are tried. How hard a fold is tells
in the scores of all trials, so they are compared with each other fold by fold.
"""

from __future__ import annotations

from collections.abc import Sequence

from evergreen.spec.measures import Measure


def choose(tried: Sequence[Sequence[float]], measure: Measure) -> int:
    """The place of the trial to take.

    The first one, which has the defaults where they came to their end, is taken unless a later one is better on every
    fold. That one is then taken unless one after it is better than it on every fold, and so on.

    Args:
        tried: of each trial in order, at least one, the score of each fold.
    """
    taken = 0
    for place, scores in enumerate(tried):
        if all(measure.gain(ours, theirs) > 0 for ours, theirs in zip(scores, tried[taken], strict=True)):
            taken = place
    return taken
