"""What the shops of the model `parcels` (tests/specs/valid/parcels) order,
and what their carrier's export says of it later."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SHOPS, DEPOTS, A_DAY = 12, 3, 240
_LOST = 0.03  # share of parcels that are never delivered


@dataclass(frozen=True)
class Day:
    """One day: a function of the seed and the date."""

    date: date
    seed: int = 1

    @property
    def _random(self) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.date.toordinal()])

    def roads(self) -> pd.DataFrame:
        """How full the roads around each depot are, every three hours."""
        random, start = self._random, datetime(self.date.year, self.date.month, self.date.day, tzinfo=UTC)
        return pd.DataFrame(
            [
                {
                    "depot_id": depot,
                    "measured_at": start + timedelta(hours=hour),
                    "congestion": round(float(random.random()), 3),
                }
                for depot in range(DEPOTS)
                for hour in range(0, 24, 3)
            ]
        )

    def parcels(self) -> pd.DataFrame:
        """What was ordered, with the hours until it was delivered; null for those that were lost."""
        roads, random = self.roads(), self._random
        start = datetime(self.date.year, self.date.month, self.date.day, tzinfo=UTC)
        moments = [start + timedelta(seconds=int(second)) for second in np.sort(random.integers(0, 86_400, A_DAY))]
        shop, depot = random.integers(0, SHOPS, A_DAY), random.integers(0, DEPOTS, A_DAY)
        weight, express = random.gamma(2.0, 2.0, A_DAY).round(2), random.random(A_DAY) < 0.3
        frame = pd.DataFrame(
            {
                "parcel_id": [f"{self.date:%Y%m%d}-{number:03}" for number in range(A_DAY)],
                "shop_id": [f"s{n:02}" for n in shop],
                "depot_id": depot,
                "ordered_at": moments,
                "weight": weight,
                "express": express,
            }
        )
        seen = pd.merge_asof(
            frame, roads.sort_values("measured_at"), left_on="ordered_at", right_on="measured_at", by="depot_id"
        )
        hours = 8 + 0.5 * shop + 4 * seen["congestion"] - 5 * express + 0.25 * weight + random.normal(0, 0.7, A_DAY)
        return frame.assign(hours=hours.round(2).clip(0.5, 23.9).mask(random.random(A_DAY) < _LOST))

    def write(self, landing: Path) -> None:
        """The day's files: parcels as CSV, roads as JSON Lines."""
        for name, ending in (("parcels", "csv"), ("roads", "jsonl")):
            (landing / name).mkdir(parents=True, exist_ok=True)
            file = landing / name / f"{self.date}.{ending}"
            frame = getattr(self, name)()
            if ending == "csv":
                frame.to_csv(file, index=False)
            else:
                rows = [{**row, "measured_at": row["measured_at"].isoformat()} for row in frame.to_dict("records")]
                file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def requests(self) -> list[dict[str, Any]]:
        """What the shops send when they order, made without the model's SQL: `{"entity", "as_of"}`."""
        seen = pd.merge_asof(
            self.parcels(),
            self.roads().sort_values("measured_at"),
            left_on="ordered_at",
            right_on="measured_at",
            by="depot_id",
        )
        return [
            {
                "entity": {
                    "parcel_id": row.parcel_id,
                    "shop_id": row.shop_id,
                    "depot_id": int(row.depot_id),
                    "weight": row.weight,
                    "express": bool(row.express),
                    "hour": row.ordered_at.hour,
                    "congestion": row.congestion,
                },
                "as_of": row.ordered_at.isoformat(),
            }
            for row in seen.itertuples()
        ]
