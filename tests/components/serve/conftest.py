"""A model with features online and candidates in a real MLflow, and model servers as processes of their own."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pytest

from evergreen.features import store as features
from evergreen.interval import Interval
from evergreen.local.postgres import free_port
from evergreen.registry import audit, store
from evergreen.registry import stages as registry
from evergreen.run import Run
from evergreen.serve import stages as serve
from evergreen.settings import PROJECT, Settings
from evergreen.settings import settings as evergreen_settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from evergreen.train import families
from evergreen.train.rows import inputs

FIRST = date(2026, 1, 1)
CUSTOMERS = 40
_names = itertools.count()
_TYPES = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "category": pa.string()}


def at(day: int) -> datetime:
    return Interval.of_day(FIRST + timedelta(days=day)).as_of


def customer(number: int) -> str:
    return f"c-{number:03}"


def rows_of(spec: ModelSpec, count: int, seed: int) -> pd.DataFrame:
    """Random rows of the spec's features."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({
        name: rng.choice(["a", "b", "c"], count) if kind == "category" else rng.integers(0, 2, count).astype(bool) if kind == "bool"
        else rng.integers(0, 50, count) if kind == "int" else rng.normal(10, 3, count)
        for name, kind in spec.feature_types.items()
    })  # fmt: skip


@dataclass
class Server:
    """A model server in a process of its own."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def predict(self, model: str, **body: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/models/{model}/predict", json=body, timeout=60)

    def describe(self, model: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/models/{model}", timeout=10).json()
        return found

    def wait(self, status: int = 200) -> None:
        """Until /readyz answers with the status."""
        deadline = time.monotonic() + 120
        found: object = None
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            try:
                response = httpx.get(f"{self.url}/readyz", timeout=5)
                found = response.text
                if response.status_code == status:
                    return
            except httpx.TransportError as error:
                found = error
            time.sleep(0.1)
        raise AssertionError(f"not {status}: {found}\n{self.log.read_text()}")

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


@dataclass
class Shop:
    """A model of its own name, since all tests share one MLflow."""

    spec: ModelSpec
    settings: Settings
    logs: Path
    servers: list[Server] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.spec.model

    def run(self, day: int) -> Run:
        return Run(self.spec, Interval.of_day(FIRST + timedelta(days=day)), run_id=f"test__{day}")

    def gated(self, day: int, *, passed: bool = True, seed: int | None = None) -> dict[str, Any]:
        """A candidate in MLflow as training logs it, and the gates' verdict."""
        seed = day if seed is None else seed
        key, family = f"key-{day}-{seed}", "logistic_regression"
        frame = inputs(self.spec.feature_types, rows_of(self.spec, 200, seed))
        labels = (np.random.default_rng(seed).random(200) < 0.4).astype(int)
        pipeline = families.build(family, {"C": 1.0}, self.spec.feature_types, 0).fit(frame, labels)
        mlflow.set_tracking_uri(self.settings.mlflow_url)
        mlflow.set_experiment(self.name)
        with mlflow.start_run() as active:
            info = mlflow.sklearn.log_model(
                pipeline, name="model", serialization_format="skops", skops_trusted_types=list(families.TRUSTED_TYPES),
                pip_requirements=["scikit-learn"],
            )  # fmt: skip
            mlflow.set_tag("evergreen.model_uri", info.model_uri)
            sample = json.loads(frame.head(20).to_json(orient="records", double_precision=15))
            answers = pipeline.predict_proba(frame.head(20))[:, 1].tolist()
            mlflow.log_dict(
                {"rows": [{"features": f, "prediction": p} for f, p in zip(sample, answers, strict=True)]},
                "sample.json",
            )
        return {"passed": passed, "reason": "worse than the champion" if not passed else "better", "key": key,
                "mlflow_run_id": active.info.run_id, "family": family}  # fmt: skip

    def registered(self, day: int, *, seed: int | None = None) -> dict[str, Any]:
        return registry.register(self.run(day), self.gated(day, seed=seed))

    def champion(self, day: int) -> dict[str, Any]:
        """A registered version that is deployed to the running server."""
        registered = self.registered(day)
        serve.deploy(self.run(day), registered)
        return registered

    def break_version(self, registered: dict[str, Any]) -> None:
        """Leave of a version's model only a file that is no model."""
        uri = mlflow.get_run(registered["mlflow_run_id"]).data.tags["evergreen.model_uri"]
        folder = Path(mlflow.artifacts.download_artifacts(uri))
        root = mlflow.get_logged_model(uri.removeprefix("models:/")).artifact_location
        (folder / "model.skops").write_bytes(b"damaged")
        repository = mlflow.MlflowClient()
        repository.log_model_artifacts(uri.removeprefix("models:/"), str(folder))
        assert root

    def events(self) -> list[tuple[str, int]]:
        return [(event["event"], event["version"]) for event in audit.trail(self.name)]

    def aliases(self) -> tuple[int | None, int | None]:
        """Champion and last known good."""
        champion, good = store.champion(self.name), store.last_known_good(self.name)
        return champion and champion.number, good and good.number

    def logged(self) -> dict[tuple[str, int], dict[str, Any]]:
        """The prediction log by request and position."""
        with psycopg.connect(self.settings.database_url("evergreen"), row_factory=psycopg.rows.dict_row) as connection:
            found = connection.execute("select * from predictions where model = %s", [self.name]).fetchall()
        return {(row["request_id"], row["position"]): row for row in found}

    def serve(self, *arguments: str, wait: bool = True, stdin: int | None = subprocess.DEVNULL) -> Server:
        """Start a server on the address that the settings name."""
        port = self.settings.server_url.rpartition(":")[2]
        log = self.logs / f"server-{len(self.servers)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "evergreen.serve", "--port", port, *arguments],
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        server = Server(self.settings.server_url, process, log)
        self.servers.append(server)
        if wait:
            server.wait()
        return server


