"""A hotel whose bookings arrive day by day, undecided, and again on the day on which they are decided; with two tables
for all intervals: of agents, which changes, and of rates with the time in which each holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from evergreen.interval import DAY, Interval
from tests.small_models import TINY

FIRST, DAYS, PER_DAY, LONGEST = date(2026, 1, 1), 24, 24, 8
AGENTS = {  # the day from which on the file of agents is such → agent → kind
    0: {"a": "web", "b": "web", "c": "desk"},
    9: {"a": "web", "b": "phone", "c": "desk", "d": "desk"},
    19: {"a": "desk", "b": "phone", "c": "desk", "d": "desk"},
}
RATES = """agent,valid_from,valid_to,rate
a,2025-12-01,2026-01-11T12:00:00Z,80
a,2026-01-11T12:00:00Z,2026-01-21,95
a,2026-01-21,,70
b,2025-12-01,,60
c,2026-01-03,,110
d,2025-12-01,,90
"""
REQUEST = """
select b.booking_id, b.guest, b.agent as of_agent, b.booked_at as event_timestamp, b.rooms, b.days_ahead, a.kind, r.rate
from bookings b left join agents a using (agent) left join rates r
    on r.agent = b.agent and b.booked_at >= r.valid_from and (r.valid_to is null or b.booked_at < r.valid_to)
where b.booked_at >= $start and b.booked_at < $end
"""
LABEL = "select booking_id, cancelled, decided_at from bookings where booked_at < $cutoff and decided_at is not null"
BY_AGENT = """
select b.agent as of_agent, count(*) as booked, count(*) filter (where b.cancelled) as cancelled_before,
    count(b.cancelled) as decided, any_value(a.kind) as kind_now, any_value(r.rate) as rate_now
from bookings b left join agents a using (agent) left join rates r on r.agent = b.agent and r.valid_to is null
group by all
"""
BY_GUEST = "select guest, count(*) as stays, count(*) filter (where cancelled) as cancels from bookings group by guest"


@dataclass(frozen=True)
class Booking:
    """The truth about one, of which nobody knows the end when it is made."""

    booking_id: str
    guest: str
    agent: str
    booked_at: datetime
    rooms: int
    days_ahead: int
    cancelled: bool
    decided_at: datetime

    @property
    def day(self) -> int:
        return (self.booked_at.date() - FIRST).days

    @property
    def decided_on(self) -> int:
        return (self.decided_at.date() - FIRST).days

    @property
    def known_at(self) -> datetime | None:
        """When its outcome arrived; None: so late that nobody waits any more."""
        known = interval(max(self.decided_on, self.day)).end
        return known if known <= interval(self.day).end + LONGEST * DAY else None

    def rate(self) -> float | None:
        """What the agent took when it was made."""
        at = pd.Timestamp(self.booked_at)
        for line in RATES.splitlines()[1:]:
            agent, since, until, rate = line.split(",")
            after = pd.to_datetime(since, utc=True) <= at
            if agent == self.agent and after and (not until or at < pd.to_datetime(until, utc=True)):
                return float(rate)
        return None

    def kind(self) -> str | None:
        """What the file of agents said when the day began, by the versions that were found."""
        known = [since for since in AGENTS if since == 0 or since < self.day]
        return AGENTS[known[-1]].get(self.agent)

    def request(self) -> dict[str, Any]:
        """What a client sends, made without the model's SQL."""
        entity = {"booking_id": self.booking_id, "guest": self.guest, "of_agent": self.agent, "rooms": self.rooms}
        entity |= {"days_ahead": self.days_ahead, "kind": self.kind(), "rate": self.rate()}
        return {"entity": entity, "as_of": self.booked_at.isoformat()}


def interval(day: int) -> Interval:
    return Interval.of_day(FIRST + timedelta(days=day))


def truth(days: int = DAYS, per_day: int = PER_DAY, seed: int = 3) -> list[Booking]:
    """How long ahead it is booked and through whom decides who cancels; who cancels is decided sooner."""
    random, made = np.random.default_rng(seed), []
    for number in range(days * per_day):
        day = number // per_day
        at = datetime.combine(FIRST, time(), UTC) + timedelta(days=day, minutes=int(random.integers(1440)))
        agent, ahead = "abcd"[int(random.integers(4))], int(min(random.exponential(3), LONGEST + 2))
        chance = 1 / (1 + np.exp(-(ahead - 3 + 2.5 * (agent == "b"))))
        cancelled = bool(random.random() < chance)
        waits = ahead * (random.random() if cancelled else 1.0)
        decided_at = at + timedelta(minutes=round(1440 * waits))
        rooms = int(random.integers(1, 5))
        made.append(Booking(f"k{number:05}", f"g{number % 37:02}", agent, at, rooms, ahead, cancelled, decided_at))
    return made


