"""A hotel's bookings, each decided at a moment of its own: from within the hour to weeks later, or not yet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from evergreen.interval import Interval
from evergreen.lake import catalogue, partitions, schema
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from tests.small_models import TINY

FIRST, DAYS, LONGEST = date(2026, 1, 1), 18, 8
STAMP = pa.timestamp("us", "UTC")
COLUMNS = {"booking_id": "string", "guest": "string", "booked_at": "timestamp", "rooms": "int"}
DECIDED = {"cancelled": "bool", "decided_at": "timestamp"}
REQUEST = """
select booking_id, guest, booked_at as event_timestamp, rooms
from bookings where booked_at >= $start and booked_at < $end
"""
LABEL = "select booking_id, cancelled, decided_at from bookings where booked_at < $cutoff and decided_at is not null"
SEEN = """
select guest, count(*) as booked, count(cancelled) as decided,
    count(*) filter (where cancelled) as cancelled_before, epoch(max(decided_at)) as newest
from bookings group by guest
"""
BY_GUEST = """
select guest, bool_or(cancelled) as cancels, max(decided_at) as decided_at
from bookings where booked_at >= $cutoff - interval 1 day and booked_at < $cutoff
group by guest having count(cancelled) = count(*)
"""


@dataclass(frozen=True)
class Booking:
    booking_id: str
    guest: str
    booked_at: datetime
    rooms: int
    cancelled: bool
    decided_at: datetime

    @property
    def day(self) -> int:
        return (self.booked_at.date() - FIRST).days


def bookings(per_day: int = 10, days: int = DAYS, seed: int = 3) -> list[Booking]:
    """The truth, of which nobody knows the end of."""
    random, made = np.random.default_rng(seed), []
    for number in range(per_day * days):
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number // per_day, minutes=int(random.integers(1440)))
        rooms = int(random.integers(1, 5))
        cancelled = bool(random.random() < rooms / 5)
        waits = random.exponential(3 if cancelled else 4)  # those that are cancelled are decided sooner
        decided_at = at + timedelta(minutes=round(1440 * min(waits, LONGEST + 2.0)))
        made.append(Booking(f"b{number:05}", f"g{number % 9}", at, rooms, cancelled, decided_at))
    return made


def interval(day: int) -> Interval:
    return Interval.of_day(FIRST + timedelta(days=day))


def write(folder: Path, *, label_sql: str = LABEL, request_sql: str = REQUEST, **changes: Any) -> ModelSpec:
    """The model on its folder; its mistakes are raised."""
    (folder / "features").mkdir(parents=True)
    (folder / "features" / "guests.sql").write_text(changes.pop("view", SEEN))
    (folder / "label.sql").write_text(label_sql)
    (folder / "request.sql").write_text(request_sql)
    (folder / "contracts").mkdir()
    for table, key in (("bookings", "booking_id"), ("guests", "guest")):
        there = {"type": "expect_column_values_to_not_be_null", "column": key, "severity": "critical"}
        (folder / "contracts" / f"{table}.yaml").write_text(yaml.safe_dump({"expectations": [there]}))
    source = {
        "path": "bookings/{partition}.csv",
        "event_time": "booked_at",
        "keys": ["booking_id"],
        "columns": COLUMNS | DECIDED,
        "outcome": {"cancelled": "decided_at"},
    }
    declared = TINY | {
        "model": folder.name,
        "first_day": str(FIRST),
        "entity": {"name": "booking", "key": "booking_id"},
        "references": {"guest": {"key": "guest"}},
        "sources": {"bookings": source | changes.pop("source", {})},
        "features": {
            "guests": {
                "entity": "guest",
                "sources": ["bookings"],
                "look_back": "9d",
                "features": {"booked": "int", "decided": "int", "cancelled_before": "int", "newest": "float"},
            }
        },
        "request": {"sources": ["bookings"], "inputs": {"rooms": "int"}},
        "label": {
            "name": "cancelled",
            "horizon": "4d",
            "known": {"column": "decided_at", "within": f"{LONGEST}d", "share": 0.5},
            "sources": ["bookings"],
        },
        "split": {"window": "16d", "evaluation": "3d", "minimum_rows": 20, "folds": 2},
        "gates": {"minimum_rows": 20, "minimum_positives": 5, "floor": {"roc_auc": 0.5}},
    }
    (folder / "model.yaml").write_text(yaml.safe_dump({k: v for k, v in (declared | changes).items() if v is not None}))
    return load_spec(folder)


def publish(
    spec: ModelSpec, rows: list[Booking], *, updates: bool, days: Iterable[int] = range(DAYS), dated: bool = False
) -> None:
    """Days in the lake. As a history has them: each booking once, with its answer and when it was decided. With
    `updates` as they arrive: a booking on its day without an answer, and again on the day on which it is decided.
    `dated`: of the decision only the day is said."""
    types = [("booking_id", pa.string()), ("guest", pa.string()), ("booked_at", STAMP), ("rooms", pa.int64())]
    types += [
        ("cancelled", pa.bool_()),
        ("decided_at", pa.date32() if dated else STAMP),
        ("known_at", STAMP),
        ("partition", pa.string()),
    ]
    for day in days:
        brought = interval(day)
        stamps = {"known_at": brought.end, "partition": brought.partition}
        raw = []
        for each in rows:
            row = vars(each) | stamps
            if each.day == day:
                raw.append(row if not updates else row | {"cancelled": None, "decided_at": None})
            if updates and brought.start <= each.decided_at < brought.end:
                raw.append(row if each.day == day else row | {"rooms": 99})  # which nobody knew when it was asked
        if updates:  # of one day the newer version counts
            raw = list({row["booking_id"]: row for row in raw}.values())
        place = schema.RAW.of(spec.model, "bookings").at(brought.partition)
        if dated:
            raw = [row | {"decided_at": row["decided_at"].date()} for row in raw]
        table = pa.Table.from_pylist(raw, schema=pa.schema(types))
        catalogue.record(partitions.replace(place, table, known_at=brought.end))


def write_of_guests(folder: Path, label: str) -> ModelSpec:
    """A model of the same data that is asked about every guest at the end of each day."""
    declared = {
        "entity": {"name": "guest", "key": "guest"},
        "references": None,
        "request": None,
        "features": {
            "guests": {
                "sources": ["bookings"],
                "look_back": "9d",
                "features": {"booked": "int", "decided": "int", "cancelled_before": "int", "newest": "float"},
            }
        },
        "label": {
            "name": "cancels",
            "horizon": "4d",
            "known": {"column": "decided_at", "within": f"{LONGEST}d", "share": 0.5},
            "sources": ["bookings"],
        },
        "split": {"window": "40d", "evaluation": "4d", "minimum_rows": 20},
    }
    return write(folder, label_sql=label, **declared)
