"""Load as a weapon: one client that floods, many that ask for much at once, and a disk that is filled by asking."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest

from evergreen.addresses import free_port
from evergreen.lake import space
from evergreen.local import postgres
from evergreen.local.processes import Processes, Service
from evergreen.settings import settings
from tests.components.serve.conftest import (  # noqa: F401 - fixtures
    CUSTOMERS,
    Forker,
    ServedModel,
    SharedServer,
    alone,
    customer,
    forker,
    put_online,
    running_shared_server,
    until,
)


@pytest.fixture(scope="module")
def shared_server(
    forker: Forker,  # noqa: F811 - the fixture
    postgres_url: str,
    mlflow_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SharedServer]:
    """Where the attacked models live."""
    with running_shared_server(
        "siege", forker, postgres_url, mlflow_url, tmp_path_factory.mktemp("siege")
    ) as shared_server:
        yield shared_server


def body(count: int) -> bytes:
    return json.dumps({"entities": [{"customer_id": customer(number)} for number in range(count)]}).encode()


@dataclass
class Caller:
    """A client with an address of its own, of those that loopback has."""

    served: ServedModel
    address: str
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of what was answered
    waits: list[str] = field(default_factory=list)  # Retry-After of what was refused
    answered: list[str] = field(default_factory=list)  # request ids

    def send(self, content: bytes, times: int) -> None:
        transport = httpx.HTTPTransport(local_address=self.address)
        with httpx.Client(base_url=self.served.server.url, timeout=60, transport=transport) as session:
            for _ in range(times):
                started = time.monotonic()
                response = session.post(
                    f"/models/{self.served.name}/predict", content=content, headers={"content-type": "application/json"}
                )
                self.statuses[response.status_code] += 1
                if response.status_code == 200:
                    self.seconds.append(time.monotonic() - started)
                    self.answered.append(response.json()["request_id"])
                else:
                    self.waits.append(response.headers.get("retry-after", "none"))


def all_at_once(work: Sequence[Callable[[], object]]) -> None:
    with ThreadPoolExecutor(len(work)) as pool:
        for task in [pool.submit(each) for each in work]:
            task.result()


@pytest.fixture
def limited(alone: ServedModel, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ServedModel]:  # noqa: F811 - the fixture
    """A model that serves, on a server with settings of the test's own."""

    def serve(**wanted: int) -> ServedModel:
        for name, value in wanted.items():
            monkeypatch.setenv(f"EVERGREEN_{name}", str(value))
        settings.cache_clear()
        server = alone.serve(wait=False)
        until(lambda: server.answers("/healthz"), "the server answers, ready or not")
        alone.champion(3)
        return alone

    return serve


def test_one_client_that_floods_is_refused_and_others_are_not(limited: Callable[..., ServedModel]) -> None:
    served = limited(CLIENT_ENTITIES_PER_SECOND=50, CLIENT_REQUESTS=4)
    flood, other = Caller(served, "127.0.0.5"), Caller(served, "127.0.0.6")
    started = time.monotonic()
    all_at_once([lambda: flood.send(body(50), 20)] * 8 + [lambda: other.send(body(1), 20)])
    seconds = time.monotonic() - started
    assert set(flood.statuses) == {200, 429}, flood.statuses
    # Ten seconds' worth at once, then the rate; the last request that is let in may owe, and so may those beside it.
    assert flood.statuses[200] * 50 <= 50 * (10 + seconds) + 4 * 50
    assert all(wait.isdigit() and int(wait) >= 1 for wait in flood.waits), "each is told when to come again"
    assert other.statuses == {200: 20}
    logged = {request for request, _ in served.logged()}
    assert {*flood.answered, *other.answered} <= logged, "what was answered is logged, also beside a flood"


def test_a_client_that_says_to_be_others_is_still_one(limited: Callable[..., ServedModel]) -> None:
    """`X-Forwarded-For` is believed from proxies that a setting names, and from nobody else."""
    served = limited(CLIENT_ENTITIES_PER_SECOND=1)
    statuses = [
        served.server.post(
            f"/models/{served.name}/predict",
            content=body(50),
            headers={"content-type": "application/json", "x-forwarded-for": f"10.0.0.{number}"},
        ).status_code
        for number in range(3)
    ]
    assert statuses == [200, 429, 429]


