"""Weeks, months and local days through the whole chain and a change of the clock: every row is counted once."""

from __future__ import annotations

import copy
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from evergreen.calendar import Calendar, Length
from evergreen.interval import Interval
from evergreen.labels import stages as labelling
from evergreen.lake import tables
from evergreen.lake.schema import FEATURES, LABELS
from evergreen.loops import inline
from evergreen.settings import Settings, settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from tests.components.ingest.test_ingest_local_days import CONTRACT, HABITS
from tests.small_models import SHOP, write_shop

EVERY = timedelta(hours=6)
LABEL = "select guest_id, true as returns from visits where visits.at >= $cutoff group by guest_id"


def spec_of(folder: Path, calendar: Calendar, look_back: str, horizon: str, first: date) -> ModelSpec:
    declared = copy.deepcopy(SHOP)
    declared |= {"calendar": {"every": calendar.every, "zone": calendar.zone}, "first_day": first.isoformat()}
    declared["features"]["habits"]["look_back"] = look_back
    declared["label"]["horizon"] = horizon
    declared["split"] |= {"window": "400d", "evaluation": horizon}
    declared["monitoring"] |= {"cooldown": horizon}
    write_shop(folder, declared, dict.fromkeys(("visits", "habits"), CONTRACT), HABITS, LABEL)
    return load_spec(folder)


def moments(start: datetime, end: datetime) -> list[datetime]:
    """Of a visit every six hours, for ever, also at the very beginning of an interval."""
    number = -(-int(start.timestamp()) // int(EVERY.total_seconds()))
    first = datetime.fromtimestamp(number * EVERY.total_seconds(), start.tzinfo)
    count = -(-(end - first) // EVERY)
    return [first + n * EVERY for n in range(count)]


def land(interval: Interval) -> None:
    file = Path(settings().landing) / "shop" / "visits" / f"{interval.partition}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{moment:%y%m%d%H},g1,{moment.isoformat()},1.0,walk-in" for moment in moments(interval.start, interval.end)
    ]
    file.write_text("\n".join(["visit_id,guest_id,at,spent,kind", *lines]) + "\n")


@pytest.mark.parametrize(
    ("every", "zone", "look_back", "horizon"),
    [
        ("week", "Europe/Berlin", "2w", "1w"),
        ("month", "America/New_York", "45d", "30d"),
        ("day", "Europe/Berlin", "2d", "1d"),
    ],
)
def test_features_and_labels_of_a_calendar(
    every: Length,
    zone: str,
    look_back: str,
    horizon: str,
    home: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EVERGREEN_LANDING", str(tmp_path / "landing"))
    settings.cache_clear()
    calendar = Calendar(every, zone)
    spec = spec_of(tmp_path / "shop", calendar, look_back, horizon, date(2026, 10, 23))
    begin = spec.first_interval
    intervals = calendar.between(begin, calendar.interval_of(begin.start + 4 * calendar.longest))[:4]
    for interval in intervals:
        land(interval)
    for number in (1, 3, 0, 2):  # in any order
        inline.run(inline.of(spec.own_data(), intervals[number]), "ingest", last="publish_features")
    features = tables.read(FEATURES.of("shop", "habits"))
    assert features is not None
    counted = {row["partition"]: row["visits_7d"] for row in features.to_pylist()}
    seen = spec.features["habits"].look_back
    assert counted == {
        each.partition: len(moments(max(calendar.earlier(each.end, seen), begin.start), each.end)) for each in intervals
    }
    labelling.labels(inline.of(spec, intervals[-1]))
    stored = tables.read(LABELS.of("shop", "returns"))
    assert stored is not None
    known = {row["partition"]: row["known_at"] for row in stored.sort_by("partition").to_pylist()}

    assert list(known) == [each.partition for each in intervals[:3]]
    assert [*known.values()] == [each.end for each in intervals[1:]], "with the interval that closes them"
