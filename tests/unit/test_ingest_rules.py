"""The pure rules of ingestion: when rows became known, and that none is lost."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, strategies

from evergreen.errors import PermanentError, RowsUnaccounted
from evergreen.ingest.rules import account, delay, growing, known_at
from evergreen.interval import Interval
from evergreen.settings import PROJECT
from evergreen.spec.load import load_spec

END = datetime(2026, 1, 6, tzinfo=UTC)
COUNTS = strategies.integers(0, 1000)


def test_rows_are_known_when_their_batch_is_complete_whenever_it_is_ingested() -> None:
    assert known_at(Interval.of_day(date(2026, 1, 5))) == END


def test_a_batch_that_may_still_grow_is_named_with_the_moment_when_it_is_complete() -> None:
    spec = load_spec(PROJECT / "include" / "models" / "churn").datasets["churn"]
    assert (growing(spec, END, END), delay(spec)) == ([], timedelta(0))
    usage = spec.sources["usage"].model_copy(update={"complete_after": timedelta(hours=2)})
    slow = spec.model_copy(update={"sources": spec.sources | {"usage": usage}})
    assert growing(slow, END, END + timedelta(minutes=119)) == ["usage (complete at 2026-01-06 02:00 UTC)"]
    assert (growing(slow, END, END + timedelta(hours=2)), delay(slow)) == ([], timedelta(hours=2))


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
    assert "next step: keep the interval's staging folder" in message
