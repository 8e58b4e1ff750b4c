"""A model whose authors wrote a folder and nothing else: several sources and entities, request-time inputs, a number to predict."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evergreen.evaluate import stages as evaluate
from evergreen.features import stages as features
from evergreen.ingest import stages as ingest
from evergreen.interval import Interval
from evergreen.registry import stages as registry
from evergreen.run import Run
from evergreen.settings import PROJECT, Settings, settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from evergreen.train import stages as train
from evergreen.validate import stages as validate
from tests.parcels import A_DAY, Day

FIRST, DAYS = date(2026, 1, 1), 8


def day_run(spec: ModelSpec, number: int) -> Run:
    return Run(spec, Interval.of_day(FIRST + timedelta(days=number)), run_id=f"test__{number}")


def ingest_day(run: Run) -> dict[str, Any]:
    published = ingest.publish(run, validate.validate(run, ingest.extract(run)))
    stored = features.publish(run, validate.validate_features(run, features.compute(run, published)))
    labelled = features.labels(run, stored)
    features.materialize(run, labelled)
    return labelled


@pytest.fixture
def parcels(home: Settings, mlflow_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelSpec]:
    folder = home.home / "models" / "parcels"
    shutil.copytree(PROJECT / "tests" / "specs" / "valid" / "parcels", folder)
    monkeypatch.setenv("EVERGREEN_MODELS", str(folder.parent))
    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", mlflow_url)
    settings.cache_clear()
    for number in range(DAYS):
        Day(FIRST + timedelta(days=number)).write(Path(settings().landing))
    yield load_spec(folder, deep=True)
    settings.cache_clear()


def test_it_is_ingested_trained_and_registered(parcels: ModelSpec) -> None:
    for number in range(DAYS):
        labelled = ingest_day(day_run(parcels, number))
    (partition,) = labelled["partitions"].values()
    assert partition["rows"] + partition["without_outcome"] == A_DAY and partition["without_outcome"] > 0

    run = day_run(parcels, DAYS - 1)
    data = validate.validate_training(run, train.build(run))
    frame = tables_of(data)
    asked = pd.DataFrame(
        [request["entity"] for n in range(DAYS) for request in Day(FIRST + timedelta(days=n)).requests()]
    )
    joined = frame.merge(asked, on="parcel_id", suffixes=("", "_asked"))
    assert len(joined) == len(frame) > 5 * A_DAY
    for name in ("weight", "express", "hour", "congestion", "shop_id", "depot_id"):
        assert (joined[name] == joined[f"{name}_asked"]).all(), f"{name}: history is not replayed as clients ask"
    history = pd.concat([Day(FIRST + timedelta(days=n)).parcels() for n in range(DAYS)])
    row = joined[joined["event_timestamp"] > pd.Timestamp("2026-01-05T12:00Z")].iloc[0]
    midnight = pd.Timestamp("2026-01-05T00:00Z")
    past = history[
        (history["shop_id"] == row["shop_id"])
        & (history["ordered_at"] < midnight)
        & (history["ordered_at"] >= midnight - pd.Timedelta(days=3))
    ]
    assert row["shop_hours_3d"] == pytest.approx(past["hours"].mean()) and row["shop_parcels_3d"] == len(past)

    candidates = [train.tune(run, data, family) for family in parcels.families]
    gated = evaluate.gates(run, evaluate.evaluate(run, data, candidates))
    assert gated["passed"], gated["reason"]
    assert set(gated["scores"]) == {"rmse", "mae", "r2"}
    assert gated["scores"]["rmse"] < 3.0, "it has learned what the hours depend on"
    assert not any("class" in gate["name"] for gate in gated["gates"])
    assert registry.register(run, gated)["version"] == 1


def tables_of(data: dict[str, Any]) -> pd.DataFrame:
    from evergreen.lake import staging

    frame: pd.DataFrame = staging.read(data["path"]).to_pandas()
    return frame
