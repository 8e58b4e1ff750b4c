"""What differs between two contents of a feature partition, by entity and by feature."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from evergreen.correct import comparing

ROWS = st.dictionaries(
    st.sampled_from("abcdef"), st.tuples(st.none() | st.integers(0, 2), st.none() | st.sampled_from(["x", "y"]))
)


def table(rows: dict[str, tuple[Any, Any]], columns: tuple[str, ...] = ("visits", "plan")) -> pa.Table:
    schema = {"guest": pa.string(), "visits": pa.int64(), "plan": pa.string(), "known_at": pa.int64()}
    cells = [{"guest": guest, "visits": visits, "plan": plan, "known_at": 7} for guest, (visits, plan) in rows.items()]
    names = ["guest", *columns, "known_at"]
    return pa.Table.from_pylist(cells, pa.schema(schema)).select(names)


@given(ROWS, ROWS)
def test_it_is_what_comparing_every_value_says(before: dict[str, Any], now: dict[str, Any]) -> None:
    both = before.keys() & now.keys()
    other = {guest for guest in both if before[guest] != now[guest]}
    changed = {name for at, name in enumerate(("visits", "plan")) if any(before[g][at] != now[g][at] for g in both)}
    difference = comparing.rows(["guest"], table(before), table(now))
    assert difference.written == other | (now.keys() - before.keys()) and difference.gone == before.keys() - now.keys()
    assert difference.features == ({"visits", "plan"} if before.keys() ^ now.keys() else changed)


def test_of_a_new_partition_and_of_a_new_feature_everything_is_another() -> None:
    rows = {"a": (1, "x"), "b": (None, None)}
    assert comparing.rows(["guest"], None, table(rows)).written == {"a", "b"}
    difference = comparing.rows(["guest"], table(rows, ("visits",)), table(rows))
    assert (difference.written, difference.features) == ({"a"}, {"plan"}), "a null is what it was"


@given(ROWS, ROWS)
def test_an_entity_of_several_keys_is_told_apart_by_all_of_them(before: dict[str, Any], now: dict[str, Any]) -> None:
    """One of them a number: the keys that come out are as Feast takes them."""

    def several(rows: dict[str, Any]) -> pa.Table:
        numbers = pa.array([ord(guest) % 2 for guest in rows], pa.int64())
        return table(rows).append_column("room", numbers)

    def of(guests: set[str]) -> set[tuple[str, int]]:
        return {(guest, ord(guest) % 2) for guest in guests}

    other = {guest for guest in before.keys() & now.keys() if before[guest] != now[guest]}
    difference = comparing.rows(["guest", "room"], several(before), several(now))
    assert difference.written == of(other | (now.keys() - before.keys()))
    assert difference.gone == of(before.keys() - now.keys())
    assert all(type(room) is int for _, room in difference.written | difference.gone)


def test_a_key_that_is_a_number_comes_out_as_one_of_pythons() -> None:
    rows = pa.table({"product": pa.array([1, 2], pa.int64()), "spent": [1.0, 2.0]})
    assert [type(key) for key in comparing.rows(["product"], rows.slice(0, 1), rows).written] == [int]
    assert [type(key) for key in comparing.rows(["product"], None, rows).written] == [int, int]
