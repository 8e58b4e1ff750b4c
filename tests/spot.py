"""The offers of the model `spot` (tests/specs/valid/spot), eighty a day: what is asked tells the price a day later."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

A_DAY = 80


def offers(day: date) -> pd.DataFrame:
    """The rows of a day: a function of the day."""
    random = np.random.default_rng(day.toordinal())
    region, demand = random.choice(["north", "south"], A_DAY), random.uniform(0, 10, A_DAY).round(2)
    price = random.uniform(20, 60, A_DAY).round(2)
    start = datetime.combine(day, time(6), UTC)
    offered = [start + timedelta(minutes=7 * number) for number in range(A_DAY)]
    since = random.integers(-20, 200, A_DAY)  # days of the contract, of which some are still to begin
    contract: list[date | None] = [day - timedelta(days=int(days)) for days in since]
    hours = random.integers(0, 48, A_DAY).tolist()
    metered: list[datetime | None] = [at - timedelta(hours=each) for at, each in zip(offered, hours, strict=True)]
    contract[3] = metered[4] = None
    later = 0.9 * price + 2 * demand + np.where(region == "north", 4, -4) + 0.05 * since + random.normal(0, 0.3, A_DAY)
    return pd.DataFrame(
        {
            "offer_id": [f"{day:%m%d}-{number}" for number in range(A_DAY)],
            "offered_at": offered,
            "region": region,
            "demand": demand,
            "price": price,
            "volume": random.choice([0.0, 0.5, 40.0], A_DAY),
            "contract_from": contract,
            "metered_at": pd.Series(metered, dtype="datetime64[us, UTC]"),
            "price_later": later.round(3),
        }
    )


def write(day: date, landing: Path) -> None:
    """The batch of a day."""
    file = landing / "offers" / f"{day}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    offers(day).to_csv(file, index=False)


def requests(day: date) -> list[dict[str, Any]]:
    """What clients ask on a day: bodies of requests."""
    names = ("offer_id", "region", "demand", "price", "contract_from", "metered_at")
    return [
        {"entity": {name: _sent(row[name]) for name in names}, "as_of": row["offered_at"].isoformat()}
        for row in offers(day).to_dict("records")
    ]


def _sent(value: Any) -> Any:
    if pd.isna(value):
        return None
    return value.isoformat() if isinstance(value, date) else value
