"""The pure rules of ingestion: when rows became known, and that none is lost."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, strategies

from evergreen.errors import PermanentError, RowsUnaccounted
from evergreen.ingest.rules import account, delay, growing, known_at, version_of
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


DAY = [f"2026-01-0{day}" for day in range(1, 8)]


@pytest.mark.parametrize(
    ("run", "versions", "looked", "now_like", "kept"),
    [
        (5, [], [], None, 1),  # the first that is found counts as known before, whoever finds it
        (3, [1], [1, 2], 1, None),  # nothing changed
        (3, [1], [1, 2], None, 3),  # it did
        (3, [1, 3], [1, 2, 3], 3, 3),  # the same run again, which reads it anew
        (3, [1, 3], [1, 2, 3], None, 3),  # and finds another one, which nobody else saw
        (3, [1, 3], [1, 2, 3, 4], None, None),  # but here a later run had seen that it was the old one
        (2, [1, 3], [1, 2, 3], 3, None),  # an old run again finds what was not known then
        (2, [1, 3], [1, 3], 3, 2),  # a run that was left out, beside the one that followed it: it would have found it
        (2, [1, 4], [1, 3, 4], 4, None),  # but not before one that did not find it
        (2, [1, 3], [1, 3], None, None),  # nor something that came later still
        (4, [1, 3], [1, 2, 3], 1, 4),  # back to what it once was
    ],
)
def test_a_version_is_known_from_when_it_was_first_found_and_not_before(
    run: int, versions: list[int], looked: list[int], now_like: int | None, kept: int | None
) -> None:
    of, day_of = [DAY[each - 1] for each in versions], None if now_like is None else DAY[now_like - 1]
    found = version_of(
        DAY[run - 1],
        DAY[0],
        of,
        [DAY[each - 1] for each in looked],
        refresh="when it changes",
        same=lambda version: version == day_of,
    )
    assert found == (None if kept is None else DAY[kept - 1])


@pytest.mark.parametrize(
    ("run", "same", "kept"), [(2, False, None), (2, True, None), (1, True, 1), (1, False, 1), (3, False, None)]
)
def test_a_table_that_is_read_once_is_read_again_by_nobody_but_its_own_interval(
    run: int, same: bool, kept: int | None
) -> None:
    found = version_of(DAY[run - 1], DAY[0], [DAY[0]], DAY[:2], refresh="never", same=lambda version: same)
    assert found == (None if kept is None else DAY[kept - 1])
