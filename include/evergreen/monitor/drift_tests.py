"""The monitor's distances as tests of Evidently's, so that its page says drift where the monitor does."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from evergreen.monitor.cells import Categories, Numbers, shares

if TYPE_CHECKING:
    import pandas as pd
    from evidently.legacy.calculations.stattests import StatTest


@cache
def distances() -> tuple[StatTest, StatTest]:
    """Of numbers and of categories; each says drift beyond the threshold that it is given."""
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    tests = []
    for name, cells, column in (
        ("Kolmogorov-Smirnov distance", Numbers, ColumnType.Numerical),
        ("Jensen-Shannon distance, base 2", Categories, ColumnType.Categorical),
    ):
        test = StatTest(name=name, display_name=name, allowed_feature_types=[column], default_threshold=1.0)
        register_stattest(test, default_impl=_test(cells))
        tests.append(test)
    numbers, categories = tests
    return numbers, categories


def _test(kind: type[Numbers] | type[Categories]) -> Callable[..., tuple[float, bool]]:
    def measured(reference: pd.Series[Any], window: pd.Series[Any], _: object, bound: float) -> tuple[float, bool]:
        cells = kind.of(reference)
        distance = float(cells.distances(shares(cells.counts(window)), shares(cells.counts(reference))))
        return distance, distance > bound

    return measured
