"""Models with features online and candidates in a real MLflow, one model server that tests share,
and servers of a test's own.

A server takes seconds to import its libraries and milliseconds to fork, so all of them are forked from one process that
has imported them (`forker.py`); `python -m evergreen.serve` itself runs where a version is probed. Tests that share the
server share nothing else: each takes the next model of a pool.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pandas as pd
import psutil
import psycopg
import pyarrow as pa
import pytest

from evergreen.addresses import free_port
from evergreen.families import family as family_of
from evergreen.features import objects, online_rows, online_values
from evergreen.handovers.train import Probed, Refitted
from evergreen.history import ledger
from evergreen.history.events import Promoted, RolledBack
from evergreen.interval import Interval
from evergreen.local import postgres
from evergreen.model import families
from evergreen.model.rows import inputs
from evergreen.registry import artifacts, loading, pipelines, records, store
from evergreen.registry import stages as registry
from evergreen.registry.contents import Reference
from evergreen.registry.records import Candidate, Digest
from evergreen.run import Run
from evergreen.runtime.exporting import export
from evergreen.serve import predictions
from evergreen.serve import stages as serve
from evergreen.serve.models import LOOK_SECONDS
from evergreen.serve.slot import RELOAD_SECONDS
from evergreen.settings import PROJECT, Settings
from evergreen.settings import settings as evergreen_settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from tests.churn import one_folder
from tests.handovers import gated, judged, probed

FIRST = date(2026, 1, 1)
CUSTOMERS = 40
POOL = 96  # models of the shared server
_TYPES = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "category": pa.string()}


def at(day: int) -> datetime:
    return Interval.of_day(FIRST + timedelta(days=day)).as_of


def customer(number: int) -> str:
    return f"c-{number % CUSTOMERS:03}"


def until(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """What the condition returns, once that is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)
    return value