def test_what_is_refused_and_what_is_repeated_is_paid_for(limited: Callable[..., ServedModel]) -> None:
    served = limited(CLIENT_ENTITIES_PER_SECOND=1)  # ten at once

    def statuses(address: str, content: bytes, **headers: str) -> Counter[int]:
        kinds = {"content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        with httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=60) as session:
            url = f"{served.server.url}/models/{served.name}/predict"
            return Counter(session.post(url, content=content, headers=kinds).status_code for _ in range(40))

    mistaken = statuses("127.0.0.11", b'{"entities": [' + b"0," * 2_500 + b"0]}")
    assert set(mistaken) == {422, 429} and mistaken[429] > 20, mistaken
    too_many = statuses("127.0.0.12", body(1_001))
    assert set(too_many) == {413, 429} and too_many[429] > 20, too_many
    repeated = statuses("127.0.0.13", body(1), idempotency_key="again")
    assert set(repeated) == {200, 429} and repeated[429] > 5, repeated
    assert len(served.logged()) == 1


def test_small_requests_do_not_wait_behind_forty_clients_with_large_ones(limited: Callable[..., ServedModel]) -> None:
    served = limited()
    large = [Caller(served, f"127.0.1.{number + 1}") for number in range(40)]
    small, ended = Caller(served, "127.0.2.1"), threading.Event()

    def ask_for_little() -> None:
        time.sleep(0.5)  # the others come first
        while not ended.is_set():
            small.send(body(1), 1)

    def ask_for_much() -> None:
        try:
            all_at_once([lambda caller=caller: caller.send(body(1_000), 1) for caller in large])  # type: ignore[misc]
        finally:
            ended.set()

    all_at_once([ask_for_much, ask_for_little])
    answered = [seconds for caller in large for seconds in caller.seconds]
    refused = sum((caller.statuses - Counter({200: 1_000}) for caller in large), Counter[int]())
    assert set(refused) <= {503} and len(answered) >= 1, "a line that is full says so"
    assert set(small.statuses) == {200} and len(small.seconds) >= 1
    # In one line with the others, a small request waits as long as they do.
    assert statistics.median(small.seconds) < statistics.median(answered) / 3


def test_without_space_predictions_are_refused_and_nothing_else_is(limited: Callable[..., ServedModel]) -> None:
    served = limited(DATABASE_BOUND_MB=1)  # an empty database has more
    caller = Caller(served, "127.0.0.7")
    caller.send(body(1), 2)
    assert (caller.statuses, caller.waits) == ({507: 2}, ["60", "60"])
    assert served.logged() == {}
    refusal = served.server.predict(served.name, entity={"customer_id": customer(1)}).json()["detail"]
    assert "bounded to 1 MB" in refusal and "EVERGREEN_DATABASE_BOUND_MB" in refusal
    ready = served.server.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (503, False), "a load balancer sends nobody here"
    (warning,) = ready.json()["warnings"]
    assert "predictions are refused" in warning and served.server.get("/models").json()["warnings"] == [warning]
    assert warning in served.server.log.read_text()
    assert served.server.log.read_text().count(warning) == 1, "told once, not for each request"
    assert served.champion(5) == 2, "a better version still takes over"


MEGABYTE = 1_000_000
DISK, RESERVE = 300 * MEGABYTE, 80 * MEGABYTE


@contextmanager
def small_disk(size: int) -> Iterator[Path]:
    """A file system of its own, as large as wanted."""
    folder = Path(tempfile.mkdtemp(prefix="evergreen-disk-"))
    folder.chmod(0o711)  # Postgres' own user comes through
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=711", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True) if os.geteuid() == 0 else None
    if done is None or done.returncode != 0:
        folder.rmdir()
        pytest.skip(f"no file system of a test's own: {done.stderr.strip() if done else 'only root may mount one'}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@contextmanager
def on_a_disk_of_its_own(home: Path, log: Path, patch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Postgres with all its data below `home`, as `evergreen up` makes it, in the settings; its URL."""
    cluster = postgres.cluster(home, free_port(), "secret")
    assert home in cluster.data.parents
    postgres.prepare(cluster)
    processes = Processes(log)
    service = Service(
        "postgres", cluster.command(), dict(os.environ), lambda: postgres.answers(cluster.url), 60, cluster.user
    )
    processes.start(service)
    try:
        processes.wait(service)
        patch.delenv("EVERGREEN_DATABASE")
        for name, value in {
            "POSTGRES_PORT": cluster.port,
            "POSTGRES_PASSWORD": cluster.password,
            "POSTGRES_DATA": cluster.data,
            "DISK_RESERVE_MB": RESERVE // MEGABYTE,
            "CLIENT_ENTITIES_PER_SECOND": 1_000_000,
        }.items():
            patch.setenv(f"EVERGREEN_{name}", str(value))
        settings.cache_clear()
        names = [f"{settings().database_prefix}{name}" for name in ("evergreen", "feast", "airflow")]
        postgres.create_databases(cluster.url, names)
        yield cluster.url
    finally:
        processes.stop("postgres")
        shutil.rmtree(cluster.data, ignore_errors=True)


@pytest.mark.long
def test_a_disk_that_is_filled_by_asking_is_never_full(
    alone: ServedModel,  # noqa: F811 - the fixture
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Requests of 1,000 entities until the server refuses:
    before the disk is full, and the other databases on it still commit."""
    with small_disk(DISK) as home, on_a_disk_of_its_own(home, tmp_path, monkeypatch) as url:
        put_online(alone.spec, 0, [customer(number) for number in range(CUSTOMERS)])
        server = alone.serve()
        alone.champion(3)
        warned, answered = False, 0
        for _ in range(300):
            response = server.post(
                f"/models/{alone.name}/predict", content=body(1_000), headers={"content-type": "application/json"}
            )
            if response.status_code != 200:
                break
            answered += 1
            warned = warned or bool(server.get("/readyz").json()["warnings"])
        assert (response.status_code, response.headers["retry-after"]) == (507, "60"), response.text
        free = shutil.disk_usage(home).free
        assert RESERVE * 0.9 < free < 2 * RESERVE, f"{free / MEGABYTE:.0f} MB free after {answered} requests"
        assert warned, "told before it was gone"
        assert len(alone.logged()) == answered * 1_000
        with psycopg.connect(f"{url}/{settings().database_prefix}airflow", autocommit=True) as airflow:
            airflow.execute(
                "create table runs as select n, repeat('x', 500) as note from generate_series(1, 20000) as n"
            )
            assert airflow.execute("select count(*) from runs").fetchone() == (20_000,)
        assert space.warnings(space.disks(settings())), "what `evergreen up` and the monitor would tell"
        with psycopg.connect(f"{url}/{settings().database_prefix}evergreen", autocommit=True) as evergreen:
            evergreen.execute("truncate predictions")
            evergreen.execute("checkpoint")
        until(lambda: server.predict(alone.name, entity={"customer_id": customer(1)}).status_code == 200, "space again")
        server.stop()