def deliver(landing: Path, bookings: Sequence[Booking], days: Iterable[int]) -> None:
    """The batches of some days: what was booked then, and what was decided; and the rates."""
    (landing / "bookings").mkdir(parents=True, exist_ok=True)
    (landing / "rates.csv").write_text(RATES)
    for day in days:
        rows: dict[str, Mapping[str, Any]] = {}
        for each in bookings:
            if day in (each.day, each.decided_on):
                told = each.decided_on == day
                row = vars(each) | {"booked_at": each.booked_at.isoformat()}
                row |= {"decided_at": each.decided_at.isoformat() if told else None}
                rows[each.booking_id] = row | {"cancelled": each.cancelled if told else None}
        pd.DataFrame([*rows.values()]).to_csv(landing / "bookings" / f"{interval(day).partition}.csv", index=False)


def agents(landing: Path, day: int) -> None:
    """The file of agents as it is on a day."""
    kinds = AGENTS[max(since for since in AGENTS if since <= day)]
    landing.mkdir(parents=True, exist_ok=True)
    (landing / "agents.csv").write_text("agent,kind\n" + "".join(f"{agent},{kind}\n" for agent, kind in kinds.items()))


def without(bookings: Sequence[Booking], guest: str) -> list[Booking]:
    """The same, had a guest never been there."""
    return [each for each in bookings if each.guest != guest]


def turned(bookings: Sequence[Booking], number: int) -> list[Booking]:
    """The same, but one was decided the other way."""
    return [replace(each, cancelled=not each.cancelled) if at == number else each for at, each in enumerate(bookings)]


def write(folder: Path, **changes: Any) -> Path:
    """The model with its data, in one folder."""
    for below in ("contracts", "features"):
        (folder / below).mkdir(parents=True)
    for name, text in (("request", REQUEST), ("label", LABEL)):
        (folder / f"{name}.sql").write_text(text)
    (folder / "features" / "by_agent.sql").write_text(BY_AGENT)
    (folder / "features" / "by_guest.sql").write_text(BY_GUEST)
    for table, key in {
        "bookings": "booking_id",
        "agents": "agent",
        "rates": "agent",
        "by_agent": "of_agent",
        "by_guest": "guest",
    }.items():
        there = {"type": "expect_column_values_to_not_be_null", "column": key, "severity": "critical"}
        (folder / "contracts" / f"{table}.yaml").write_text(yaml.safe_dump({"expectations": [there]}))
    sources: dict[str, dict[str, Any]] = {
        "bookings": {
            "path": "bookings/{partition}.csv",
            "event_time": "booked_at",
            "keys": ["booking_id"],
            "columns": {
                "booking_id": "string",
                "guest": "string",
                "agent": "string",
                "booked_at": "timestamp",
                "rooms": "int",
                "days_ahead": "int",
                "cancelled": "bool",
                "decided_at": "timestamp",
            },
            "outcome": {"cancelled": "decided_at"},
        },
        "agents": {
            "path": "agents.csv",
            "refresh": "when it changes",
            "keys": ["agent"],
            "columns": {"agent": "string", "kind": "string"},
        },
        "rates": {
            "path": "rates.csv",
            "refresh": "never",
            "valid_from": "valid_from",
            "valid_to": "valid_to",
            "keys": ["agent"],
            "columns": {"agent": "string", "valid_from": "timestamp", "valid_to": "timestamp", "rate": "float"},
        },
    }
    of_sources = changes.pop("of_sources", {})
    declared = TINY | {
        "model": folder.name,
        "first_day": str(FIRST),
        "schedule": {"train": "0 2 * * 4"},
        "entity": {"name": "booking", "key": "booking_id"},
        "references": {"guest": {"key": "guest"}, "seller": {"key": "of_agent"}},
        "sources": {name: keys | of_sources.get(name, {}) for name, keys in sources.items()},
        "features": {
            "by_agent": {
                "entity": "seller",
                "sources": ["bookings", "agents", "rates"],
                "look_back": "9d",
                "features": {
                    "booked": "int",
                    "cancelled_before": "int",
                    "decided": "int",
                    "kind_now": "category",
                    "rate_now": "float",
                },
            },
            "by_guest": {
                "entity": "guest",
                "sources": ["bookings"],
                "look_back": "9d",
                "features": {"stays": "int", "cancels": "int"},
            },
        },
        "request": {
            "sources": ["bookings", "agents", "rates"],
            "inputs": {"rooms": "int", "days_ahead": "int", "kind": "category", "rate": "float"},
        },
        "label": {
            "name": "cancelled",
            "horizon": "3d",
            "known": {"column": "decided_at", "within": f"{LONGEST}d", "share": 0.5},
            "sources": ["bookings"],
        },
        "split": {"window": "16d", "evaluation": "3d", "minimum_rows": 20, "folds": 2},
        "gates": {"minimum_rows": 40, "minimum_positives": 5, "floor": {"roc_auc": 0.6}},
        "monitoring": {"minimum_rows": 10, "cooldown": "3d"},
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(declared | changes))
    return folder
