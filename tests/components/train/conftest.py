"""A small model whose features tell something of its label, and its training set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from evergreen.handovers.train import SoundTrainingSet, Stretch
from evergreen.interval import Interval
from evergreen.run import Run
from evergreen.settings import Settings, settings
from evergreen.spec.schema import ModelSpec
from tests import small_models

FIRST = date(2026, 1, 1)
DAYS = 20
CUSTOMERS = 60
SECTIONS: Mapping[str, Any] = {
    "sources": {
        "events": {
            "path": "events/{partition}.csv",
            "event_time": "at",
            "keys": ("customer_id",),
            "columns": {"at": "timestamp", "customer_id": "string"},
        },
    },
    "features": {
        "activity": {
            "sources": ("events",),
            "look_back": "3d",
            "features": {"minutes": "float", "sessions": "int", "mobile": "bool", "plan": "category"},
        },
    },
    "label": {"name": "left", "horizon": "2d", "sources": ("events",)},
    "split": {"window": "18d", "evaluation": "3d", "minimum_rows": 100, "folds": 2},
    "families": {
        "logistic_regression": {},
        "gradient_boosting": {"max_iter": [5, 15]},
        "mlp": {"epochs": [2, 4], "units": [4, 8], "batch_size": [64, 128]},
    },
    "search": {"trials": 3, "seed": 7},
    "gates": {
        "minimum_rows": 100,
        "minimum_positives": 10,
        "floor": {"roc_auc": 0.6},
        "better_than_baseline": 0.05,
        # what the 180 rows of an evaluation can tell
        "better_than_champion": {"by": "non_inferiority", "margin": 0.12},
    },
}


def at(day: int) -> datetime:
    """The cutoff at the end of day `day`, the first being 0."""
    return datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=day + 1)


def run_as_of(spec: ModelSpec, day: int = DAYS - 1, **options: Any) -> Run:
    return Run(spec, Interval.of_day(FIRST + timedelta(days=day)), **options)


def spec_in(folder: Path, **changes: Any) -> ModelSpec:
    """The spec, with its queries in `folder`; `changes` replace whole sections."""
    write_queries(folder)
    return small_models.tiny(**(SECTIONS | changes)).at(folder)


def write_queries(folder: Path) -> None:
    """Such as say nothing: features and labels are published by the tests."""
    (folder / "features").mkdir(parents=True, exist_ok=True)
    for name in ("features/activity.sql", "label.sql"):
        (folder / name).write_text("select 1")


def rows_of(days: range, customers: int = CUSTOMERS, seed: int = 0) -> pd.DataFrame:
    """Key, event_timestamp, features and label of every customer at every cutoff; some values are missing."""
    random = np.random.default_rng(seed)
    size = len(days) * customers
    minutes, sessions = random.normal(30, 10, size), random.integers(0, 9, size)
    plan = random.choice(["basic", "pro"], size).astype(object)
    chance = 1 / (1 + np.exp((minutes - 30) / 5 + (plan == "pro")))
    frame = pd.DataFrame(
        {
            "customer_id": [f"c{number}" for _ in days for number in range(customers)],
            "event_timestamp": pd.to_datetime([at(day) for day in days for _ in range(customers)], utc=True).astype(
                "datetime64[us, UTC]"
            ),
            "minutes": minutes,
            "sessions": sessions.astype("float64"),
            "mobile": random.random(size) < 0.5,
            "plan": plan,
            "left": (random.random(size) < chance).astype("int64"),
        }
    )
    frame.loc[random.random(size) < 0.1, ["minutes", "plan"]] = [np.nan, None]
    return frame


@pytest.fixture
def spec(home: Settings, mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """The model, with a fresh home and databases; its name is its own, for MLflow's server is shared by all tests."""
    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", mlflow_url)
    settings.cache_clear()
    return spec_in(tmp_path / "model", model=f"m_{home.database_prefix}tiny".replace("__", "_"))


@pytest.fixture
def tiny(home: Settings, mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """A model with 20 days of history but one."""
    from .history import publish
    from .recorded import FAMILY, MISSING, days

    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", mlflow_url)
    settings.cache_clear()
    spec = spec_in(
        tmp_path / "model",
        model=f"m_{home.database_prefix}rebuilt".replace("__", "_"),
        split={"window": "18d", "evaluation": "3d", "minimum_rows": 10, "folds": 2},
        families={FAMILY: {}},
        search={"trials": 1, "seed": 7},
    )
    publish(spec, *days(*(day for day in range(DAYS) if day != MISSING)))
    return spec


@pytest.fixture
def training_set() -> Callable[..., SoundTrainingSet]:
    """Writes a training set as `train.stages.build` does, without a lake, and finds it sound."""
    from evergreen.lake import hashing, staging
    from evergreen.model.code import spec_hash
    from evergreen.train import rules

    def write(run: Run, rows: pd.DataFrame | None = None) -> SoundTrainingSet:
        split = rules.split(run.as_of, run.spec, run.changed_at)
        frame = rows_of(range(DAYS)) if rows is None else rows
        cutoffs = frame["event_timestamp"]
        frame = frame[cutoffs.map(lambda cutoff: split.mask(cutoff, cutoff + run.spec.label.horizon))]
        table = pa.Table.from_pandas(frame, preserve_index=False)
        content = hashing.content_hash(table)
        key = rules.training_key(
            run.spec.model, run.as_of, content, spec_hash(run.spec), "code", run.spec.search.seed, run.changed_at
        )
        learn, evaluate = (
            Stretch(rows=int(cutoffs.between(start, end).sum()), start=start, end=end)
            for start, end in ((split.learn_from, split.learn_to), (split.evaluate_from, split.evaluate_to))
        )
        return SoundTrainingSet(
            key=key,
            staged=staging.write(staging.WorkingFile(of=run.spec.model, run="train", name=key), table, task="build"),
            content_hash=content,
            versions={"labels/left": 0},
            learn=learn,
            evaluate=evaluate,
            page="http://reports.test/training.html",
            warnings=(),
        )

    return write
