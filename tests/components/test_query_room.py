"""A query over more rows than it has memory for: they are read piece by piece, and the rest of them is put aside."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from evergreen.spec.query import Room, connected
from evergreen.spec.runner import Query, opened, schema
from evergreen.spec.schema import ModelSpec
from tests.small_models import tiny

PIECES, ROWS = 12, 100_000
START = datetime(2026, 1, 1, tzinfo=UTC)
SPENT = "select customer_id, sum(length(id) / 7.0) as spent from events group by customer_id"


def _pieces(spec: ModelSpec, folder: Path, aside: list[int]) -> Iterator[pa.Table]:
    """Rows whose keys are those of the piece before it, every second time: newer versions of them; notes how many bytes
    are put aside by then."""
    moments = pa.array(np.datetime64("2026-01-01", "us") + np.arange(ROWS), pa.timestamp("us"))
    for number in range(PIECES):
        aside.append(sum(file.stat().st_size for file in folder.iterdir()))
        identity = pa.array([f"an event with a long name {number // 2}/{row}" for row in range(ROWS)])
        customer = pa.array([f"customer {(row + number) % 500}" for row in range(ROWS)])
        known = pa.array([START.replace(tzinfo=None) + timedelta(hours=number)] * ROWS, pa.timestamp("us"))
        columns = {"id": identity, "at": moments, "customer_id": customer, "known_at": known}
        yield pa.table(columns).select(schema(spec.sources["events"]).names)


def _result(spec: ModelSpec, folder: Path, room: Room | None) -> tuple[pa.Table, int]:
    aside: list[int] = []
    query = Query.of_view(spec.own_data(), "spend")
    end = START + timedelta(days=3)
    with opened(
        query, lambda source: _pieces(spec, folder, aside), START, end, end, room and connected(room)
    ) as tables:
        return tables.run(SPENT, {"as_of": end}, seconds=120), max(aside)


def test_rows_that_have_no_room_are_put_aside_and_the_result_is_the_same(tmp_path: Path) -> None:
    spec = tiny()
    plain, _ = _result(spec, tmp_path, None)
    bounded, aside = _result(spec, tmp_path, Room(60_000_000, tmp_path))
    assert plain.num_rows == 500 and bounded.equals(plain)
    assert aside > 5_000_000, "nothing had to be put aside: the test tries nothing"
    assert not list(tmp_path.iterdir()), "it is gone with the query"


@pytest.mark.parametrize("without_key", [True, False])
@pytest.mark.parametrize("order", [("id", "amount", "customer_id", "at"), ("at", "customer_id", "id", "amount")])
def test_the_order_of_rows_and_pieces_changes_no_bit_of_a_float(
    tmp_path: Path, order: tuple[str, ...], without_key: bool
) -> None:
    """The order of the lake's files is that in which days were ingested; rows stand in the order of all columns."""
    kinds = {"id": "string", "at": "timestamp", "customer_id": "string", "amount": "float"}
    columns = {name: kinds[name] for name in order}
    spec = tiny(sources={"events": {"path": "e", "event_time": "at", "keys": ("id",), "columns": columns}})
    random, rows = np.random.default_rng(0), 3000
    # One without a key is the version of no other.
    keys = [None if without_key and row % 7 == 0 else f"e{row}" for row in range(rows)]
    table = pa.table(
        {
            "id": keys,
            "at": pa.array(np.datetime64("2026-01-01", "us") + np.arange(rows) % 20, pa.timestamp("us")),
            "customer_id": [f"c{row % 50}" for row in range(rows)],
            "amount": random.normal(size=rows) * 10.0 ** random.integers(-5, 6, rows),
            "known_at": pa.array([START.replace(tzinfo=None)] * rows, pa.timestamp("us")),
        }
    ).select(schema(spec.sources["events"]).names)
    query, end, results = Query.of_view(spec.own_data(), "spend"), START + timedelta(days=3), []
    for _ in range(5):
        shuffled = table.take(pa.array(random.permutation(rows)))
        pieces = [shuffled.slice(0, 1000), shuffled.slice(1000)]
        with opened(
            query, lambda _, pieces=pieces: pieces, START, end, end, connected(Room(100_000_000, tmp_path))
        ) as tables:
            text = "select customer_id, sum(amount) as spent from events group by customer_id"
            results.append(tables.run(text, {"as_of": end}, seconds=60))
    assert all(result.equals(results[0]) for result in results)
    expected = dict.fromkeys((f"c{customer}" for customer in range(50)), 0.0)
    in_order = table.sort_by([(name, "ascending") for name in order])  # null keys last, as in DuckDB
    for customer, amount in zip(in_order["customer_id"].to_pylist(), in_order["amount"].to_pylist(), strict=True):
        expected[customer] += amount
    assert dict(zip(results[0]["customer_id"].to_pylist(), results[0]["spent"].to_pylist(), strict=True)) == expected


@pytest.mark.parametrize("share", [0.0, 0.01, 0.9])
def test_the_newest_version_of_a_row_counts_whether_few_or_many_have_several(tmp_path: Path, share: float) -> None:
    spec, rows, random = tiny(), 2000, np.random.default_rng(1)
    first = pd.DataFrame(
        {
            "id": [f"e{row}" if row % 100 else None for row in range(rows)],
            "at": pd.Timestamp(2026, 1, 1) + pd.to_timedelta(np.arange(rows), unit="min"),
            "customer_id": [f"c{row % 30}" for row in range(rows)],
            "known_at": pd.Timestamp(2026, 1, 3),
        }
    )
    later = first[random.random(rows) < share].assign(customer_id="corrected", known_at=pd.Timestamp(2026, 1, 4))
    moved = later["id"].fillna("").str.endswith("7")
    later.loc[moved, "at"] = pd.Timestamp(2026, 2, 1)  # out of the span: then the row is in none
    unknown = first.head(50).assign(customer_id="not known yet", known_at=pd.Timestamp(2026, 1, 9))
    every = pd.concat([first, later, unknown], ignore_index=True)
    known = every[every["known_at"] <= pd.Timestamp(2026, 1, 5)]
    named = known[known["id"].notna()].sort_values("known_at", kind="stable").drop_duplicates("id", keep="last")
    kept = pd.concat([named, known[known["id"].isna()]])
    expected = kept[kept["at"] < pd.Timestamp(2026, 1, 5)].groupby("customer_id").size().to_dict()
    query, names = Query.of_view(spec.own_data(), "spend"), schema(spec.sources["events"])
    table = pa.Table.from_pandas(every[names.names], preserve_index=False).cast(names)
    end = START + timedelta(days=4)
    with opened(query, lambda _: [table], START, end, end, connected(Room(100_000_000, tmp_path))) as tables:
        text = "select customer_id, count(*) as spent from events group by customer_id"
        counted = tables.run(text, {"as_of": end}, seconds=60)
    assert dict(zip(counted["customer_id"].to_pylist(), counted["spent"].to_pylist(), strict=True)) == expected
