"""Evidently's page says drift where the monitor does: by its distances and its bounds; and its page of performance has
the numbers that the rows have, whatever kind the label is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, mean_absolute_error, roc_auc_score

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


def read(kind: str) -> tuple[str, str]:
    """A page, and what Evidently's script draws in it."""
    page = (settings().reports / "tiny" / kind / "2026-01-21.html").read_text()
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return page, json.dumps(json.loads(data))


@pytest.mark.parametrize(("bound", "verdict"), [(0.1, "Detected"), (0.9, "Not Detected")])
def test_its_verdict_follows_the_monitors_bound(home: Settings, tmp_path: Path, bound: float, verdict: str) -> None:
    spec = spec_in(tmp_path / "tiny")
    bounds = dict.fromkeys(("minutes", "sessions", "mobile", "plan", "prediction"), bound)
    drift_report.write(spec, "2026-01-21", rows(1.0, 0.9), rows(0.0, 0.1), bounds)
    page, drawn = read("drift")
    assert "Kolmogorov-Smirnov distance" in drawn and "Jensen-Shannon distance, base 2" in drawn
    assert f'"{verdict}"' in drawn
    assert "Its verdict is of all rows" in page


def test_its_distances_are_the_monitors() -> None:
    numbers, categories = drift_tests.distances()
    usual, moved = rows(0.0, 0.5), rows(10.0, 1.0)
    assert numbers(usual["minutes"], moved["minutes"], "num", 0.5).drift_score == pytest.approx(1.0)
    assert not categories(usual["plan"], usual["plan"], "cat", 0.01).drifted


SOURCES = {"horizon": "2d", "sources": ("events",)}
CLASSES = ("fax", "mail", "phone")
NUMERIC = {
    "label": {"name": "spent", "type": "numeric", **SOURCES},
    "search": {"trials": 1, "metric": "mae"},
    "gates": {"minimum_rows": 50, "floor": {"mae": 5.0}},
    "families": {"ridge": {}},
}
OF_CLASSES = {
    "label": {"name": "channel", "type": "multiclass", "classes": CLASSES, **SOURCES},
    "search": {"trials": 1, "metric": "log_loss"},
    "gates": {"minimum_rows": 50, "minimum_per_class": 5, "floor": {"log_loss": 2.0}},
}


def matured(kind: str, count: int = 300) -> tuple[pd.DataFrame, dict[str, float]]:
    """Answers with their outcomes, and numbers of them by scikit-learn."""
    random = np.random.default_rng(3)
    if kind == "numeric":
        label = random.normal(20, 5, count)
        frame = pd.DataFrame({"label": label, "prediction": label + random.normal(0, 2, count)})
        return frame, {"mae": mean_absolute_error(frame["label"], frame["prediction"])}
    if kind == "binary":
        answer = random.random(count)
        frame = pd.DataFrame({"label": (random.random(count) < answer).astype(int), "prediction": answer})
        return frame, {"auc": roc_auc_score(frame["label"], answer)}
    shares = random.dirichlet((1.0,) * len(CLASSES), count)
    places = (random.random(count)[:, None] > shares.cumsum(axis=1)[:, :-1]).sum(axis=1)
    frame = pd.DataFrame(shares, columns=[f"prediction.{name}" for name in CLASSES])
    return frame.assign(label=np.array(CLASSES)[places]), {"accuracy": accuracy_score(places, shares.argmax(axis=1))}


@pytest.mark.parametrize(
    ("kind", "changes", "shown"),
    [
        ("binary", {}, ["ROC AUC"]),
        ("numeric", NUMERIC, ["MAE", "Predicted vs Actual in Time"]),
        ("multiclass", OF_CLASSES, [*CLASSES, "Accuracy"]),
    ],
)
def test_its_page_of_performance_has_the_numbers_of_each_kind_of_label(
    home: Settings, tmp_path: Path, kind: str, changes: Mapping[str, Any], shown: list[str]
) -> None:
    spec = spec_in(tmp_path / "tiny", **changes)
    scored, numbers = matured(kind)
    assert spec.problem.kind == kind
    assert drift_report.write_performance(spec, "2026-01-21", scored) is not None
    page, drawn = read("performance")
    for text in shown:
        assert text in drawn, text
    for name, value in numbers.items():
        assert f"{value:.3f}"[:5] in drawn or f"{value:.2f}" in drawn, (name, value)
    assert "Of a sample of at most" in page
