"""Which trial is taken: noise alone takes none from the defaults, what is really better does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.spec.measures import MEASURES
from evergreen.train.choosing import choose

AUC, LOSS = MEASURES["roc_auc"], MEASURES["log_loss"]


@pytest.mark.parametrize(
    ("other", "place"),
    [
        ((0.81, 0.61, 0.91), 1),
        ((0.80, 0.61, 0.91), 0),  # as good on a fold
        ((0.99, 0.99, 0.89), 0),  # better on average, worse on the newest fold
        ((0.8001, 0.6001, 0.95), 1),
    ],
)
def test_another_trial_has_to_be_better_on_every_fold(other: tuple[float, ...], place: int) -> None:
    assert choose([(0.8, 0.6, 0.9), other], AUC) == place


def test_what_takes_the_place_of_another_has_to_be_better_than_that_one() -> None:
    tried = [(0.8, 0.6), (0.82, 0.62), (0.9, 0.61), (0.83, 0.63), (0.83, 0.63), (0.99, 0.6)]
    assert choose(tried, AUC) == 3


def test_of_a_loss_less_is_better() -> None:
    assert choose([(0.5, 0.4), (0.49, 0.39), (0.6, 0.5)], LOSS) == 1


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=6))
def test_what_is_taken_is_never_worse_than_the_defaults_on_a_fold(tried: list[list[float]]) -> None:
    taken = tried[choose(tried, AUC)]
    assert all(ours >= theirs for ours, theirs in zip(taken, tried[0], strict=True))


def test_noise_seldom_beats_the_defaults_and_a_real_gain_mostly_does() -> None:
    """Eight trials on three folds, as `new` writes them; a fold's difficulty is common to all of them."""
    random, count = np.random.default_rng(1), 400

    def share(gain: float) -> float:
        found = 0
        for _ in range(count):
            hard = random.normal(0.7, 0.1, 3)
            scores = hard + random.normal(0, 0.01, (8, 3))
            scores[1] += gain
            found += choose(scores.tolist(), AUC) == 1
        return found / count

    assert share(0.0) < 0.15
    assert share(0.05) > 0.9
