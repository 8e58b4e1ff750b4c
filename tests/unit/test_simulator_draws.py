from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evergreen_simulator.draws import Stream, bell, bits, grown, part, uniform

seeds = st.integers(-(2**63), 2**64)
counters = st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=30)


@given(seeds, counters, st.integers(-1000, 1000))
def test_a_draw_depends_on_its_counters_alone_not_on_its_neighbours(seed: int, numbers: list[int], day: int) -> None:
    together = bits(seed, Stream.STATE, np.array(numbers), day)
    alone = [int(bits(seed, Stream.STATE, number, day)[0]) for number in numbers]
    assert together.tolist() == alone


def test_draws_are_what_they_always_were() -> None:
    """Written batches would no longer be reproducible if these changed."""
    assert bits(1, Stream.STATE, np.array([0, 1, -1]), 7).tolist() == [
        9441645295519906897,
        5335114860885753307,
        10204139860973034059,
    ]


def test_seeds_streams_and_counters_give_unrelated_numbers() -> None:
    numbers = np.arange(20_000)
    draws = [
        uniform(seed, stream, numbers, day)
        for seed in (1, 2)
        for stream in (Stream.STATE, Stream.CANCEL)
        for day in (1, 2)
    ]
    correlations = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlations).max() < 0.04
    assert np.abs(np.corrcoef([part(bits(1, Stream.STATE, numbers), n) for n in range(4)]) - np.eye(4)).max() < 0.04


def test_uniform_numbers_fill_the_unit_interval_evenly() -> None:
    draws = uniform(3, Stream.SESSION, np.arange(100_000))
    assert draws.min() >= 0
    assert draws.max() < 1
    assert np.abs(np.histogram(draws, 20, (0, 1))[0] / 5000 - 1).max() < 0.08


def test_a_bell_has_mean_0_and_deviation_1() -> None:
    draws = bell(bits(3, Stream.STATE, np.arange(100_000)))
    assert abs(draws.mean()) < 0.02
    assert abs(draws.std() - 1) < 0.02


def test_growth_is_like_exp_around_0_and_never_falls() -> None:
    near = np.linspace(-1, 1, 21)
    assert np.abs(grown(near) / np.exp(near) - 1).max() < 0.035
    far = grown(np.linspace(-40, 40, 801))
    assert (np.diff(far) >= 0).all()
    assert (far >= 0).all()