def put_online(spec: ModelSpec, day: int, customers: Sequence[str]) -> None:
    """Write features of customers as ingestion does."""
    features.ensure_applied(spec)
    frame = rows_of(spec, len(customers), seed=99)
    for view, declared in spec.features.items():
        columns = {
            spec.entity.key: pa.array(customers, pa.string()),
            **{name: pa.array(frame[name].tolist(), _TYPES[kind]) for name, kind in declared.features.items()},
            **{
                name: pa.array([at(day)] * len(customers), pa.timestamp("us", "UTC"))
                for name in ("event_timestamp", "known_at")
            },
        }
        features.write_online(spec, view, pa.table(columns))


@pytest.fixture
def shop(
    home: Settings, mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Shop]:
    """The model, 40 customers with features online as of day 0; mark with `plain` for a server without replay mode."""
    name = f"shop{next(_names)}"
    source = PROJECT / "include" / "models" / "churn"
    for path in source.rglob("*"):
        if path.is_file():
            target = tmp_path / "models" / name / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(path.read_text().replace("model: churn", f"model: {name}"))
    monkeypatch.setenv("EVERGREEN_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", mlflow_url)
    monkeypatch.setenv("EVERGREEN_SERVER_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("EVERGREEN_SERVER_TOKEN", "secret")
    monkeypatch.setenv("EVERGREEN_REPLAY", getattr(request, "param", "1"))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT / "include"))
    evergreen_settings.cache_clear()
    spec = load_spec(tmp_path / "models" / name)
    shop = Shop(spec, evergreen_settings(), tmp_path)
    put_online(spec, 0, [customer(number) for number in range(CUSTOMERS)])
    yield shop
    for server in shop.servers:
        server.process.kill()
        server.process.wait()


Sender = Callable[[], None]
__all__ = ["CUSTOMERS", "UTC", "Sender", "Server", "Shop", "at", "customer"]
