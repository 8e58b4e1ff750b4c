"""The model server against `mlflow models serve` and the bare work."""

from __future__ import annotations

import http.client
import os
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from benchmarks import shops, workload
from benchmarks.document import duration, ratios, table
from benchmarks.measure import Ratio, in_turns, percentile
from benchmarks.shops import FAMILY, Bare, Client, Shop
from evergreen.addresses import free_port
from evergreen.local.processes import Processes, answers
from evergreen.settings import Settings

REQUESTS = {1: 300, 50: 100, 1000: 20}  # entities of a request → requests timed
CLIENTS, SECONDS, ROUNDS = 8, 4.0, 2  # of the throughput
STARTS = 5  # of the server, for each thing that may be the matter with MLflow
FIRST_ANSWER = 5.0  # seconds from its start that the server may take while MLflow is away or hangs


def run() -> str:
    """The section's text."""
    os.environ["OMP_NUM_THREADS"] = "1"  # as the server does; before any library that reads it is loaded
    with workload.home() as here, shops.opened(here) as shop, closing(Bare(here, shop.spec)) as bare:
        _same_answers(shop, bare)
        latency = [row for size, requests in REQUESTS.items() for row in _latency(shop, bare, size, requests)]
        throughput = _throughput(shop, bare)
        whole = [row.ours for row in latency if row.what.startswith("p50") and row.against == _BARE]
        parts = _parts(here, shop, bare, whole)
        starts = _starts(here, shop)
        return "\n\n".join([_PROSE.format(family=FAMILY), ratios(latency), ratios(throughput), parts, starts])


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
            "ours": lambda: _rate(lambda: shop.evergreen().send, [shop.request(some) for some in keys]),  # noqa: B023 - called at once
            "mlflow": lambda: _rate(lambda: shop.peer().send, [shop.peer_request(some) for some in keys]),  # noqa: B023 - called within this turn of the loop
            "bare": lambda: _rate(lambda: bare.again().answer, keys),  # noqa: B023 - called within this turn of the loop
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
    from evergreen.features import online_rows
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
            _sending(lambda keys: online_rows.read(shop.spec, [shop.spec.entity.values(key) for key in keys]), batches),
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
                f"http://127.0.0.1:{free_port()}",
                FIRST_ANSWER,
            ),
            ("MLflow hangs: it takes connections and is silent", hanging, FIRST_ANSWER),
        ):
            starts = [_first_answer(here, shop.spec.model, body, mlflow_url) for _ in range(STARTS)]
            ready, seconds, megabytes = zip(*starts, strict=True)
            slowest = duration(max(seconds)) if not bound or max(seconds) < bound else f"**{duration(max(seconds))}**"
            limit = f"below {bound:.0f} s" if bound else ""
            medians = duration(statistics.median(ready)), duration(statistics.median(seconds))
            rows.append((matter, f"{STARTS} starts", *medians, slowest, limit, f"{max(megabytes):.0f} MB"))
    return (
        "From the model server's start until `/readyz` says so, and to its first answered prediction, from its own "
        "copy of the version; and the memory that it has then (resident, the largest):\n\n"
        + table(("what", "size", "ready", "first answer", "slowest", "asked", "memory"), rows)
    )


def _first_answer(here: Settings, model: str, body: bytes, mlflow_url: str) -> tuple[float, float, float]:
    """Seconds from the start of a server until it is ready, and to the answer of its first prediction, and the memory
    that it has then, in MB; the server ends with it."""
    port, usual = free_port(), workload.services(here)["server"]
    url = f"http://127.0.0.1:{port}"
    command = [*usual.command[: usual.command.index("--port")], "--port", str(port)]
    addresses = {"EVERGREEN_SERVER_URL": url, "EVERGREEN_MLFLOW_URL": mlflow_url}
    processes, started = Processes(here.home), time.monotonic()
    processes.start(replace(usual, name="server-anew", command=command, environment={**usual.environment, **addresses}))
    try:
        while time.monotonic() - started < 120:
            try:
                Client(url, f"/models/{model}/predict").post(body)
                answered = time.monotonic() - started
            except (OSError, AssertionError):  # it does not listen yet, or has no version yet
                time.sleep(0.02)
                continue
            while not answers(f"{url}/readyz"):
                time.sleep(0.005)
            ready, process = time.monotonic() - started, processes.process("server-anew")
            assert process is not None
            return ready, answered, process.memory_info().rss / 1e6
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
