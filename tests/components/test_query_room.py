"""A query over more rows than it has memory for: they are read piece by piece, and the rest of them is put aside."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from evergreen.spec.query import Room
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
    with opened(query, lambda source: _pieces(spec, folder, aside), START, end, room) as tables:
        return tables.run(SPENT, {"as_of": end}, seconds=120), max(aside)


def test_rows_that_have_no_room_are_put_aside_and_the_result_is_the_same(tmp_path: Path) -> None:
    spec = tiny()
    plain, _ = _result(spec, tmp_path, None)
    bounded, aside = _result(spec, tmp_path, Room(60_000_000, tmp_path))
    assert plain.num_rows == 500 and bounded.equals(plain)
    assert aside > 5_000_000, "nothing had to be put aside: the test tries nothing"
    assert not list(tmp_path.iterdir()), "it is gone with the query"
