"""What the sides of the serving benchmark answer from: a champion, its features online, and a server of each kind."""

from __future__ import annotations

import copy
import itertools
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg

from benchmarks import load, workload
from evergreen.addresses import free_port
from evergreen.features.packed import Reader
from evergreen.local.processes import Service, answers
from evergreen.run import Run
from evergreen.serve import keys as client_keys
from evergreen.settings import PROJECT, Settings
from evergreen.spec.schema import ModelSpec

CUSTOMERS, DAYS = 1000, 14
FAMILY = "gradient_boosting"


class Client:
    """One kept-open connection. Nothing of an HTTP library: what it costs a request would be measured with every side,
    on the processors that they share."""

    def __init__(self, url: str, path: str, key: str = "") -> None:
        place = urlsplit(url)
        self._socket = socket.create_connection((place.hostname, place.port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = f"POST {path} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
        self._head = (head + bearer(key)).encode()

    def post(self, body: bytes) -> Any:
        """What is answered."""
        return json.loads(self.send(body))

    def send(self, body: bytes) -> bytes:
        """The answer's body."""
        self._socket.sendall(b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(body), body))
        answer, end, size = b"", -1, 0
        while end < 0 or len(answer) < end + size:
            piece = self._socket.recv(1 << 18)
            if not piece:
                raise ConnectionError("the server closed the connection")
            answer += piece
            if end < 0 and (end := answer.find(b"\r\n\r\n") + 4) >= 4:
                size = int(answer[:end].lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            end = end if end >= 4 else -1
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:500]
        return answer[end:]


def bearer(key: str) -> str:
    """The header that shows a client's key; nothing without one."""
    return f"Authorization: Bearer {key}\r\n" if key else ""


@dataclass(frozen=True)
class Shop:
    """What all sides answer from: a champion in the registry, its features online, and everyone's keys."""

    spec: ModelSpec
    server: str
    mlflow: str
    bare: str
    key: str  # of a client
    keys: list[str]
    features: dict[str, dict[str, Any]]

    def batches(self, size: int) -> Iterator[list[str]]:
        """Keys of requests of that size, without end."""
        around = itertools.cycle(self.keys)
        while True:
            yield list(itertools.islice(around, size))

    def request(self, keys: list[str]) -> bytes:
        """Evergreen's request: keys alone."""
        entities = [{"customer_id": key} for key in keys]
        return json.dumps({"entity": entities[0]} if len(keys) == 1 else {"entities": entities}).encode()

    def peer_request(self, keys: list[str]) -> bytes:
        """MLflow's request: the features themselves."""
        columns = list(self.spec.feature_types)
        rows = [[self.features[key][name] for name in columns] for key in keys]
        return json.dumps({"dataframe_split": {"columns": columns, "data": rows}}).encode()

    def asking(self, keys: Sequence[list[str]]) -> tuple[str, list[bytes]]:
        """Evergreen's address, and whole requests of these entities."""
        path, key = f"/models/{self.spec.model}/predict", bearer(self.key)
        return self.server, [load.request(self.server, path, self.request(some), key) for some in keys]

    def asking_peer(self, keys: Sequence[list[str]]) -> tuple[str, list[bytes]]:
        """The same of MLflow."""
        return self.mlflow, [load.request(self.mlflow, "/invocations", self.peer_request(some)) for some in keys]

    def asking_bare(self, keys: Sequence[list[str]]) -> tuple[str, list[bytes]]:
        """The same of the bare handler."""
        return self.bare, [load.request(self.bare, "/", self.request(some)) for some in keys]

    def evergreen(self) -> Client:
        return Client(self.server, f"/models/{self.spec.model}/predict", self.key)

    def peer(self) -> Client:
        return Client(self.mlflow, "/invocations")


def under_load(
    connect: Callable[[], Client], bodies: Sequence[bytes], clients: int, seconds: float, pause: float = 0.0
) -> list[float]:
    """Seconds of each request of so many clients at once, each with a connection of its own.

    Args:
        seconds: for which they ask.
        pause: of a client between two requests, in seconds.
    """
    ended = threading.Event()

    def send(number: int) -> list[float]:
        client = connect()
        spent: list[float] = []
        while not ended.is_set():
            started = time.perf_counter()
            client.send(bodies[(number * 13 + len(spent)) % len(bodies)])
            spent.append(time.perf_counter() - started)
            time.sleep(pause)
        return spent

    with ThreadPoolExecutor(clients) as pool:
        sending = [pool.submit(send, number) for number in range(clients)]
        ended.wait(seconds)
        ended.set()
        return [each for one in sending for each in one.result()]


class Bare:
    """The store read in one statement over one connection, and the model called on it, in this process."""

    def __init__(self, here: Settings, spec: ModelSpec) -> None:
        from evergreen.features.online_tables import view_name
        from evergreen.features.repository import feature_store
        from evergreen.registry import loading

        self._spec = spec
        self._version = feature_store().config.entity_key_serialization_version
        self._model, self._reader = loading.load(spec.model, 1), Reader(tuple(spec.feature_types))
        self._database, self._opened = here.database_url("feast"), ExitStack()
        self._connection = self._connect()
        project = feature_store().config.project
        self._query = " union all ".join(
            f'select entity_key, features from "{project}_{name}" where entity_key = any(%(keys)s)'
            for name in (view_name(spec.dataset_of(view), view) for view in spec.features)
        )

    def again(self) -> Bare:
        """The same model over a connection of its own."""
        other = copy.copy(self)
        other._connection = self._connect()
        return other

    def close(self) -> None:
        """End all connections."""
        self._opened.close()

    def _connect(self) -> psycopg.Connection:
        return self._opened.enter_context(psycopg.connect(self._database, autocommit=True))

    def read(self, keys: list[str]) -> list[dict[str, Any]]:
        from feast.infra.key_encoding_utils import serialize_entity_key
        from feast.protos.feast.types.EntityKey_pb2 import EntityKey
        from feast.protos.feast.types.Value_pb2 import Value

        names = [*self._spec.entity.columns]
        packed = [
            serialize_entity_key(EntityKey(join_keys=names, entity_values=[Value(string_val=key)]), self._version)
            for key in keys
        ]
        by_key: dict[bytes, dict[str, Any]] = {key: {} for key in packed}
        for key, features in self._connection.execute(self._query.encode(), {"keys": packed}):
            by_key[key].update(self._reader.values(features))
        return [by_key[key] for key in packed]

    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        answers: list[float] = self._model.answer(rows).tolist()
        return answers

    def answer(self, keys: list[str]) -> list[float]:
        return self.predict(self.read(keys))


@contextmanager
def opened(here: Settings) -> Iterator[Shop]:
    """Ingest, train one family, register it as champion, and start both servers on it."""
    spec = workload.model(here)
    spec = spec.model_copy(update={"search": spec.search.model_copy(update={"trials": 2})})
    print(f"  ingesting {DAYS} days of {CUSTOMERS} customers")
    for interval in workload.deliver(here, CUSTOMERS, workload.FIRST, DAYS):
        workload.ingest(spec, interval)
    run = Run(spec, interval)
    services = workload.services(here)
    with workload.service(here, services["mlflow"]):
        print(f"  training {FAMILY}")
        train_champion(run)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", f"models:/{spec.model}/1"]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # it looks for uvicorn there
        peer = Service(
            "mlflow-models-serve",
            [*command, "--env-manager", "local", "--port", str(port), "--workers", "1"],
            {
                **services["server"].environment,
                "MLFLOW_TRACKING_URI": here.mlflow_url,
                "PATH": path,
                "TMPDIR": str(here.home),
            },
            lambda: answers(f"{url}/ping"),
        )
        beside = free_port()
        bare = Service(
            "bare-asgi-handler",
            [sys.executable, "-m", "benchmarks.bare_server", str(beside), spec.model],
            {**services["server"].environment, "PYTHONPATH": str(PROJECT)},
            lambda: answers(f"http://127.0.0.1:{beside}/ping"),
        )
        print("  starting the servers")
        with ExitStack() as running:
            for each in (services["server"], peer, bare):
                running.enter_context(workload.service(here, each))
            while not answers(f"{here.server_url}/readyz"):
                time.sleep(0.2)
            _, client = client_keys.add("benchmark", [], "benchmark")
            names, features = online(run)
            time.sleep(2)  # until the server has read who may ask
            yield Shop(spec, here.server_url, url, f"http://127.0.0.1:{beside}", client, names, features)


def train_champion(run: Run) -> None:
    """Train one family and make it the champion, whatever its gates would say."""
    from evergreen.registry import promotion, registering, store
    from evergreen.registry.tags import Tag
    from evergreen.train import stages as train
    from evergreen.validate import stages as validate

    workload.labels(run)
    data = validate.validate_training(run, train.build(run))
    candidate, model = train.tune(run, data, FAMILY), run.spec.model
    with store.locked(model):
        tags: dict[str, str] = {Tag.FAMILY: candidate.family, Tag.REASON: run.reason}
        version = store.register(model, run_id=candidate.run.id, key=data.key, as_of=run.as_of, tags=tags)
        registering.record(run, version)
    actor, reason = "benchmark", "the only one"
    intent = promotion.intend(version, "promotion", None, model=model, actor=actor, reason=reason)
    promotion.complete(intent)


def online(run: Run) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The customers of the run's interval, and their features by key."""
    from evergreen.features import online_rows
    from evergreen.lake import tables
    from evergreen.lake.schema import FEATURES

    stored = tables.read(FEATURES.of(run.spec.model, next(iter(run.spec.features))), [run.interval.partition])
    assert stored is not None
    keys: list[str] = stored[run.spec.entity.key].to_pylist()
    values = online_rows.read(run.spec, [run.spec.entity.values(key) for key in keys])
    return keys, {key: entity["features"] for key, entity in zip(keys, values, strict=True)}
