"""Another team's data about the same customers: the newsletter's emails, and whether they were opened.

Written into the landing zone as `<landing>/outreach/emails/<YYYY-MM-DD>.csv`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import numpy as np
import pandas as pd

from evergreen_simulator.business import Business, Customers
from evergreen_simulator.draws import Stream, bits, grown, part
from evergreen_simulator.landing import as_csv
from evergreen_simulator.upload import put

EVERY = 3  # days from one email to a customer's next
_NINE = 9 * 3600  # seconds after midnight at which the emails leave


def emails(business: Business, present: Customers) -> pd.DataFrame:
    """The emails of a day. Who uses the product opens them, and some people open every email."""
    ordinal = present.day.toordinal()
    who = present.take(present.number % EVERY == ordinal % EVERY)
    draw = bits(business.seed, Stream.EMAIL, who.number, ordinal)
    taste = part(bits(business.seed, Stream.EMAIL, who.number), 1)
    chance = np.minimum(0.95, 0.3 * grown(0.8 * who.engagement) + 0.4 * (taste > 0.7))
    names = who.names()
    return pd.DataFrame(
        {
            "email_id": [f"e-{present.day:%y%m%d}-{name[2:]}" for name in names],
            "customer_id": names,
            "sent_at": np.datetime_as_string(
                np.datetime64(present.day, "s") + _NINE + (part(draw, 0) * 3600).astype(np.int64), timezone="UTC"
            ),
            "opened": np.where(part(draw, 2) < chance, "true", "false"),
        }
    )


def write_days(business: Business, first: date, last: date, landing: str) -> Iterator[date]:
    """Write every day's batch and name each day when its batch is there."""
    for present in business.days(first, last):
        put(landing, f"outreach/emails/{present.day.isoformat()}.csv", as_csv(emails(business, present)))
        yield present.day
