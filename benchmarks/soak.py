"""Soak: mixed load while every process is killed in turn, the disk fills up and the registry is away."""

from __future__ import annotations

import bisect
import itertools
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from benchmarks import workload
from benchmarks.document import table
from benchmarks.shops import online, train_champion
from evergreen.local import stack
from evergreen.local.processes import Processes, silent
from evergreen.run import Run
from evergreen.settings import Settings

MINUTES = 20.0
CUSTOMERS, DAYS = 1000, 14
SIZES = (1, 1, 1, 50, 1, 1000)  # entities of a client's requests, one client each
PAUSE = 0.05  # seconds between two requests of a client, times their size to the power of 0.75
SETTLED = 20.0  # seconds of undisturbed load after each disturbance
OUTAGE = 60.0  # seconds that the registry is away
PATIENCE = 300.0  # seconds until the service must be back
DISK = "6g"  # of the file system that is filled up


@dataclass
class Load:
    """Clients that ask without end, and what they were answered."""

    url: str
    keys: list[str]
    acknowledged: dict[str, int] = field(default_factory=dict)  # request → its predictions
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))  # of answered requests, by size
    answered_at: list[float] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, number: int) -> None:
        """Requests of one size, each with a key of its own and sent again until it
        is answered, as careful clients do."""
        size, names = SIZES[number], itertools.cycle(self.keys)
        with httpx.Client(base_url=self.url, timeout=30) as session:
            for count in itertools.count():
                entities = [{"customer_id": next(names)} for _ in range(size)]
                body = {"entity": entities[0]} if size == 1 else {"entities": entities}
                self._ask(session, size, body, f"soak-{number}-{count}")
                if self.ended.wait(PAUSE * size**0.75):
                    return

    def _ask(self, session: httpx.Client, size: int, body: dict[str, Any], key: str) -> None:
        while not self.ended.is_set():
            started = time.monotonic()
            try:
                response = session.post("/models/churn/predict", json=body, headers={"Idempotency-Key": key})
            except httpx.TransportError as error:
                self.statuses[type(error).__name__] += 1
                time.sleep(0.2)
                continue
            self.statuses[str(response.status_code)] += 1
            if response.status_code == httpx.codes.OK:
                answer = response.json()
                with self._lock:
                    self.acknowledged[answer["request_id"]] = sum(
                        item["prediction"] is not None for item in answer["predictions"]
                    )
                    self.seconds[size].append(time.monotonic() - started)
                    self.answered_at.append(time.monotonic())
                return
            time.sleep(min(float(response.headers.get("Retry-After", 0.2)), 5.0))

    def longest_silence(self, since: float) -> float:
        """The longest time without an answered prediction from `since` until one of now is answered, in seconds.

        Raises:
            AssertionError: none is, for `PATIENCE`.
        """
        now = time.monotonic()
        while not (answers := self._answers(since)) or answers[-1] < now:
            if time.monotonic() > now + PATIENCE:
                raise AssertionError(f"no prediction is answered {PATIENCE:.0f} s after the disturbance")
            time.sleep(0.05)
        return max(later - earlier for earlier, later in itertools.pairwise([since, *answers]))

    def _answers(self, since: float) -> list[float]:
        with self._lock:
            return self.answered_at[bisect.bisect_left(self.answered_at, since) :]


