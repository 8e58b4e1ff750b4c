"""What a replay says at its end."""

from __future__ import annotations

from math import nan

import pytest

from evergreen.loops import replayed
from evergreen.model.metrics import Comparison


@pytest.mark.parametrize(("low", "says"), [(nan, "one day alone has no interval of confidence"), (0.05, "better")])
def test_a_comparison_over_one_interval_says_that_it_has_no_interval(low: float, says: str) -> None:
    compared = Comparison(0.1, low, 0.2, 9, 1 if low != low else 3)
    (line,) = replayed.verdicts({1: 5, 2: 5}, {"never retrained": compared}, "mae", "day")
    assert says in line and "nan" not in line
