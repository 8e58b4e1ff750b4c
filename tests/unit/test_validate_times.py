"""Rows that do not lie in their batch's interval are counted, told, and not used where nothing can be meant by them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from evergreen.interval import Interval
from evergreen.validate import times

DAY = Interval.of_day(date(2026, 1, 11))
ONE = timedelta(days=1)


def outside(*moments: str | None, seen: timedelta | None = ONE) -> times.Outside:
    rows = [moment and datetime.fromisoformat(moment).astimezone(UTC) for moment in moments]
    return times.outside(pa.chunked_array([pa.array(rows, pa.timestamp("us", "UTC"))]), DAY, seen and DAY.end - seen)


def test_rows_of_the_day_are_no_matter() -> None:
    inside = outside("2026-01-11T00:00:00Z", None, "2026-01-11T23:59:59.999999Z")
    assert not inside.any and not list(inside.warnings())
    assert not outside().any


def test_rows_around_the_day_are_counted_and_those_of_another_year_have_a_reason() -> None:
    """shared/cases, rows_outside_the_day: two hours and a half before and after by local time, and a year."""
    found = outside(
        "2026-01-11T00:30:00+01:00",
        "2026-01-11T23:30:00-05:00",
        "2026-01-11T12:00:00+01:00",
        "2025-06-01T12:00:00Z",
        "2027-06-01T12:00:00Z",
    )
    assert (found.late, found.unseen, found.ahead, found.newest) == (1, 1, 1, datetime(2026, 1, 12, 4, 30, tzinfo=UTC))
    assert found.far == {
        3: "far from its interval: 2025-06-01T12:00:00Z",
        4: "far from its interval: 2027-06-01T12:00:00Z",
    }
    assert str(found) == "1 before it, 1 after it, 2 more than 183 days away"
    far, ahead, unseen = found.warnings()
    assert far == "2 rows lie more than 183 days away from the interval: to quarantine"
    assert ahead.startswith("1 row lies after the interval, up to 2026-01-12T04:30:00Z")
    assert unseen.startswith("1 row lies before the interval, and further back than any view looks")


@pytest.mark.parametrize(("seen", "unseen"), [(ONE, 1), (2 * ONE, 0), (None, 0)])
def test_a_late_row_warns_only_where_no_view_counts_it(seen: timedelta | None, unseen: int) -> None:
    found = outside("2026-01-10T12:00:00Z", seen=seen)
    assert (found.late, found.unseen, len(list(found.warnings()))) == (1, unseen, unseen)


@pytest.mark.parametrize("seconds", [-1, 0, 1])
def test_half_a_year_away_is_far(seconds: int) -> None:
    before = DAY.start - times.FAR - timedelta(seconds=seconds)
    after = DAY.end + times.FAR + timedelta(seconds=seconds)
    assert set(outside(before.isoformat()).far) == ({0} if seconds > 0 else set())
    assert set(outside(after.isoformat()).far) == ({0} if seconds >= 0 else set())
