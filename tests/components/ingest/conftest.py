"""Six days of a small churn business in a landing zone,
the whole ingest chain by plain calls, and all that it leaves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from evergreen.errors import EvergreenError
from evergreen.interval import Interval
from evergreen.lake.schema import FEATURES, LABELS, QUARANTINE, RAW, TableId, online
from evergreen.loops import inline
from evergreen.run import DatasetRun, Run
from evergreen.settings import PROJECT, Settings, settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from evergreen_simulator.delivery import World
from evergreen_simulator.landing import write_days

FIRST = date(2026, 1, 1)
DAYS = 6
WORLD = World(seed=4, size=60)
Json = dict[str, Any]


def churn() -> ModelSpec:
    """The shipped model."""
    return load_spec(PROJECT / "include" / "models" / "churn")


def run_of(day: int, spec: ModelSpec | None = None) -> DatasetRun:
    """A run of a day, the first being 0."""
    return DatasetRun((spec or churn()).datasets["churn"], Interval.of_day(FIRST + timedelta(days=day)))


def ingest(run: DatasetRun) -> dict[str, Any]:
    """The ingest loop, and after it the labels that a training of the last day computes;
    returns what came of each step."""
    last = Run(churn(), Interval.of_day(FIRST + timedelta(days=DAYS - 1)), run_id=f"labels after {run.interval}")
    return inline.run(run, "ingest") | inline.run(last, "train", last="labels")


def tables_of(spec: ModelSpec) -> list[TableId]:
    """The tables of the ingest loop, and that of the labels."""
    data = spec.datasets["churn"]
    layers = ((RAW, data.sources), (QUARANTINE, data.sources), (FEATURES, data.features), (LABELS, [spec.label.name]))
    return [layer.of("churn", name) for layer, names in layers for name in names]


def lake(spec: ModelSpec) -> Json:
    """Content of every table of the ingest loop, partition by partition: how many rows, and their hash."""
    from evergreen.lake import hashing, tables

    contents = {}
    for stored in tables_of(spec):
        table = tables.read(stored)
        for partition in sorted(set([] if table is None else table["partition"].to_pylist())):
            rows = tables.read(stored, partitions=[partition])
            assert rows is not None
            contents[f"{stored.layer}/{stored.name}/{partition}"] = (rows.num_rows, hashing.content_hash(rows))
    return contents


def catalogued(spec: ModelSpec) -> Json:
    """What the catalogue says of the same tables, but for the versions, which count how often somebody wrote."""
    from evergreen.lake import catalogue

    online_views = [online(FEATURES.of("churn", view)) for view in spec.features]
    return {
        f"{table.layer}/{table.name}/{partition}": (entry.rows, entry.content_hash, entry.inputs_hash, entry.known_at)
        for table in (*tables_of(spec), *online_views)
        for partition, entry in catalogue.published(table).items()
    }


def everything(spec: ModelSpec) -> Json:
    """The lake, the catalogue, and the online values of everybody who was ever a customer."""
    from evergreen.features import online_rows
    from evergreen.lake import tables

    table = tables.read(RAW.of(spec.model, "customers"), columns=["customer_id"])
    customers = sorted(set([] if table is None else table["customer_id"].to_pylist()))
    online = dict(zip(customers, online_rows.read(spec, [{"customer_id": c} for c in customers]), strict=True))
    return {"lake": lake(spec), "catalogue": catalogued(spec), "online": online}


@pytest.fixture(scope="session")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A landing zone with six days; tests read it, and change a copy."""
    folder = tmp_path_factory.mktemp("landing")
    for _ in write_days(WORLD, FIRST, FIRST + timedelta(days=DAYS - 1), str(folder)):
        pass
    return folder


@pytest.fixture(scope="session")
def reference(landed: Path, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Json:
    """Everything after the six days were ingested once, in order."""
    from evergreen.local import postgres

    with pytest.MonkeyPatch.context() as patch:
        prefix = f"t{os.getpid()}_reference_"
        patch.setenv("EVERGREEN_HOME", str(tmp_path_factory.mktemp("reference")))
        patch.setenv("EVERGREEN_DATABASE", postgres_url)
        patch.setenv("EVERGREEN_DATABASE_PREFIX", prefix)
        patch.setenv("EVERGREEN_LANDING", str(landed))
        postgres.create_databases(postgres_url, [f"{prefix}{name}" for name in ("evergreen", "feast")])
        settings.cache_clear()
        for day in range(DAYS):
            ingest(run_of(day))
        left = everything(churn())
    settings.cache_clear()
    layers = {name.split("/")[0] for name in left["lake"]}
    assert layers == {"raw", "quarantine", "features", "labels"}, (
        f"a layer is empty, so nothing of it is compared: {layers}"
    )
    assert all(values["features_at"] is not None for values in left["online"].values())
    return left


@pytest.fixture
def own_landing(home: Settings, landed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh home and databases over a copy of the landing zone, to change."""
    folder = tmp_path / "landing"
    shutil.copytree(landed, folder)
    monkeypatch.setenv("EVERGREEN_LANDING", str(folder))
    settings.cache_clear()
    yield folder
    settings.cache_clear()


def batch_of(landing: Path, source: str, day: int = 0) -> Path:
    """The file of a source's batch."""
    return landing / "churn" / source / f"{(FIRST + timedelta(days=day)).isoformat()}.csv"


def says(error: EvergreenError, *, doing: str, found: str, expected: str, next_step: str) -> None:
    """The error tells what was being done, what was found, what was expected and what to do;
    each contains the given text."""
    parts = {"doing": doing, "found": found, "expected": expected, "next_step": next_step}
    for name, wanted in parts.items():
        assert wanted in getattr(error, name), f"{name} says {getattr(error, name)!r} and not {wanted!r}"
    assert str(error).splitlines()[-1].startswith("  next step: "), "the last line is not the next step"


@pytest.fixture
def landing(home: Settings, landed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh home and databases over the landing zone."""
    monkeypatch.setenv("EVERGREEN_LANDING", str(landed))
    settings.cache_clear()
    yield landed
    settings.cache_clear()
