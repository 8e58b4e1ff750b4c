"""A name in SQL text stays a name, whatever stands in it."""

from __future__ import annotations

import duckdb
from hypothesis import given
from hypothesis import strategies as st

from evergreen.sql import quoted

NAMES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=40)


@given(NAMES)
def test_a_quoted_name_names_one_column_and_ends_nothing(name: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"create table named ({quoted(name)} integer)")
        assert connection.sql("describe named").fetchall()[0][:2] == (name, "INTEGER")
        assert connection.sql(f"select {quoted(name)} from named").columns == [name]
