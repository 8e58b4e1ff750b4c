"""What the customers of the model `channels` (tests/specs/valid/channels) order, and by which channel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

CHANNELS = ("web", "in store", "phone")
CUSTOMERS, ORDERS = 150, 2  # of each customer and day
_FAITHFUL = 0.8  # share of orders by a customer's favourite channel


@dataclass(frozen=True)
class Day:
    """One day: a function of the seed and the date. Since `moved` all favourites are the phone."""

    date: date
    seed: int = 1
    moved: bool = False

    def orders(self) -> pd.DataFrame:
        """Two orders of each customer, the first before noon and the second after."""
        random = np.random.default_rng([self.seed, self.date.toordinal()])
        start = datetime(self.date.year, self.date.month, self.date.day, tzinfo=UTC)
        rows = []
        for customer in range(CUSTOMERS):
            favourite = "phone" if self.moved else CHANNELS[customer % 20 // 8]  # of 20: 8 web, 8 in store, 4 phone
            for number in range(ORDERS):
                faithful = random.random() < _FAITHFUL
                moment = start + timedelta(hours=12 * number, seconds=int(random.integers(0, 43_200)))
                rows.append(
                    {
                        "order_id": f"{self.date:%Y%m%d}-{customer}-{number}",
                        "customer_id": customer,
                        "ordered_at": moment,
                        "channel": favourite if faithful else str(random.choice(CHANNELS)),
                        "amount": round(float(random.gamma(2.0, 20.0)), 2),
                    }
                )
        return pd.DataFrame(rows)

    def write(self, landing: Path) -> None:
        """The day's file."""
        (landing / "orders").mkdir(parents=True, exist_ok=True)
        self.orders().to_csv(landing / "orders" / f"{self.date}.csv", index=False)
