"""The rows that cannot be judged, found over whole columns, against the rule that looks at row after row."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from evergreen.lake.schema import PLACE, UNPARSED
from evergreen.validate import rules
from evergreen.validate.usable import unusable_rows

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.sampled_from([1, 2, -1, None]),
        st.sampled_from([None, None, None, "spent=ten"]),
    ),
    max_size=12,
)


@given(rows=ROWS, keys=st.sampled_from([["name"], ["name", "number"], ["number"]]))
def test_they_are_those_that_the_rule_names(
    rows: list[tuple[str | None, int | None, str | None]], keys: list[str]
) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * 3
    table = pa.table(
        [
            pa.array(columns[0], pa.string()),
            pa.array(columns[1], pa.int64()),
            pa.array(columns[2], pa.string()),
            pa.array([None if cell is None else f"line {at + 2}" for at, cell in enumerate(columns[2])], pa.string()),
        ],
        ["name", "number", UNPARSED.name, PLACE.name],
    )
    cells = [
        None if cell is None else f"line {at + 2}: {cell} (spent is a number)" for at, cell in enumerate(columns[2])
    ]
    expected = rules.unusable(cells, list(zip(*(table[key].to_pylist() for key in keys), strict=True)))
    unusable = unusable_rows(table, keys, {"spent": lambda _: "a number"})
    assert unusable == expected
    assert list(unusable) == sorted(unusable)
