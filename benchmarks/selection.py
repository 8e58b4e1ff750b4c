"""What a selection of features costs: `python benchmarks/selection.py`.

The spec of `churn`, 16 inputs of which six tell something of the label, 4,200 rows of three weeks. Each family is
searched once without a selection and once with one. Printed are the fits, the seconds of the processor, and what was
left out.
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from evergreen.interval import Interval
from evergreen.model import families, rows
from evergreen.run import Run
from evergreen.settings import settings
from evergreen.spec.columns import EVENT, KNOWN_AT
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from evergreen.spec.selection import Selection
from evergreen.train import searching

DAYS, CUSTOMERS, TELLING = 21, 200, 6


def planted(spec: ModelSpec) -> pd.DataFrame:
    """Rows in which the first features tell something of the label."""
    random, size = np.random.default_rng(0), DAYS * CUSTOMERS
    moments: list[Any] = [
        spec.calendar.until(Interval.of_day(spec.first_day + timedelta(days=day)).end).end for day in range(DAYS)
    ]
    frame = pd.DataFrame({key: [f"c{n % CUSTOMERS}" for n in range(size)] for key in spec.entity.columns})
    frame[EVENT] = frame[KNOWN_AT] = pd.to_datetime(np.repeat(moments, CUSTOMERS), utc=True)
    odds = np.full(size, -1.0)
    for place, (name, kind) in enumerate(spec.feature_types.items()):
        number = random.normal(size=size)
        odds += number * (place < TELLING)
        frame[name] = np.where(number > 0, "x", "y").astype(object) if kind == "category" else number
    frame[spec.label.name] = (random.random(size) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    return frame


def main() -> int:
    """Each family in both ways."""
    spec = load_spec(settings().models / "churn")
    spec = spec.model_copy(update={"label": spec.label.model_copy(update={"business_value": None})}).at(spec.folder)
    learn, fitted = rows.of(spec, planted(spec)), families.fitted
    fits = 0

    def counted(*of: object, **named: object) -> object:
        nonlocal fits
        fits += 1
        return fitted(*of, **named)  # type: ignore[arg-type]

    families.fitted = counted  # type: ignore[assignment]
    for family in spec.families:
        for asked in (None, Selection()):
            run = Run(
                spec.model_copy(update={"selection": asked}), Interval.of_day(spec.first_day + timedelta(days=DAYS))
            )
            fits, began = 0, time.process_time()
            found = searching.search(run, family, learn, first=())
            took = time.process_time() - began
            left_out = "" if found.recipe.selection is None else f"; {found.recipe.selection.reason}"
            print(f"{family}: {fits} fits, {took:.1f} s{left_out}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
