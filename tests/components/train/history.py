"""A history of features and labels in the lake, as the ingest loop leaves it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from evergreen.lake import catalogue, partitions, schema
from evergreen.spec.schema import ModelSpec

from .conftest import DAYS, at

Row = dict[str, Any]
DAY = timedelta(days=1)
HORIZON = 2
CUSTOMERS = [f"c{number}" for number in range(8)]
STAMPS = [("event_timestamp", pa.timestamp("us", "UTC")), ("known_at", pa.timestamp("us", "UTC"))]
FEATURES = pa.schema(
    [
        ("customer_id", pa.string()),
        ("minutes", pa.float64()),
        ("sessions", pa.int64()),
        ("mobile", pa.bool_()),
        ("plan", pa.string()),
        *STAMPS,
    ]
)
LABELS = pa.schema([("customer_id", pa.string()), ("left", pa.int64()), *STAMPS])


def feature(customer: str, event: datetime, value: float, known: datetime | None = None) -> Row:
    return {
        "customer_id": customer,
        "minutes": value,
        "sessions": int(value),
        "mobile": value > 0,
        "plan": f"p{value:g}",
        "event_timestamp": event,
        "known_at": known or event,
    }


def label(customer: str, cutoff: datetime, left: int, known: datetime | None = None) -> Row:
    return {
        "customer_id": customer,
        "left": left,
        "event_timestamp": cutoff,
        "known_at": known or cutoff + HORIZON * DAY,
    }


def publish(spec: ModelSpec, features: Iterable[Row], labels: Iterable[Row]) -> None:
    """Write each day's partition, and record them, as the ingest stages do."""
    entries = []
    for layer, name, columns, rows in (
        (schema.FEATURES, "activity", FEATURES, features),
        (schema.LABELS, "left", LABELS, labels),
    ):
        frame = pd.DataFrame(rows)
        for event, part in frame.groupby("event_timestamp"):
            table = pa.Table.from_pylist(part.to_dict("records"), columns)
            day = (event - DAY).date().isoformat()
            entries.append(
                partitions.replace(layer.of(spec.model, name).at(day), table, known_at=event.to_pydatetime())
            )
    catalogue.record(*entries)


def telling(customers: int = 40) -> tuple[list[Row], list[Row]]:
    """Features and labels of 20 days: who uses it little leaves more often."""
    random = np.random.default_rng(1)
    features, labels = [], []
    for day in range(DAYS):
        for number in range(customers):
            minutes = float(random.normal(30, 10))
            features.append(feature(f"c{number}", at(day), minutes))
            chance = 1 / (1 + np.exp((minutes - 30) / 4))
            labels.append(label(f"c{number}", at(day), int(random.random() < chance)))
    return features, labels


def a_history(seed: int) -> tuple[list[Row], list[Row]]:
    """Features and labels of 20 days; some came late, some were corrected,
    and some labels claim to have been known too early."""
    random = np.random.default_rng(seed)
    features, labels = [], []
    for day in range(DAYS):
        for customer in CUSTOMERS:
            late = DAY * int(random.choice([0, 0, 0, 1, 4, 30]))  # 30: a backfill after all of this
            features.append(feature(customer, at(day), float(random.integers(1, 10**6)), at(day) + late))
            if random.random() < 0.2:
                features.append(feature(customer, at(day), -1.0, at(day) + late + DAY))  # a correction
            known = at(day + HORIZON) + DAY * int(random.choice([0, 0, 0, 3, 30, -HORIZON]))
            labels.append(label(customer, at(day), int(random.random() < 0.4), known))
    return features, labels
