"""From what happened to what arrives: the batches of a day, with the flaws that every real delivery has.

A batch holds the rows of its day, and the late rows of the two days before. A few rows arrive twice (within one batch,
or again in the next) and a few are damaged. Customers and cancellations come complete and on time: they are the books.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

import numpy as np
import pandas as pd

from evergreen_simulator import events, scenarios
from evergreen_simulator.business import Business
from evergreen_simulator.draws import Stream, bits, part
from evergreen_simulator.scenarios import Scenario

LONGEST_DELAY = 2  # days
_ON_TIME = ("customers", "cancellations")
_DAMAGE = {"usage": ("minutes", -1.0), "payments": ("amount", "n/a"), "tickets": ("priority", "???")}
"""Per source: the column and the value that cannot be, one below its range, one unparsable, one outside its set."""


@dataclass(frozen=True)
class World:
    """A business, the scenarios that happen to it, and what it delivers: a pure function of all three and the date."""

    seed: int
    size: int = 1000
    scenarios: tuple[Scenario, ...] = ()

    @property
    def business(self) -> Business:
        return Business(self.seed, self.size, partial(scenarios.conditions, self.scenarios))

    def batches(self, first: date, last: date) -> Iterator[tuple[date, dict[str, pd.DataFrame]]]:
        """Every source's batch of each day from `first` to `last`, both included."""
        recent: dict[date, dict[str, pd.DataFrame]] = {}
        business = self.business
        for present in business.days(first - timedelta(days=LONGEST_DELAY), last):
            recent[present.day] = {
                source: self._happened(source, present.day, table(business, present))
                for source, table in events.TABLES.items()
            }
            recent.pop(present.day - timedelta(days=LONGEST_DELAY + 1), None)
            if present.day >= first:
                yield present.day, {source: self._batch(source, present.day, recent) for source in events.TABLES}

    def batch(self, day: date) -> dict[str, pd.DataFrame]:
        """Every source's batch of one day."""
        return next(self.batches(day, day))[1]

    def active_on(self, day: date) -> list[str]:
        """Who is an active customer as the day begins: the snapshot of the day before."""
        present = self.business.day(day - timedelta(days=1))
        return present.take(~present.cancels).names()

    def _happened(self, source: str, day: date, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of a day as the upstream system noted them, with the days after it on which each is sent."""
        flow = scenarios.flow(self.scenarios, day)
        draw = rows["draw"].to_numpy()
        delay = np.zeros(len(rows), np.int64)
        if source not in _ON_TIME:
            delay = np.where(part(draw, 0) < flow.late, 1 + (part(draw, 1) < 0.3), 0)
        copies = part(draw, 2) < flow.duplicated
        again = np.where(copies, delay + ((part(draw, 3) < 0.5) & (delay == 0)), -1)  # -1: never
        for scenario in self.scenarios:
            if scenario.holds(day):
                rows = scenario.on_rows(source, rows, self.seed)
        if source in _DAMAGE:
            column, value = _DAMAGE[source]
            damaged = part(bits(self.seed, Stream.DAMAGE, draw.view(np.int64)), 0) < flow.damaged
            rows = rows.assign(**{column: rows[column].astype(object).mask(damaged, value)})
        return rows.assign(delay=delay, again=again)

    def _batch(self, source: str, day: date, recent: dict[date, dict[str, pd.DataFrame]]) -> pd.DataFrame:
        arriving = []
        for happened, tables in sorted(recent.items()):
            rows, age = tables[source], (day - happened).days
            arriving += [rows[rows["delay"] == age], rows[rows["again"] == age]]
        batch = pd.concat(arriving, ignore_index=True)[list(events.COLUMNS[source])]
        for scenario in self.scenarios:
            if scenario.holds(day):
                batch = scenario.on_batch(source, batch)
        return batch
