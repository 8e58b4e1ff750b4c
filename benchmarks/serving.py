"""The model server against `mlflow models serve` and the bare work."""

from __future__ import annotations

import http.client
import os
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from benchmarks import durable, load, shops, workload
from benchmarks.document import duration, ratios, table
from benchmarks.measure import Ratio, in_turns, percentile
from benchmarks.shops import FAMILY, Bare, Client, Shop
from evergreen.addresses import free_port
from evergreen.local.processes import Processes, answers
from evergreen.settings import Settings

REQUESTS = {1: 300, 50: 100, 1000: 20}  # entities of a request → requests timed
CLIENTS, SECONDS, ROUNDS = 8, 4.0, 2  # of the throughput
STARTS = 3  # of the server, for each thing that may be the matter with MLflow
FIRST_ANSWER = 5.0  # seconds from its start that the server may take while MLflow is away or hangs


def run() -> str:
    """The section's text."""
    os.environ["EVERGREEN_CLIENT_KEYS"] = "on"
    os.environ["OMP_NUM_THREADS"] = "1"  # as the server does; before any library that reads it is loaded
    with workload.home() as here, shops.opened(here) as shop, closing(Bare(here, shop.spec)) as bare:
        _same_answers(shop, bare)
        latency = [row for size, requests in REQUESTS.items() for row in _latency(shop, bare, size, requests)]
        throughput = list(_throughput(shop))
        whole = [row.ours for row in latency if row.what.startswith("p50") and row.against == _BARE]
        parts = _parts(here, shop, bare, whole)
        ways = durable.run(shop.spec.model, shop.features, here.home)
        starts = _starts(here, shop)
        prose = _PROSE.format(family=FAMILY)
        return "\n\n".join([prose, ratios(latency), ratios(throughput), parts, _WAYS, ways, starts])


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


def _throughput(shop: Shop) -> Iterator[Ratio]:
    """All clients ask without pause, of each side in turns: seconds per request, and how long the slowest wait."""
    for size, asked in {1: 200, 50: 100, 1000: 20}.items():
        batches = shop.batches(size)
        keys = [next(batches) for _ in range(asked)]
        sides = {"ours": shop.asking(keys), "mlflow": shop.asking_peer(keys), "bare": shop.asking_bare(keys)}
        for side, requests in sides.values():
            load.run(side, requests, CLIENTS, 1.0)  # warm
        loads = load.in_turns(sides, CLIENTS, SECONDS, ROUNDS)
        p99 = {name: percentile(of.seconds, 0.99) for name, of in loads.items()}
        ours, client = loads["ours"].rate, loads["ours"].client / loads["ours"].took
        span = f"{ROUNDS} times {SECONDS:.0f} s; the clients used {client:.0%} of a processor"
        for name, against in (("mlflow", "mlflow models serve"), ("bare", _ASGI)):
            what = (
                f"{CLIENTS} clients, requests of {size:,}: {ours:,.0f} against {loads[name].rate:,.0f} requests "
                f"per second, {ours / loads[name].rate:,.1f} times"
            )
            yield Ratio(what, span, 1 / ours, 1 / loads[name].rate, against)
            yield Ratio("their p99", span, p99["ours"], p99[name], against)


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
            starts = [_first_answer(here, shop, body, mlflow_url) for _ in range(STARTS)]
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


def _first_answer(here: Settings, shop: Shop, body: bytes, mlflow_url: str) -> tuple[float, float, float]:
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
                Client(url, f"/models/{shop.spec.model}/predict", shop.key).post(body)
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
_ASGI = "a bare ASGI handler"
_PROSE = """One worker and one numeric thread each, the same {family} model from the same registry, connections
kept open. Evergreen is asked with entities' keys alone and a client's key: it reads the features (from its copy of the
online store), checks, predicts, counts, and commits every prediction to the log before it answers. `mlflow models
serve` (`--env-manager local`) is given the features and logs nothing. "Bare read and model call" is one SQL statement
on an open connection and the model call, in the measuring process: no HTTP, no checks, no log. "A bare ASGI handler"
(`benchmarks/bare_server.py`) is the same model call, the same read and the same group commit behind uvicorn, and
nothing else. Eight clients are one thread with a connection each (`benchmarks/load.py`), on the same processors."""
_WAYS = """Ways to make rows of the log durable, from objects in memory to the disk, one after the other by one
connection (medians, in turns, in the measuring process; what the log's commit was chosen by,
[ADR 0067](adr/0067-plain-requests-in-the-event-loop.md)):"""
_REASONS = {
    (1, "bare"): "HTTP and the commit to the log: see the parts below",
    (50, "bare"): "the commit to the log, with its features as JSON: see the parts below",
    (1000, "bare"): "the commit to the log, with its features as JSON: see the parts below",
    (1000, "mlflow"): "commits the log, which the other does not: see the parts below",
}
