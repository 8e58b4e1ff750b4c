"""A hotel's bookings as one file, like the public one of two Portuguese hotels: each is decided at a moment of its own,
on the same day or two years later, and the last ones are not decided yet."""

from __future__ import annotations

import numpy as np
import pandas as pd

LONGEST = 737  # days from a booking to the day on which the last one is decided
FIRST = pd.Timestamp("2023-01-02")


def bookings(days: int, per_day: int = 4, seed: int = 5) -> pd.DataFrame:
    """The file as it is when that many days are over: one row per booking; of what is not decided by then neither the
    outcome nor its day.

    How long before the arrival it was booked, whether a deposit was paid and through whom decide who cancels; those who
    cancel are known sooner than those who come.
    """
    random, rows = np.random.default_rng(seed), days * per_day
    booked_at = FIRST + pd.to_timedelta(np.sort(random.integers(0, days * 24 * 60, rows)), unit="min")
    # Half within a month, nine of ten within ten months, and the last after two years.
    lead = np.minimum(np.floor(random.exponential(90, rows) * random.choice([0.1, 1, 2], rows)), LONGEST).astype(int)
    lead[:: rows // 20] = LONGEST
    lead[1 :: rows // 20] = 0
    agents, deposit = random.choice(list("abcdef"), rows), random.choice(["none", "paid"], rows, p=[0.85, 0.15])
    chance = 1 / (1 + np.exp(-(lead / 60 - 2 + (agents == "b") * 2 - (deposit == "paid") * 3)))
    cancelled = random.random(rows) < chance
    arrives = booked_at.normalize() + pd.to_timedelta(lead, unit="D")
    decided = booked_at + (arrives - booked_at.normalize()) * np.where(cancelled, random.random(rows), 1.0)
    frame = pd.DataFrame(
        {
            "Booking Ref": [f"B-{number:06}" for number in range(rows)],
            "Booked At": booked_at.strftime("%Y-%m-%d %H:%M:%S"),
            "Lead Time": lead,
            "Agent": agents,
            "Deposit": deposit,
            "Guests": random.integers(1, 5, rows),
            "Rate": [f"{rate:.2f}" for rate in random.gamma(5, 20, rows)],
            "Status": np.where(cancelled, "Canceled", "Check-Out"),
            "Is Cancelled": cancelled.astype(int).astype(str),
            "Status Date": decided.strftime("%Y-%m-%d"),
        }
    )
    is_open = decided.normalize() + pd.Timedelta(days=1) > FIRST + pd.Timedelta(days=days)
    frame.loc[is_open, ["Status", "Is Cancelled", "Status Date"]] = ["", "", ""]
    return frame