def rows_of(spec: ModelSpec, count: int, seed: int) -> pd.DataFrame:
    """Random rows of the spec's features."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            name: rng.choice(["a", "b", "c"], count)
            if kind == "category"
            else rng.integers(0, 2, count).astype(bool)
            if kind == "bool"
            else rng.integers(0, 50, count)
            if kind == "int"
            else rng.normal(10, 3, count)
            for name, kind in spec.feature_types.items()
        }
    )


class Forker:
    """The process that servers are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(PROJECT / "include")},
        )
        self._ready = False

    def start(
        self,
        arguments: Sequence[str],
        log: Path,
        stdin: str,
        *,
        look: float = LOOK_SECONDS,
        reload: float = RELOAD_SECONDS,
    ) -> int:
        """The process id of a new server, with this process's environment.

        Args:
            look: seconds between two looks at the ledger and MLflow.
            reload: seconds until a champion that cannot be served is tried again.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        if not self._ready:
            assert self._process.stdout.readline() == "ready\n", "the libraries of the server cannot be imported"
            self._ready = True
        job = {
            "arguments": list(arguments),
            "log": str(log),
            "stdin": stdin,
            "environment": dict(os.environ),
            "look": look,
            "reload": reload,
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@dataclass
class Server:
    """A model server in a process of its own."""

    url: str
    pid: int
    log: Path

    def predict(self, model: str, **body: Any) -> httpx.Response:
        return self.post(f"/models/{model}/predict", json=body)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", timeout=60, **options)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=30)

    def describe(self, model: str) -> dict[str, Any]:
        description: dict[str, Any] = self.get(f"/models/{model}").json()
        return description

    def readiness(self) -> dict[str, Any]:
        """What /readyz says of all models, without what is wrong with single ones."""
        state: dict[str, Any] = self.get("/readyz").json()
        return {name: state[name] for name in ("ready", "missing")}

    def metric(self, sample: str) -> float:
        """A sample of /metrics, named with its labels; 0 when it is not there yet."""
        lines = [line for line in self.get("/metrics").text.splitlines() if line.startswith(f"{sample} ")]
        return float(lines[0].rpartition(" ")[2]) if lines else 0.0

    @property
    def alive(self) -> bool:
        return psutil.pid_exists(self.pid)

    def answers(self, path: str, status: int = 200) -> bool:
        assert self.alive, f"the server ended:\n{self.log.read_text()}"
        try:
            return self.get(path).status_code == status
        except httpx.TransportError:
            return False

    def wait(self, status: int = 200) -> None:
        """Until /readyz answers with the status."""
        until(lambda: self.answers("/readyz", status), f"/readyz {status}", 120)

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def stop(self) -> None:
        """Killed, and gone."""
        if self.alive:
            self.send(signal.SIGKILL)
        until(lambda: not self.alive, "the server is gone")


@dataclass
class ServedModel:
    """A model, and what tests do with it."""

    spec: ModelSpec
    settings: Settings
    logs: Path
    forker: Forker
    candidates: dict[int, str]  # MLflow run by seed, shared by all models
    servers: list[Server] = field(default_factory=list)
    graphs: bool = False  # whether its versions answer with graphs

    @property
    def name(self) -> str:
        return self.spec.model

    @property
    def server(self) -> Server:
        return self.servers[-1]

    def run(self, day: int, run_id: str | None = None) -> Run:
        return Run(self.spec, Interval.of_day(FIRST + timedelta(days=day)), run_id=run_id or f"test__{day}")

    def gated(self, day: int, *, passed: bool = True, seed: int | None = None) -> Refitted:
        """A candidate in MLflow as training logs it, and the gates' verdict."""
        seed, champion = day if seed is None else seed, store.champion(self.name)
        candidate = judged(
            self.run_of(seed),
            passed=passed,
            reason="better" if passed else "worse than the champion",
            key=f"key-{day}-{seed}",
            compared_with=champion and champion.number,
        )
        return gated(self.run(day), candidate)

    def run_of(self, seed: int) -> str:
        """An MLflow run of this model's own; the fitted pipeline, which takes seconds to log,
        is shared with other models."""
        if seed not in self.candidates:
            self.candidates[seed] = self._candidate(seed)
        client = mlflow.MlflowClient(self.settings.mlflow_url)
        shared = client.get_run(self.candidates[seed])
        name = f"{self.name}-{seed}-{self.graphs}"
        known = client.search_runs([shared.info.experiment_id], f"tags.name = '{name}'")
        if known:
            return str(known[0].info.run_id)
        own = client.create_run(
            shared.info.experiment_id,
            tags={"evergreen.model_uri": shared.data.tags["evergreen.model_uri"], "name": name},
        )
        run_id, model_id = str(own.info.run_id), shared.data.tags["evergreen.model_uri"].removeprefix("models:/")
        files = {
            "sample.json": artifacts.download(shared.info.run_id, "", "sample.json"),
            "spec.json": self.spec.model_dump_json().encode(),
        }
        for file, content in files.items():
            client.log_text(run_id, content.decode(), file)
        files["reference.parquet"] = Reference(rows_of(self.spec, 200, seed)).to_bytes()
        self.put(run_id, "reference.parquet", files["reference.parquet"])
        files["model.skops"] = artifacts.download(run_id, model_id, "model.skops")
        if self.graphs:
            files["model.onnx"] = self.graph(files["model.skops"])
            self.put(run_id, "model.onnx", files["model.onnx"])
        digests = {file: Digest.of(content) for file, content in files.items()}
        records.add_candidate(Candidate(run_id, self.name, "logistic_regression", model_id, digests))
        return run_id

    def graph(self, pipeline: bytes) -> bytes:
        """As packaging makes it."""
        fitted = pipelines.parse_pipeline(pipeline, "logistic_regression", "a test's model")
        return export(fitted, families.columns_of(self.spec.feature_types))

    def put(self, run_id: str, name: str, content: bytes) -> None:
        """A file of an MLflow run."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            file.write_bytes(content)
            mlflow.MlflowClient(self.settings.mlflow_url).log_artifact(run_id, str(file))

    def rewrite(self, run_id: str, name: str, text: str) -> None:
        """Another file in place of a run's own, recorded as if training had written it."""
        mlflow.MlflowClient(self.settings.mlflow_url).log_text(run_id, text, name)
        records.add_file(run_id, name, text.encode())

    def unanswering(self, day: int) -> Probed:
        """A registered version that answers a row in which nothing is known, and about half of the
        customers with no number."""
        seed = 5000 + len(self.candidates)
        self.candidates[seed] = self._candidate(seed, answering=False)
        return self.registered(day, seed=seed)

    def _candidate(self, seed: int, *, answering: bool = True) -> str:
        frame = inputs(self.spec.feature_types, rows_of(self.spec, 200, seed))
        labels = (np.random.default_rng(seed).random(200) < 0.4).astype(int)
        pipeline = families.build("logistic_regression", {"C": 1.0}, self.spec.feature_types, 0).fit(frame, labels)
        if not answering:
            unknown = inputs(self.spec.feature_types, pd.DataFrame([dict.fromkeys(self.spec.feature_types)]))
            pipeline[-1].coef_[0, :2] = np.inf * np.sign(pipeline[:-1].transform(unknown)[0, :2])
        mlflow.set_tracking_uri(self.settings.mlflow_url)
        mlflow.set_experiment("candidates")
        with mlflow.start_run() as active:
            info = mlflow.sklearn.log_model(
                pipeline,
                name="model",
                serialization_format="skops",
                skops_trusted_types=list(family_of("logistic_regression").types),
                pip_requirements=["scikit-learn"],
            )
            mlflow.set_tag("evergreen.model_uri", info.model_uri)
            sample = json.loads(frame.head(20).to_json(orient="records", double_precision=15))
            answers = np.nan_to_num(pipeline.predict_proba(frame.head(20))[:, 1]).tolist()
            rows = [{"features": given, "prediction": answer} for given, answer in zip(sample, answers, strict=True)]
            mlflow.log_dict({"rows": rows}, "sample.json")
        run_id: str = active.info.run_id
        return run_id

    def registered(self, day: int, *, seed: int | None = None) -> Probed:
        """A registered version, taken as probed: a fresh process for each test's would take seconds."""
        return probed(registry.register(self.run(day), self.gated(day, seed=seed)))

    def champion(self, day: int) -> int:
        """The number of a version that was registered and deployed to the running server."""
        return serve.deploy(self.run(day), self.registered(day)).version

    def damaged(self, day: int) -> Probed:
        """A registered version whose model's file is another one since."""
        registered = self.registered(day, seed=1000 + len(self.candidates))
        self.damage(registered.run.id)
        return registered

    def damage(self, run_id: str) -> None:
        """Put another file in place of the model of an MLflow run."""
        model_id = mlflow.get_run(run_id).data.tags["evergreen.model_uri"].removeprefix("models:/")
        damaged = self.logs / "model.skops"
        damaged.write_bytes(b"damaged")
        mlflow.MlflowClient().log_model_artifact(model_id, str(damaged))

    def events(self) -> list[tuple[str, int]]:
        """Promotions and rollbacks, and the version that each led to."""
        moves = (entry.event for entry in ledger.entries(self.name))
        return [(event.event, event.version) for event in moves if isinstance(event, Promoted | RolledBack)]

    def kinds(self) -> list[str]:
        """What the ledger has of the model."""
        return [entry.event.event for entry in ledger.entries(self.name)]

    def aliases(self) -> tuple[int | None, int | None]:
        """Champion and last known good."""
        registered = store.registered(self.name).get(self.name)
        aliases = registered.aliases if registered else {}
        return aliases.get(store.CHAMPION), aliases.get(store.LAST_KNOWN_GOOD)

    def versions(self) -> list[int]:
        """All registered versions."""
        registered = mlflow.MlflowClient(self.settings.mlflow_url).search_model_versions(f"name = '{self.name}'")
        return sorted(int(version.version) for version in registered)

    def answers(self, number: int) -> list[float]:
        """What a version must answer for every customer, computed here."""
        entities = online_rows.read(self.spec, [{"customer_id": customer(n)} for n in range(CUSTOMERS)])
        frame = pd.DataFrame([entity["features"] for entity in entities])
        answered: list[float] = loading.load(self.name, number).predict(inputs(self.spec.feature_types, frame)).tolist()
        return answered

    def logged(self) -> dict[tuple[str, int], predictions.Prediction]:
        """The prediction log by request and position."""
        rows = predictions.between(self.name, datetime.min.replace(tzinfo=at(0).tzinfo), at(10_000))
        return {(row.request_id, row.position): row for row in rows}

    @contextmanager
    def blocked_log(self) -> Iterator[Callable[[], bool]]:
        """No row can be logged within the block; what it yields tells whether the server waits to do so."""
        url = self.settings.database_url("evergreen")
        with psycopg.connect(url) as blocker, psycopg.connect(url, autocommit=True) as watcher:
            blocker.execute("lock table predictions in exclusive mode")

            def waits() -> bool:
                held_up = "select 1 from pg_locks where relation = 'predictions'::regclass and not granted"
                return watcher.execute(held_up).fetchone() is not None

            yield waits

    def serve(
        self, *arguments: str, wait: bool = True, stdin: str = os.devnull, reload: float = RELOAD_SECONDS
    ) -> Server:
        """Start a server on the address that the settings name; it looks every second,
        since a test waits for what it sees."""
        port = self.settings.server_url.rpartition(":")[2]
        log = self.logs / f"{self.name}-{len(self.servers)}.log"
        pid = self.forker.start(["--port", port, *arguments], log, stdin, look=1.0, reload=reload)
        server = Server(self.settings.server_url, pid, log)
        self.servers.append(server)
        if wait:
            server.wait()
        return server