@dataclass
class Memory:
    """Memory of each service with its children, over time; what processes share is counted once."""

    processes: Processes
    ended: threading.Event = field(default_factory=threading.Event)
    samples: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))  # MB by process

    def watch(self) -> None:
        while not self.ended.wait(5):
            for name in self.processes.names():
                process = self.processes.process(name)
                if process is None:
                    continue
                with suppress(psutil.Error):
                    family = [process, *process.children(recursive=True)]
                    self.samples[name, process.pid].append(sum(one.memory_full_info().pss for one in family) / 2**20)

    def lines(self) -> Iterator[tuple[str, str, str, str]]:
        """The longest life of each service: its minutes, its memory after a minute and at its end."""
        longest: dict[str, list[float]] = {}
        for (name, _), sizes in self.samples.items():
            if len(sizes) > len(longest.get(name, [])):
                longest[name] = sizes
        for name, sizes in sorted(longest.items()):
            settled = sizes[12:] or sizes
            part = max(1, len(settled) // 4)
            early, late = statistics.median(settled[:part]), statistics.median(settled[-part:])
            yield name, f"{len(sizes) * 5 / 60:.0f}", f"{early:.0f}", f"{late:.0f}"


def run() -> str:
    """The section's text."""
    with _disk() as disk, workload.whole_stack() as here:
        spec = workload.model(here)
        spec = spec.model_copy(update={"search": spec.search.model_copy(update={"trials": 2})})
        for interval in workload.deliver(here, CUSTOMERS, workload.FIRST, DAYS):
            workload.ingest(spec, interval)
        train_champion(last := Run(spec, interval))
        stack.restart(["server"], silent)
        keys, _ = online(last)
        load, memory = Load(here.server_url, keys), Memory(Processes(here.home))
        with (
            _running([memory.watch], memory.ended),
            _running(
                [partial(load.client, number) for number in range(len(SIZES))],
                load.ended,
            ),
        ):
            load.longest_silence(time.monotonic())
            disturbances = _disturbed(here, load, disk, time.monotonic() + MINUTES * 60)
        lost, twice = _compared(here, load)
        return _text(load, memory, disturbances, lost, twice, disk)


def _disturbed(here: Settings, load: Load, disk: Path | None, end: float) -> list[tuple[str, float, str]]:
    """What was done, the longest silence until predictions are answered again, and what was seen meanwhile."""
    disturbances: list[tuple[str, float, str]] = []
    names = Processes(here.home).names()
    steps: list[tuple[str, Callable[[], str]]] = [
        *((f"`{name}` killed, then `evergreen up`", partial(_kill, here, name)) for name in names),
        ("MLflow away, the server killed meanwhile", lambda: _without_registry(here, load)),
    ]
    if disk is not None:
        steps.append(("the disk full", lambda: _full(here, load, disk)))
    # The rest of the time Postgres is killed, and no other: so the others' memory is seen over a long life.
    for what, disturb in itertools.chain(steps, itertools.repeat(steps[0])):
        if time.monotonic() > end and len(disturbances) >= len(steps):
            return disturbances
        print(f"  {what}", flush=True)
        since = time.monotonic()
        seen = disturb()
        disturbances.append((what, load.longest_silence(since), seen))
        time.sleep(SETTLED)
    return disturbances


def _kill(here: Settings, name: str) -> str:
    _end(here, name)
    started = time.monotonic()
    stack.up(silent)
    return f"all parts answer after {time.monotonic() - started:.0f} s"


def _end(here: Settings, name: str) -> None:
    service = _service(here, name)
    service.kill()
    service.wait(30)


def _service(here: Settings, name: str) -> psutil.Process:
    process = Processes(here.home).process(name)
    assert process is not None, f"{name} does not run"
    return process


def _without_registry(here: Settings, load: Load) -> str:
    """The server starts anew while MLflow does not answer, and serves from its own disk."""
    mlflow = _service(here, "mlflow")
    family = [mlflow, *mlflow.children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        _end(here, "server")
        started = time.monotonic()
        Processes(here.home).start(workload.services(here)["server"])
        took = load.longest_silence(started)
        problem = httpx.get(f"{here.server_url}/models/churn", timeout=10).json()["problem"]
        time.sleep(max(0.0, OUTAGE - took))
    finally:
        for process in family:
            process.resume()
    return f"answers {took:.1f} s after the server's start, with the problem {str(problem)[:80]!r}"


def _full(here: Settings, load: Load, disk: Path) -> str:
    """What is free is written full; the server must refuse, Airflow's database must
    still commit, and all goes on afterwards."""
    filler = disk / "filler"
    before = Counter(load.statuses)
    try:
        with filler.open("wb") as file, suppress(OSError):
            while True:
                file.write(bytes(2**20))
        time.sleep(SETTLED)
        refused = Counter(load.statuses) - before
    finally:
        filler.unlink()
    with psycopg.connect(here.database_url("airflow"), connect_timeout=10) as connection:
        connection.execute("create temporary table probe as select generate_series(1, 1000)")
    return ", ".join(f"{status}: {count}" for status, count in sorted(refused.items()))


@contextmanager
def _disk() -> Iterator[Path | None]:
    """A file system of its own for all that is written, which may be filled up; None where nobody may mount one."""
    with tempfile.TemporaryDirectory(prefix="evergreen-soak-") as folder, ExitStack() as undo:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=1777", "tmpfs", folder]
        if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
            yield None
            return
        undo.callback(subprocess.run, ["umount", "-l", folder], check=True)
        before, tempfile.tempdir = tempfile.tempdir, folder
        os.environ["TMPDIR"] = folder
        yield Path(folder)
        tempfile.tempdir = before
        del os.environ["TMPDIR"]


@contextmanager
def _running(works: list[Callable[[], None]], ended: threading.Event) -> Iterator[None]:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _compared(here: Settings, load: Load) -> tuple[int, int]:
    """Acknowledged requests whose predictions are not all in the log; logged predictions of
    requests that no client saw answered."""
    with psycopg.connect(here.database_url("evergreen")) as connection:
        rows = connection.execute("select request_id, count(*) from predictions group by request_id").fetchall()
    logged: dict[str, int] = dict(rows)
    lost = sum(logged.get(request, 0) != count for request, count in load.acknowledged.items())
    return lost, sum(logged.values()) - sum(logged.get(request, 0) for request in load.acknowledged)


def _text(
    load: Load, memory: Memory, disturbances: list[tuple[str, float, str]], lost: int, unasked: int, disk: Path | None
) -> str:
    assert lost == 0, f"{lost} acknowledged requests are not in the log"
    rows = [(what, f"{seconds:.1f} s", seen) for what, seconds, seen in disturbances]
    latencies = [
        (f"{size:,}", f"{len(seconds):,}", f"{statistics.median(seconds) * 1e3:.0f} ms", f"{max(seconds):.1f} s")
        for size, seconds in sorted(load.seconds.items())
    ]
    statuses = ", ".join(f"{status}: {count:,}" for status, count in load.statuses.most_common())
    return "\n\n".join(
        [
            f"{len(SIZES)} clients for {MINUTES:.0f} minutes, each request with an `Idempotency-Key` and sent "
            f"again until it is answered: {len(load.acknowledged):,} requests with "
            f"{sum(load.acknowledged.values()):,} predictions were answered, and **{lost} of them are not in the "
            f"log**; {unasked:,} logged predictions were of requests that no client saw answered. What the "
            f"clients got: {statuses}.",
            "The longest time in which no client got a prediction, from the disturbance until all is well again:",
            table(("disturbance", "longest silence", "seen"), rows),
            "" if disk else "The disk was not filled up: only root can mount a file system for it.",
            "Answered requests, over the whole time:",
            table(("entities", "requests", "p50", "longest"), latencies),
            "Memory of each service with its children, in the longest life that it had:",
            table(("service", "minutes", "MB early", "MB late"), memory.lines()),
        ]
    )
