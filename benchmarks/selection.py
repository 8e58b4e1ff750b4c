"""What a selection of features costs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from benchmarks.document import table
from evergreen.interval import Interval
from evergreen.model import families, rows
from evergreen.model.rows import Rows
from evergreen.run import Run
from evergreen.settings import settings
from evergreen.spec.columns import EVENT, KNOWN_AT
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from evergreen.spec.selection import Selection
from evergreen.train import searching
from evergreen.train.searching import Found

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


@dataclass(frozen=True)
class Searched:
    """A search of one family."""

    found: Found
    fits: int
    seconds: float  # of the processor


def run() -> str:
    """The section's text: each family without a selection and with one."""
    spec = load_spec(settings().models / "churn", settings().data)
    spec = spec.model_copy(update={"label": spec.label.model_copy(update={"business_value": None})}).at(spec.folder)
    learn = rows.of(spec, planted(spec))
    told = [(family, *_both(spec, family, learn)) for family in spec.families]
    prose = (
        f"The spec of `{spec.model}`: {len(spec.feature_types)} inputs, of which {TELLING} tell something of the "
        f"label, {DAYS * CUSTOMERS:,} rows, {spec.split.folds} time folds, {spec.search.trials} trials. Each family is "
        "searched once without a selection and once with one, in one process; a selection is made before the search, "
        "with the family's default parameters."
    )
    return "\n\n".join([prose, table(_HEAD, told)])


def _both(spec: ModelSpec, family: str, learn: Rows) -> tuple[str, ...]:
    without, chosen = (_searched(spec, family, learn, asked) for asked in (None, Selection()))
    selection = chosen.found.recipe.selection
    seconds = (f"{each.seconds:.1f} s" for each in (without, chosen))
    said = "" if selection is None else selection.reason
    return str(without.fits), str(chosen.fits), *seconds, f"{chosen.seconds / without.seconds:.1f}", said


def _searched(spec: ModelSpec, family: str, learn: Rows, asked: Selection | None) -> Searched:
    after = Interval.of_day(spec.first_day + timedelta(days=DAYS))
    this = Run(spec.model_copy(update={"selection": asked}), after)
    with mock.patch.object(families, "fitted", wraps=families.fitted) as fitted:
        began = time.process_time()
        found = searching.search(this, family, learn, first=())
        took = time.process_time() - began
    return Searched(found, fitted.call_count, took)


_HEAD = ("family", "fits without", "fits with it", "processor without", "with it", "times", "left out")