def put_online(spec: ModelSpec, day: int, customers: Sequence[str], views: Sequence[str] | None = None) -> None:
    """Write features of customers as ingestion does."""
    objects.ensure_applied(spec)
    frame = rows_of(spec, len(customers), seed=99)
    for view in views or list(spec.features):
        columns = {
            spec.entity.key: pa.array(customers, pa.string()),
            **{
                name: pa.array(frame[name].tolist(), _TYPES[kind])
                for name, kind in spec.features[view].features.items()
            },
            **{
                name: pa.array([at(day)] * len(customers), pa.timestamp("us", "UTC"))
                for name in ("event_timestamp", "known_at")
            },
        }
        online_values.write(spec, view, pa.table(columns))


def declare(folder: Path, name: str) -> Path:
    """The churn model's spec under another name, with data of its own."""
    return one_folder(folder / name)


def beside(served: ServedModel) -> ServedModel:
    """A model whose folder appears now, beside that of a running server's."""
    spec = load_spec(declare(served.spec.folder.parent, f"{served.name}_new"))
    put_online(spec, 0, [customer(n) for n in range(CUSTOMERS)])
    return ServedModel(spec, served.settings, served.logs, served.forker, served.candidates, served.servers)


@dataclass
class SharedServer:
    """What all tests of a folder share."""

    name: str  # of its models and databases: all folders share one MLflow
    folder: Path
    forker: Forker
    server: Server
    candidates: dict[int, str] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)  # of the shared server's models
    lone: Iterator[int] = field(default_factory=itertools.count)  # of those with servers of their own

    def next_model(self) -> ServedModel:
        """The next model, on the shared server, with 40 customers' features online as of day 0."""
        number = next(self.numbers)
        assert number < POOL, "all models of the shared server are taken: raise POOL"
        spec = load_spec(self.folder / "models" / f"{self.name}{number}")
        put_online(spec, 0, [customer(n) for n in range(CUSTOMERS)])
        return ServedModel(spec, evergreen_settings(), self.folder, self.forker, self.candidates, [self.server])


