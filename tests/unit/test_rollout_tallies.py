"""What looks keep adds up to the same, whichever order and batches the rows came in."""

from __future__ import annotations

import json
from collections import Counter
from functools import reduce
from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.rollout.sequential import judge
from evergreen.rollout.tallies import CELLS, Sums, Tally, cell

rows = st.tuples(
    st.sampled_from((0.05, 0.25, 0.5)), st.integers(0, 1), st.integers(0, CELLS - 1), st.floats(0, 1, allow_nan=False)
)
Row = tuple[float, int, int, float]


def tally(batch: list[Row]) -> Tally:
    """A batch, as a look counts it."""
    return reduce(
        add, (Tally({share: Sums.of([arm], [where], [score])}) for share, arm, where, score in batch), Tally()
    )


@given(st.lists(rows, max_size=30), st.randoms(), st.integers(1, 5))
def test_neither_order_nor_batches_matter(seen: list[Row], random: object, batches: int) -> None:
    shuffled = list(seen)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    whole = tally(seen)
    parts = reduce(add, (tally(shuffled[number::batches]) for number in range(batches)), Tally())
    assert parts == whole
    assert judge({"outcomes": parts}) == judge({"outcomes": whole})


@given(st.lists(rows, max_size=20))
def test_a_look_is_a_row_of_json(seen: list[Row]) -> None:
    stored = json.loads(json.dumps(tally(seen).record()))
    assert Tally.read(stored) == tally(seen)


def test_a_tally_is_as_large_after_a_million_requests() -> None:
    once = Tally({0.05: Sums.of([0, 1], [3, 4], [0.5, 1.0])})
    many = reduce(add, [once] * 20)
    assert many.rows == (20, 20)
    assert len(json.dumps(many.record())) < 1.1 * len(json.dumps(once.record()))


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


def test_a_stored_tally_of_other_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="cells"):
        Tally.read({"0.05": {"rows": [[1], [1]], "totals": [[0], [0]]}})


def test_pairs_add_up_and_are_stored_beside_what_was_dealt() -> None:
    both = Tally(pairs=Sums.of([0, 1, 0, 1], [3, 3, 5, 5], [0.5, 1.0, 0.0, 0.25])) + Tally(
        {0.05: Sums.of([1], [3], [1])}
    )
    assert both.rows == (0, 1) and sum(both.pairs.rows[1]) == 2
    assert Tally.read(json.loads(json.dumps((both + both).record()))) == both + both
    with pytest.raises(ValueError, match="the same requests"):
        Tally(pairs=Sums.of([0], [3], [0.5]))
