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
    difference = comparing.rows("guest", table(before), table(now))
    assert difference.written == other | (now.keys() - before.keys()) and difference.gone == before.keys() - now.keys()
    assert difference.features == ({"visits", "plan"} if before.keys() ^ now.keys() else changed)


def test_of_a_new_partition_and_of_a_new_feature_everything_is_another() -> None:
    rows = {"a": (1, "x"), "b": (None, None)}
    assert comparing.rows("guest", None, table(rows)).written == {"a", "b"}
    difference = comparing.rows("guest", table(rows, ("visits",)), table(rows))
    assert (difference.written, difference.features) == ({"a"}, {"plan"}), "a null is what it was"