@pytest.fixture(scope="session")
def forker() -> Iterator[Forker]:
    """Begins to import while other services start."""
    forker = Forker()
    yield forker
    forker.close()


@pytest.fixture(scope="package")
def shared_server(
    forker: Forker, postgres_url: str, mlflow_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedServer]:
    """The shared server in replay mode, and the settings that it and the tests have."""
    with running_shared_server(
        "shop", forker, postgres_url, mlflow_url, tmp_path_factory.mktemp("shared-server")
    ) as shared_server:
        yield shared_server


@contextmanager
def running_shared_server(
    name: str, forker: Forker, postgres_url: str, mlflow_url: str, folder: Path
) -> Iterator[SharedServer]:
    """A shared server of its own, in the settings of this process while the block runs."""
    prefix = f"t{os.getpid()}_{name}_"
    port = free_port()
    environment = {
        "HOME": str(folder / "home"),
        "DATABASE": postgres_url,
        "DATABASE_PREFIX": prefix,
        "MODELS": str(folder / "models"),
        "MLFLOW_URL": mlflow_url,
        "SERVER_URL": f"http://127.0.0.1:{port}",
        "REPLAY": "1",
    }
    postgres.create_databases(postgres_url, [f"{prefix}{database}" for database in ("evergreen", "optuna", "feast")])
    for number in range(POOL):
        declare(folder / "models", f"{name}{number}")
    with pytest.MonkeyPatch.context() as patch:
        for setting, value in environment.items():
            patch.setenv(f"EVERGREEN_{setting}", value)
        patch.setenv("PYTHONPATH", str(PROJECT / "include"))  # of the processes that the tests start
        evergreen_settings.cache_clear()
        log = folder / "server.log"
        server = Server(evergreen_settings().server_url, forker.start(["--port", str(port)], log, os.devnull), log)
        try:
            server.wait()
            yield SharedServer(name, folder, forker, server)
        finally:
            server.stop()
    evergreen_settings.cache_clear()


@pytest.fixture
def served(shared_server: SharedServer) -> ServedModel:
    """A model of its own on the shared server."""
    return shared_server.next_model()


@pytest.fixture
def alone(shared_server: SharedServer, tmp_path: Path) -> Iterator[ServedModel]:
    """A model whose servers the test starts and ends itself."""
    name = f"{shared_server.name}_alone{next(shared_server.lone)}"
    spec = load_spec(declare(tmp_path / "models", name))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_MODELS", str(tmp_path / "models"))
        patch.setenv("EVERGREEN_SERVER_URL", f"http://127.0.0.1:{free_port()}")
        evergreen_settings.cache_clear()
        put_online(spec, 0, [customer(n) for n in range(CUSTOMERS)])
        served = ServedModel(spec, evergreen_settings(), tmp_path, shared_server.forker, shared_server.candidates)
        yield served
        for server in served.servers:
            server.stop()
    evergreen_settings.cache_clear()
