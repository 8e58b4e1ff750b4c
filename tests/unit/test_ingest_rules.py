"""The pure rules of ingestion: when rows became known, and that none is lost."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given, strategies

from evergreen.errors import PermanentError, RowsUnaccounted
from evergreen.ingest.rules import account, known_at
from evergreen.interval import Interval

COUNTS = strategies.integers(0, 1000)


def test_rows_are_known_when_their_batch_is_complete_whenever_it_is_ingested() -> None:
    assert known_at(Interval.of_day(date(2026, 1, 5))) == datetime(2026, 1, 6, tzinfo=UTC)


@given(COUNTS, COUNTS)
def test_published_and_quarantined_rows_together_are_all_rows(published: int, quarantined: int) -> None:
    account("shop/visits of 2026-01-05", published + quarantined, published, quarantined)


@given(COUNTS, COUNTS, COUNTS)
def test_anything_else_stops_the_run(rows: int, published: int, quarantined: int) -> None:
    if rows == published + quarantined:
        return
    with pytest.raises(RowsUnaccounted) as caught:
        account("shop/visits of 2026-01-05", rows, published, quarantined)
    assert isinstance(caught.value, PermanentError), "a retry would lose them again"
    message = str(caught.value)
    assert "shop/visits of 2026-01-05" in message
    assert f"{rows} in, {published} published, {quarantined} quarantined" in message
    assert "next step: keep the day's staging folder" in message
