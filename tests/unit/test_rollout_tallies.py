"""What a look counts is the same, whichever order the rows came in, and whole."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.rollout.tallies import CELLS, Sums, Tally, cell

Row = tuple[int, int, float]
rows = st.tuples(st.integers(0, 1), st.integers(0, CELLS - 1), st.floats(0, 1, allow_nan=False))


def sums(seen: list[Row]) -> Sums:
    return Sums.of([arm for arm, *_ in seen], [where for _, where, _ in seen], [score for *_, score in seen])


@given(st.lists(rows, max_size=30), st.randoms())
def test_the_order_of_rows_does_not_matter_and_each_is_counted_once(seen: list[Row], random: object) -> None:
    shuffled = list(seen)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    whole = sums(seen)
    assert sums(shuffled) == whole
    for arm in (0, 1):
        for where in range(CELLS):
            mine = [round(score * 1_000_000) for each, place, score in seen if (each, place) == (arm, where)]
            assert (whole.rows[arm][where], whole.totals[arm][where]) == (len(mine), sum(mine))


def test_each_row_has_an_arm_a_cell_and_a_score() -> None:
    with pytest.raises(ValueError, match="2, 1 and 2"):
        Sums.of([0, 1], [3], [0.5, 1.0])


def test_entities_are_dealt_to_cells_alike() -> None:
    count = Counter(cell(f"customer-{number}") for number in range(64_000))
    assert len(count) == CELLS and min(count.values()) > 850 and max(count.values()) < 1150
    assert cell("customer-1") == cell("customer-1")


@pytest.mark.parametrize("score", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_score_is_from_0_to_1(score: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Sums.of([0], [0], [score])


@pytest.mark.parametrize(("arm", "where"), [(2, 0), (-1, 0), (0, CELLS), (1, -1)])
def test_a_row_belongs_to_an_arm_and_a_cell(arm: int, where: int) -> None:
    with pytest.raises(ValueError, match="no arm"):
        Sums.of([arm], [where], [0.5])


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, float("nan")])
def test_both_arms_have_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        Tally({share: Sums()})


def test_pairs_are_of_the_same_requests_and_are_not_among_those_that_were_dealt() -> None:
    both = Tally({0.05: Sums.of([1], [3], [1])}, Sums.of([0, 1, 0, 1], [3, 3, 5, 5], [0.5, 1.0, 0.0, 0.25]))
    assert both.rows == (0, 1) and sum(both.pairs.rows[1]) == 2
    with pytest.raises(ValueError, match="the same requests"):
        Tally(pairs=Sums.of([0], [3], [0.5]))
