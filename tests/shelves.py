"""What the stores of the model `shelves` (tests/specs/valid/shelves) sell: each product once a day in each store."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

# Written one after the other, several of these keys would be the same: 1 of 11, and 11 of 1.
STORES, PRODUCTS = ["1", "11", "111", 'a"b', "é"], [1, 11, 111, -1, *range(20, 28)]


def sales(day: date) -> pd.DataFrame:
    """The rows of a day: a function of the day. What is sold depends on store and product together."""
    usual = np.random.default_rng(7).uniform(1, 20, (len(STORES), len(PRODUCTS)))
    noise = np.random.default_rng(day.toordinal()).normal(0, 0.3, usual.shape)
    opened = datetime.combine(day, time(9), UTC)
    return pd.DataFrame(
        [
            {
                "sale_id": f"{day:%m%d}-{at}-{product}",
                "store": store,
                "product": product,
                "sold_at": opened + timedelta(minutes=at),
                "units": round(float(usual[at, place] + noise[at, place]), 3),
            }
            for at, store in enumerate(STORES)
            for place, product in enumerate(PRODUCTS)
        ]
    )


def write(day: date, landing: Path) -> None:
    """The batch of a day."""
    file = landing / "sales" / f"{day}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    sales(day).to_csv(file, index=False)
