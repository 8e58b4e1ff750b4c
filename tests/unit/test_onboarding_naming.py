"""Names made of those that a file has."""

from __future__ import annotations

import re

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.onboarding import naming
from evergreen.spec.columns import RESERVED_KEYS

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("MinTemp", "min_temp"),
        ("customerID", "customer_id"),
        ("InvoiceNo", "invoice_no"),
        ("HTTPStatus", "http_status"),
        ("Ziel Wert", "ziel_wert"),
        ("No-show", "no_show"),
        ("größe", "grosse"),
        ("2nd", "n2nd"),
        ("order", "order_value"),
        ("label", "label_value"),
        ("数", "field"),
    ],
)
def test_a_name_says_what_the_file_says(text: str, name: str) -> None:
    assert naming.name_of(text) == name


@given(st.lists(st.text(max_size=60), unique=True, max_size=20))
def test_every_text_has_a_name_of_its_own_that_a_spec_may_have(texts: list[str]) -> None:
    names = naming.names_of(texts)
    assert len(set(names.values())) == len(texts)
    for name in names.values():
        assert NAME.fullmatch(name) and name not in RESERVED_KEYS


def test_no_name_has_to_be_quoted_in_a_query() -> None:
    keywords = duckdb.sql("select keyword_name from duckdb_keywords()").fetchall()
    assert len(keywords) > 300
    with duckdb.connect() as connection:
        for (keyword,) in keywords:
            name = naming.name_of(keyword)
            connection.execute(f"create or replace table {name}_rows as select 1 as {name}")
            connection.execute(f"alter table {name}_rows alter {name} type double")
            connection.execute(
                f"select {name}, max({name}) as y, {name} - 1 as z from {name}_rows left join {name}_rows as o"
                f" using ({name}) where {name} > 0 and ({name} = 1) is not null group by all"
            ).fetchall()


@pytest.mark.parametrize(
    ("expression", "over_ours"),
    [
        ("sum(Quantity)", "sum(quantity)"),
        ("\"No-show\" = 'No-show'", "no_show = 'No-show'"),
        ("ArrDelay > 15 and status <> 'ArrDelay'", "arr_delay > 15 and status <> 'ArrDelay'"),
    ],
)
def test_an_expression_names_columns_as_the_file_does(expression: str, over_ours: str) -> None:
    names = naming.names_of(["Quantity", "No-show", "ArrDelay", "status"])
    assert naming.renamed(expression, names) == over_ours
