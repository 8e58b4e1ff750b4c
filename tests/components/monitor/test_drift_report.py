"""Evidently's page says drift where the monitor does: by its distances and its bounds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from evergreen.monitor import drift_report, drift_tests
from evergreen.settings import Settings, settings
from tests.components.train.conftest import spec_in


def rows(moved: float, plan: float) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "minutes": random.normal(moved, 1, 400),
            "sessions": random.integers(0, 9, 400).astype(float),
            "mobile": 1.0,
            "plan": np.where(random.random(400) < plan, "pro", "basic"),
            "prediction": random.random(400),
        }
    )


@pytest.mark.parametrize(("bound", "verdict"), [(0.1, "Detected"), (0.9, "Not Detected")])
def test_its_verdict_follows_the_monitors_bound(home: Settings, tmp_path: Path, bound: float, verdict: str) -> None:
    spec = spec_in(tmp_path / "tiny")
    bounds = dict.fromkeys(("minutes", "sessions", "mobile", "plan", "prediction"), bound)
    drift_report.write(spec, "2026-01-21", rows(1.0, 0.9), rows(0.0, 0.1), bounds)
    page = (settings().reports / "tiny" / "drift" / "2026-01-21.html").read_text()
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    drawn = json.dumps(json.loads(data))
    assert "Kolmogorov-Smirnov distance" in drawn and "Jensen-Shannon distance, base 2" in drawn
    assert f'"{verdict}"' in drawn
    assert "Its verdict is of all rows" in page


def test_its_distances_are_the_monitors() -> None:
    numbers, categories = drift_tests.distances()
    usual, moved = rows(0.0, 0.5), rows(10.0, 1.0)
    assert numbers(usual["minutes"], moved["minutes"], "num", 0.5).drift_score == pytest.approx(1.0)
    assert not categories(usual["plan"], usual["plan"], "cat", 0.01).drifted
