"""Rows stamped at the start of what they tell of: nobody sees one before that is over, and none is lost at a bound."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from evergreen.errors import PermanentError
from evergreen.features import computing, rules
from evergreen.interval import Interval
from evergreen.lake import catalogue, partitions, schema
from evergreen.settings import Settings
from evergreen.spec.asking import OnRequest
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from tests.small_models import TINY

FIRST, DAYS = date(2026, 3, 27), 4  # the clock of Berlin is put forward in the night to the 29th
START = datetime(2026, 3, 27, tzinfo=UTC)
SEEN = """
select place, count(*) as hours, epoch(max(w.at))::bigint as newest, epoch(min(w.at))::bigint as oldest
from weather w group by place
"""
REQUEST = """
select v.visit_id as request_id, v.place, v.at as event_timestamp,
    (select max_by(w.rain, w.at) from weather w where w.place = v.place and {then} <= v.at) as rain
from visits v where v.at >= $start and v.at < $end
"""
PLACED = {"type": "expect_column_values_to_not_be_null", "column": "place", "severity": "critical"}


def write(folder: Path, *, covers: str, then: str = "w.at + interval 1 hour", zone: str = "UTC") -> ModelSpec:
    for below in ("features", "contracts"):
        (folder / below).mkdir(parents=True)
    (folder / "features" / "seen.sql").write_text(SEEN)
    (folder / "label.sql").write_text("select visit_id, place = 'here' as stays from visits")
    (folder / "request.sql").write_text(REQUEST.format(then=then).replace("v.visit_id as request_id", "v.visit_id"))
    for table in ("weather", "visits", "seen"):
        (folder / "contracts" / f"{table}.yaml").write_text(yaml.safe_dump({"expectations": [PLACED]}))
    sources: dict[str, Any] = {
        "visits": {
            "path": "visits/{partition}.csv",
            "event_time": "at",
            "keys": ["visit_id"],
            "columns": {"visit_id": "string", "place": "string", "at": "timestamp"},
        },
        "weather": {
            "path": "weather/{partition}.csv",
            "event_time": "at",
            "covers": covers,
            "keys": ["place", "at"],
            "columns": {"place": "string", "at": "timestamp", "rain": "float"},
        },
    }
    declared = TINY | {
        "model": folder.name,
        "calendar": {"zone": zone},
        "first_day": str(FIRST),
        "entity": {"name": "visit", "key": "visit_id"},
        "references": {"place": {"key": "place"}},
        "sources": sources,
        "features": {
            "seen": {
                "entity": "place",
                "sources": ["weather"],
                "look_back": "1d",
                "features": {"hours": "int", "newest": "int", "oldest": "int"},
            }
        },
        "request": {"sources": ["visits", "weather"], "inputs": {"rain": "float"}},
        "label": {"name": "stays", "horizon": "1d", "sources": ["visits"]},
        "gates": {"minimum_rows": 40, "floor": {"roc_auc": 0.5}},
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(declared))
    return load_spec(folder)


def publish(spec: ModelSpec, stamps: list[datetime], visits: list[datetime]) -> None:
    """Each row in the partition of its own interval."""
    stamp, text = pa.timestamp("us", "UTC"), pa.string()
    weather = [{"place": "here", "at": at, "rain": float(number)} for number, at in enumerate(stamps)]
    asked = [{"visit_id": str(number), "place": "here", "at": at} for number, at in enumerate(visits)]
    columns = {
        "weather": [("place", text), ("at", stamp), ("rain", pa.float64())],
        "visits": [("visit_id", text), ("place", text), ("at", stamp)],
    }
    last = spec.calendar.interval_of(START + timedelta(days=DAYS))
    for each in spec.calendar.between(spec.first_interval, last):
        for name, rows in (("weather", weather), ("visits", asked)):
            own = [
                row | {"known_at": each.end, "partition": each.partition}
                for row in rows
                if each.start <= row["at"] < each.end  # type: ignore[operator]  # a moment, among texts
            ]
            table = pa.Table.from_pylist(
                own, schema=pa.schema([*columns[name], ("known_at", stamp), ("partition", text)])
            )
            place = schema.RAW.of(spec.model, name).at(each.partition)
            catalogue.record(partitions.replace(place, table, known_at=each.end, reaches=None))


def span_of(spec: ModelSpec, interval: Interval) -> rules.Span:
    return next(s for s in rules.feature_spans(spec.own_data(), "seen", interval) if s.interval == interval)


def seen(spec: ModelSpec, interval: Interval) -> list[tuple[int, datetime, datetime]]:
    rows = computing.features(spec.own_data(), "seen", span_of(spec, interval)).to_pylist()
    return [(row["hours"], *(datetime.fromtimestamp(row[each], UTC) for each in ("oldest", "newest"))) for row in rows]


def test_a_view_sees_the_rows_that_end_in_its_span_and_reads_the_partition_in_which_they_began(
    home: Settings, tmp_path: Path
) -> None:
    spec = write(tmp_path / "town", covers="1h")
    half = timedelta(minutes=30)
    hours = [START + half + timedelta(hours=number) for number in range(24 * DAYS)]
    publish(spec, hours, [])
    second = Interval.of_day(FIRST + timedelta(days=1))
    assert span_of(spec, second).waits_for == ("2026-03-27", "2026-03-28")
    # 00:30 to 22:30 of the day, and 23:30 of the day before; 23:30 of the day itself is not over.
    assert seen(spec, second) == [(24, second.start - half, second.end - 3 * half)]


def test_a_total_of_a_day_is_seen_when_the_day_is_over_however_long_it_was(home: Settings, tmp_path: Path) -> None:
    spec = write(tmp_path / "town", covers="1d", zone="Europe/Berlin")
    days = spec.calendar.between(spec.first_interval, spec.calendar.at("2026-03-30"))
    publish(spec, [day.start for day in days], [])
    for day in days:  # one of them has 23 hours
        assert seen(spec, day) == [(1, day.start, day.start)]


def test_who_publishes_a_day_looks_at_the_spans_in_which_its_rows_end(home: Settings, tmp_path: Path) -> None:
    spec = write(tmp_path / "town", covers="1h")
    day = Interval.of_day(FIRST)
    assert [span.partition for span in rules.feature_spans(spec.own_data(), "seen", day)] == [
        "2026-03-27",
        "2026-03-28",
    ]
    plain = spec.own_data()
    weather = plain.sources["weather"].model_copy(update={"covers": timedelta(0)})
    plain = plain.model_copy(update={"sources": plain.sources | {"weather": weather}})
    assert [span.partition for span in rules.feature_spans(plain, "seen", day)] == ["2026-03-27"]


@pytest.mark.parametrize(("then", "leaks"), [("w.at", True), ("w.at + interval 1 hour", False)])
def test_a_request_that_sees_the_hour_in_which_it_was_asked_fails(
    home: Settings, tmp_path: Path, then: str, leaks: bool
) -> None:
    spec = write(tmp_path / "town", covers="1h", then=then)
    hours = [START + timedelta(hours=number) for number in range(24 * DAYS)]
    asked = [START + timedelta(days=1, hours=number, minutes=20) for number in range(3, 20)]
    publish(spec, hours, asked)
    day = Interval.of_day(FIRST + timedelta(days=1))
    span = next(each for each in rules.label_spans(spec, day) if each.interval == day)
    assert isinstance(spec.asking, OnRequest)
    if leaks:
        with pytest.raises(PermanentError, match="change when rows after it are taken away from weather"):
            computing.requests(spec.asking, span)
        return
    rows = computing.requests(spec.asking, span).to_pylist()
    assert [row["rain"] for row in rows] == [float(24 + row["event_timestamp"].hour - 1) for row in rows]
