"""A small model with two sources, and what the ingest stages would publish of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from evergreen.interval import Interval
from evergreen.lake import schema
from evergreen.run import DatasetRun, Run
from evergreen.settings import Settings
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.schema import ModelSpec
from tests.small_models import tiny

FIRST = date(2026, 1, 1)
SPEND = """
select customer_id, sum(amount) as spent, count(*) as purchases, max(amount) > 100 as big
from events group by customer_id
"""
PLAN = "select customer_id, plan from customers"
LABEL = """
select customer_id, bool_or(coalesce(e.at >= $cutoff, false)) as bought
from customers c left join events e using (customer_id)
where c.snapshot_at < $cutoff group by customer_id
"""
RAW = {
    "events": pa.schema(
        [
            ("id", pa.string()),
            ("at", pa.timestamp("us", "UTC")),
            ("customer_id", pa.string()),
            ("amount", pa.float64()),
            ("known_at", pa.timestamp("us", "UTC")),
            ("partition", pa.string()),
        ]
    ),
    "customers": pa.schema(
        [
            ("customer_id", pa.string()),
            ("plan", pa.string()),
            ("snapshot_at", pa.timestamp("us", "UTC")),
            ("known_at", pa.timestamp("us", "UTC")),
            ("partition", pa.string()),
        ]
    ),
}


def at(day: float) -> datetime:
    """A moment, counted in days from the first."""
    return datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=day)


def interval(day: int) -> Interval:
    return Interval.of_day(FIRST + timedelta(days=day))


def event(day: float, customer: str, amount: float, name: str | None = None) -> dict[str, Any]:
    return {"id": name or f"{customer}-{day}", "at": at(day), "customer_id": customer, "amount": amount}


@dataclass
class Model:
    """The model's spec, and its published days."""

    spec: ModelSpec

    @property
    def data(self) -> DatasetSpec:
        return self.spec.own_data()

    def run(self, day: int) -> DatasetRun:
        """The dataset's run of a day."""
        return DatasetRun(self.data, interval(day))

    def learns(self, day: int) -> Run:
        """A run of the model's own loops, as of the end of a day."""
        return Run(self.spec, interval(day))

    def publish(self, day: int, events: Sequence[dict[str, Any]], plans: dict[str, str]) -> None:
        """Write and record the raw partitions of one day, as the ingest stages do."""
        from evergreen.lake import catalogue, partitions

        customers = [{"customer_id": c, "plan": p, "snapshot_at": at(day + 0.5)} for c, p in plans.items()]
        for source, rows in (("events", events), ("customers", customers)):
            stamp = {"known_at": interval(day).end, "partition": interval(day).partition}
            table = pa.Table.from_pylist([stamp | row for row in rows], schema=RAW[source])
            newest = self._newest(source, day, rows)
            catalogue.record(
                partitions.replace(
                    schema.RAW.of(self.spec.model, source).at(interval(day).partition),
                    table,
                    known_at=interval(day).end,
                    reaches=newest,
                )
            )

    def _newest(self, source: str, day: int, rows: Iterable[dict[str, Any]]) -> datetime | None:
        """How far a partition reaches, as `ingest.publish` records it: it never reaches less far than before."""
        from evergreen.lake import catalogue

        raw, key = schema.RAW.of(self.spec.model, source), interval(day).partition
        before = catalogue.published(raw, [key]).get(key)
        moments = [before and before.reaches, *(row.get("at") for row in rows)]
        return max((each for each in moments if each is not None and each >= interval(day).end), default=None)

    def stored(self, layer: schema.Layer, name: str) -> list[dict[str, Any]]:
        """Every row of a table of the lake, in a fixed order."""
        from evergreen.lake import tables

        table = tables.read(layer.of(self.spec.model, name))
        rows = [] if table is None else table.to_pylist()
        return sorted(rows, key=lambda row: (row["partition"], row["customer_id"]))


@pytest.fixture
def model(home: Settings, tmp_path: Path) -> Model:
    """A model on a fresh lake and fresh databases."""
    folder = tmp_path / "tiny"
    (folder / "features").mkdir(parents=True)
    (folder / "contracts").mkdir()
    (folder / "features" / "spend.sql").write_text(SPEND)
    (folder / "features" / "plan.sql").write_text(PLAN)
    (folder / "label.sql").write_text(LABEL)
    spec = tiny(
        sources={
            "events": {
                "path": "events/{partition}.csv",
                "event_time": "at",
                "keys": ("id",),
                "columns": {"id": "string", "at": "timestamp", "customer_id": "string", "amount": "float"},
            },
            "customers": {
                "path": "customers/{partition}.csv",
                "event_time": "snapshot_at",
                "keys": ("customer_id", "snapshot_at"),
                "columns": {"customer_id": "string", "plan": "string", "snapshot_at": "timestamp"},
            },
        },
        features={
            "spend": {
                "sources": ("events",),
                "look_back": "3d",
                "features": {"spent": "float", "purchases": "int", "big": "bool"},
            },
            "plan": {"sources": ("customers",), "look_back": "1d", "features": {"plan": "category"}},
        },
        label={"name": "bought", "horizon": "2d", "sources": ("customers", "events")},
    )
    return Model(spec.at(folder))
