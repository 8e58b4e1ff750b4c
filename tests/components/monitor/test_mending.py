"""When a loss can be mended is what the training's own rules say of labels that are to come."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from evergreen.lake import tables
from evergreen.lake.schema import LABELS
from evergreen.monitor import decisions, mending
from tests.components.train.conftest import at

from .conftest import Live

CUSTOMERS, CHANGED = 120, 21


@pytest.mark.parametrize(
    ("split", "gates"),
    [
        ({}, {}),
        ({"evaluation": timedelta(days=3), "folds": 3}, {"minimum_rows": 300}),
        ({"evaluation": timedelta(days=7)}, {"minimum_rows": 800}),
        ({"window": timedelta(days=8), "minimum_rows": 400}, {}),
    ],
)
def test_the_day_that_is_told_is_the_first_with_labels_enough(
    live: Live, split: dict[str, Any], gates: dict[str, Any]
) -> None:
    changed = {
        "split": live.spec.split.model_copy(update=split),
        "gates": live.spec.gates.model_copy(update=gates),
    }
    live.contest.spec = spec = live.spec.model_copy(update=changed).at(live.spec.folder)
    live.customers = CUSTOMERS
    for day in range(4, 45):
        live.label(day)
    version, enough = tables.version(LABELS.of(spec.model, "left")), []
    for day in range(CHANGED + 1, 42):
        known = decisions.labels_since(live.run(day), at(CHANGED), version)
        if known.folds and known.learn >= spec.split.minimum_rows and known.evaluate >= spec.gates.minimum_rows:
            enough.append(live.run(day).interval)
    for now in (CHANGED + 1, CHANGED + 2):
        assert mending.earliest(spec, at(CHANGED), live.run(now).interval, CUSTOMERS) == enough[0], enough[:2]
    assert mending.earliest(spec, at(CHANGED), live.run(CHANGED + 1).interval, 0) is None, "that never come"
