"""The model server against `mlflow models serve` and the bare work."""

from __future__ import annotations

import copy
import http.client
import itertools
import json
import os
import socket
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import psycopg

from benchmarks import workload
from benchmarks.document import duration, ratios, table
from benchmarks.measure import Ratio, in_turns, percentile
from evergreen.local import postgres
from evergreen.local.processes import Processes, Service, answers
from evergreen.run import Run
from evergreen.settings import Settings
from evergreen.spec.schema import ModelSpec

CUSTOMERS, DAYS = 1000, 14
REQUESTS = {1: 300, 50: 100, 1000: 20}  # entities of a request → requests timed
CLIENTS, SECONDS, ROUNDS = 8, 4.0, 2  # of the throughput
FAMILY = "gradient_boosting"
STARTS = 5  # of the server, for each thing that may be the matter with MLflow
FIRST_ANSWER = 5.0  # seconds from its start that the server may take while MLflow is away or hangs


class Client:
    """One kept-open connection; http.client costs a third of a millisecond per request less than httpx."""

    def __init__(self, url: str, path: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self._path = path

    def post(self, body: bytes) -> Any:
        self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        text = answer.read()
        assert answer.status == 200, f"{answer.status}: {text[:500]!r}"
        return json.loads(text)


@dataclass(frozen=True)
class Shop:
    """What all sides answer from: a champion in the registry, its features online, and everyone's keys."""

    spec: ModelSpec
    server: str
    mlflow: str
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

    def evergreen(self) -> Client:
        return Client(self.server, f"/models/{self.spec.model}/predict")

    def peer(self) -> Client:
        return Client(self.mlflow, "/invocations")


class Bare:
    """The store read in one statement over one connection, and the model called on it, in this process."""

    def __init__(self, here: Settings, spec: ModelSpec) -> None:
        from evergreen.features.objects import view_name
        from evergreen.features.repository import feature_store
        from evergreen.model.rows import inputs
        from evergreen.registry import loading

        self._spec, self._inputs = spec, inputs
        self._version = feature_store().config.entity_key_serialization_version
        self._model = loading.load(spec.model, 1)
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
        from feast.protos.feast.types.Value_pb2 import Map, Value

        names = [self._spec.entity.key]
        packed = [
            serialize_entity_key(EntityKey(join_keys=names, entity_values=[Value(string_val=key)]), self._version)
            for key in keys
        ]
        by_key: dict[bytes, dict[str, Any]] = {key: {} for key in packed}
        for key, features in self._connection.execute(self._query.encode(), {"keys": packed}):
            for name, known in Map.FromString(features).val.items():
                kind = known.WhichOneof("val")
                by_key[key][name] = getattr(known, kind) if kind else None
        return [by_key[key] for key in packed]

    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        frame = pd.DataFrame.from_records(rows, columns=list(self._spec.feature_types))
        answers: list[float] = self._model.predict(self._inputs(self._spec.feature_types, frame)).tolist()
        return answers

    def answer(self, keys: list[str]) -> list[float]:
        return self.predict(self.read(keys))


def run() -> str:
    """The section's text."""
    os.environ["OMP_NUM_THREADS"] = "1"  # as the server does; before any library that reads it is loaded
    with workload.home() as here, _shop(here) as shop, closing(Bare(here, shop.spec)) as bare:
        _same_answers(shop, bare)
        latency = [row for size, requests in REQUESTS.items() for row in _latency(shop, bare, size, requests)]
        throughput = _throughput(shop, bare)
        whole = [row.ours for row in latency if row.what.startswith("p50") and row.against == _BARE]
        parts = _parts(here, shop, bare, whole)
        starts = _starts(here, shop)
        return "\n\n".join([_PROSE.format(family=FAMILY), ratios(latency), ratios(throughput), parts, starts])


@contextmanager
def _shop(here: Settings) -> Iterator[Shop]:
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
        port = postgres.free_port()
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
        print("  starting both servers")
        with workload.service(here, services["server"]), workload.service(here, peer):
            while not answers(f"{here.server_url}/readyz"):
                time.sleep(0.2)
            keys, features = online(run)
            yield Shop(spec, here.server_url, url, keys, features)


def train_champion(run: Run) -> None:
    """Train one family and make it the champion, whatever its gates would say."""
    from evergreen.handovers.train import Judged
    from evergreen.registry import promotion, records
    from evergreen.registry import stages as registry
    from evergreen.train import stages as train
    from evergreen.validate import stages as validate

    workload.labels(run)
    data = validate.validate_training(run, train.build(run))
    candidate = train.tune(run, data, FAMILY)
    passed = Judged(
        passed=True,
        reason="a benchmark",
        gates=(),
        key=data.key,
        family=candidate.family,
        run=candidate.run,
        metric=run.spec.search.metric,
        scores={},
        compared_with=None,
    )
    version = records.version(run.spec.model, registry.register(run, passed).version)
    why = {"actor": "benchmark", "reason": "the only one"}
    intent = promotion.intend(version, "promotion", None, model=run.spec.model, **why)
    promotion.complete(intent)


def online(run: Run) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The customers of the run's interval, and their features by key."""
    from evergreen.features import online_values
    from evergreen.lake import tables
    from evergreen.lake.schema import FEATURES

    stored = tables.read(FEATURES.of(run.spec.model, next(iter(run.spec.features))), [run.interval.partition])
    assert stored is not None
    keys: list[str] = stored[run.spec.entity.key].to_pylist()
    values = online_values.read(run.spec, [{run.spec.entity.key: key} for key in keys])
    return keys, {key: entity["features"] for key, entity in zip(keys, values, strict=True)}


def _same_answers(shop: Shop, bare: Bare) -> None:
    keys = shop.keys[:50]
    ours = [item["prediction"] for item in shop.evergreen().post(shop.request(keys))["predictions"]]
    theirs = [row[1] for row in shop.peer().post(shop.peer_request(keys))["predictions"]]
    for other in (theirs, bare.answer(keys)):
        assert max(abs(a - b) for a, b in zip(ours, other, strict=True)) < 1e-9, "not the same model, or features"


def _latency(shop: Shop, bare: Bare, size: int, requests: int) -> Iterator[Ratio]:
    ours, peer, batches = shop.evergreen(), shop.peer(), shop.batches(size)
    times = in_turns(
        _sending(lambda keys: ours.post(shop.request(keys)), batches),
        _sending(lambda keys: peer.post(shop.peer_request(keys)), batches),
        _sending(bare.answer, batches),
        rounds=requests,
    )
    for name, share in (("p50", 0.5), ("p99", 0.99)) if requests >= 100 else (("p50", 0.5),):  # else it is the largest
        mine, theirs, least = (percentile(each, share) for each in times)
        what = f"{name} of a request of {size:,}"
        yield Ratio(
            what, f"{requests} requests", mine, theirs, "mlflow models serve", _REASONS.get((size, "mlflow"), "")
        )
        yield Ratio(what, f"{requests} requests", mine, least, _BARE, _REASONS.get((size, "bare"), ""))


def _sending(send: Callable[[list[str]], object], batches: Iterator[list[str]]) -> Callable[[], object]:
    return lambda: send(next(batches))


def _throughput(shop: Shop, bare: Bare) -> Iterator[Ratio]:
    """Seconds per request, with all clients asking without pause."""
    for size in (1, 50):
        batches = shop.batches(size)
        keys = [next(batches) for _ in range(100)]
        sides: dict[str, Callable[[], float]] = {
            "ours": lambda: _rate(lambda: shop.evergreen().post, [shop.request(some) for some in keys]),  # noqa: B023 - called at once
            "mlflow": lambda: _rate(lambda: shop.peer().post, [shop.peer_request(some) for some in keys]),  # noqa: B023
            "bare": lambda: _rate(lambda: bare.again().answer, keys),  # noqa: B023
        }
        measured: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(ROUNDS):
            for name, rate in sides.items():
                measured[name].append(rate())
        rates = {name: statistics.mean(each) for name, each in measured.items()}
        for name, against, reason in (
            ("mlflow", "mlflow models serve", _LOGGED),
            ("bare", _BARE, _REASONS[size, "bare"]),
        ):
            what = (
                f"{CLIENTS} clients, requests of {size}: {rates['ours']:,.0f} against {rates[name]:,.0f} requests "
                "per second"
            )
            yield Ratio(what, f"{ROUNDS} times {SECONDS:.0f} s", 1 / rates["ours"], 1 / rates[name], against, reason)


def _rate(connect: Callable[[], Callable[[Any], object]], requests: Sequence[Any]) -> float:
    """Requests per second."""
    started, ended = time.perf_counter(), threading.Event()

    def send(number: int) -> int:
        ask, sent = connect(), 0
        while not ended.is_set():
            ask(requests[(number * 13 + sent) % len(requests)])
            sent += 1
        return sent

    with ThreadPoolExecutor(CLIENTS) as pool:
        sending = [pool.submit(send, number) for number in range(CLIENTS)]
        ended.wait(SECONDS)
        ended.set()
        total = sum(each.result() for each in sending)
    return total / (time.perf_counter() - started)


def _parts(here: Settings, shop: Shop, bare: Bare, whole: list[float]) -> str:
    """Where a request's time goes: each of its parts alone, in this process, and an empty request over HTTP."""
    from evergreen.features import online_values
    from evergreen.registry import artifacts
    from evergreen.serve.loaded import load
    from evergreen.serve.predictions import Prediction, PredictionLog

    loaded, log = load(shop.spec.model, 1, artifacts.read), PredictionLog()
    alive = http.client.HTTPConnection(urlsplit(shop.server).netloc, timeout=60)
    now = datetime.now(UTC)

    def empty() -> None:
        alive.request("GET", "/healthz")
        alive.getresponse().read()

    def rows(keys: list[str]) -> list[Prediction]:
        request = os.urandom(16).hex()
        return [
            Prediction(shop.spec.model, 1, request, at, key, now, now, shop.features[key], 0.5)
            for at, key in enumerate(keys)
        ]

    columns = []
    for (size, requests), p50 in zip(REQUESTS.items(), whole, strict=True):
        batches = shop.batches(size)
        works: list[Callable[[], object]] = [
            empty,
            _sending(
                lambda keys: online_values.read(shop.spec, [{shop.spec.entity.key: key} for key in keys]), batches
            ),
            _sending(lambda keys: loaded.predict([shop.features[key] for key in keys]), batches),
            _sending(lambda keys: log.append(rows(keys)).result(), batches),
            _sending(bare.read, batches),
        ]
        *parts, least = (statistics.median(each) for each in in_turns(*works, rounds=min(requests, 100)))
        columns.append(list(map(duration, [*parts, max(0.0, p50 - sum(parts)), p50, least])))
    log.close()
    names = (
        "an empty request (`/healthz`) over HTTP",
        "features from the online store",
        "the model, from features to answers",
        "rows committed to the prediction log",
        "the rest of it",
        "**the request (p50 above)**",
        "for comparison: the bare read",
    )
    return "Where a request's time goes (medians, each part alone in the measuring process):\n\n" + table(
        ("part", *(f"request of {size:,}" for size in REQUESTS)), zip(names, *columns, strict=True)
    )


def _starts(here: Settings, shop: Shop) -> str:
    """From the start of a further server on the same home to its first
    prediction, with MLflow there, away and hanging."""
    body = shop.request(shop.keys[:1])
    rows = []
    with socket.create_server(("127.0.0.1", 0), backlog=128) as silent:  # takes connections and never says a word
        hanging = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for matter, mlflow_url, bound in (
            ("MLflow answers", here.mlflow_url, None),
            (
                "MLflow is away: nothing listens at its address",
                f"http://127.0.0.1:{postgres.free_port()}",
                FIRST_ANSWER,
            ),
            ("MLflow hangs: it takes connections and is silent", hanging, FIRST_ANSWER),
        ):
            seconds = [_first_answer(here, shop.spec.model, body, mlflow_url) for _ in range(STARTS)]
            slowest = duration(max(seconds)) if not bound or max(seconds) < bound else f"**{duration(max(seconds))}**"
            limit = f"below {bound:.0f} s" if bound else ""
            rows.append((matter, f"{STARTS} starts", duration(statistics.median(seconds)), slowest, limit))
    return (
        "From the model server's start to its first answered prediction, from its own copy of the version:\n\n"
        + table(("what", "size", "median", "slowest", "asked"), rows)
    )


def _first_answer(here: Settings, model: str, body: bytes, mlflow_url: str) -> float:
    """Seconds from the start of a server to the answer of its first prediction; the server ends with it."""
    port, usual = postgres.free_port(), workload.services(here)["server"]
    url = f"http://127.0.0.1:{port}"
    command = [*usual.command[: usual.command.index("--port")], "--port", str(port)]
    addresses = {"EVERGREEN_SERVER_URL": url, "EVERGREEN_MLFLOW_URL": mlflow_url}
    processes, started = Processes(here.home), time.monotonic()
    processes.start(replace(usual, name="server-anew", command=command, environment={**usual.environment, **addresses}))
    try:
        while time.monotonic() - started < 120:
            try:
                Client(url, f"/models/{model}/predict").post(body)
                return time.monotonic() - started
            except (OSError, AssertionError):  # it does not listen yet, or has no version yet
                time.sleep(0.02)
        raise TimeoutError(f"no prediction within 120 s: {processes.log('server-anew')}")
    finally:
        processes.stop("server-anew")


_BARE = "bare read and model call"
_PROSE = """One worker and one numeric thread each, the same {family} model from the same registry, one connection
kept open. Evergreen is asked with keys alone: it reads the features from the online store, predicts, and commits
every prediction to the log before it answers. `mlflow models serve` (`--env-manager local`) is given the features
and logs nothing. "Bare" is one SQL statement on an open connection and the model call, in the measuring process: no
HTTP, no checks, no log; for the throughput in as many threads as there are clients, each with a connection."""
_LOGGED = "reads the features and commits the log, which the other does not: see the parts below"
_REASONS = {
    (1, "bare"): "HTTP and the commit to the log: see the parts below",
    (50, "bare"): "the commit to the log, with its features as JSON: see the parts below",
    (1000, "bare"): "the commit to the log, with its features as JSON: see the parts below",
    (50, "mlflow"): _LOGGED,
    (1000, "mlflow"): _LOGGED,
}
