"""Under load: no swap fails a request, and no end of the server loses an answered prediction."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import psycopg
import psycopg.conninfo
import psycopg.sql
import pytest

from evergreen.errors import DeployRefused
from evergreen.features import repository
from evergreen.serve import stages as serve
from evergreen.serve.rollback import rollback

from .conftest import ServedModel, SharedServer, customer, until

CLIENTS = 8


@dataclass
class Clients:
    """Threads that send requests without pause, one or two customers each."""

    served: ServedModel
    answered: list[dict] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    url: str | None = None  # None: that of the model's newest server

    def send(self, number: int) -> None:
        path, name = f"/models/{self.served.name}/predict", self.served.name
        with httpx.Client(base_url=self.url or self.served.server.url, timeout=60) as session:
            while not self.ended.is_set():
                number += CLIENTS
                keys = [{"customer_id": customer(number)}, {"customer_id": customer(number + 1)}]
                body = {"entities": keys} if number % 3 == 0 else {"entity": keys[0]}
                sent = time.monotonic()
                try:
                    response = session.post(path, json=body)
                except httpx.TransportError as error:
                    self.failed.append(f"{type(error).__name__}: {error}")
                    return
                if response.status_code == 200:
                    self.answered.append(response.json() | {"sent": sent, "seconds": time.monotonic() - sent})
                else:
                    self.failed.append(f"{name}: {response.status_code} {response.text}")

    def more(self, count: int) -> None:
        """Until as many requests more have been answered."""
        enough = len(self.answered) + count
        until(lambda: len(self.answered) >= enough or self.failed, f"{count} answers more")

    def assert_all_logged(self) -> None:
        logged = self.served.logged()
        missing = [
            (answer["request_id"], position)
            for answer in self.answered
            for position, item in enumerate(answer["predictions"])
            if (row := logged.get((answer["request_id"], position))) is None
            or (row.version, row.prediction) != (answer["version"], item["prediction"])
        ]
        assert not missing, f"{len(missing)} answered predictions of {len(self.answered)} requests are not in the log"


@contextmanager
def sending(served: ServedModel, url: str | None = None) -> Iterator[Clients]:
    clients = Clients(served, url=url)
    with ThreadPoolExecutor(CLIENTS) as pool:
        tasks = [pool.submit(clients.send, number) for number in range(CLIENTS)]
        try:
            yield clients
        finally:
            clients.ended.set()
    for task in tasks:
        task.result()


@pytest.mark.parametrize("graphs", [False, True])
def test_versions_are_swapped_under_load_without_a_failed_request(served: ServedModel, graphs: bool) -> None:
    served.graphs = graphs
    served.champion(3)
    with sending(served) as clients:
        for version, move in (
            (2, lambda: served.champion(5)),
            (1, lambda: rollback(served.name, reason="complaints", actor="ada").version),
            (3, lambda: served.champion(7)),
        ):
            clients.more(60)
            assert move() == version
            confirmed = time.monotonic()
            # A request that was under way when the server confirmed may still be the old version's; none sent after it.
            clients.more(2 * CLIENTS + 20)
            after = {answer["version"] for answer in clients.answered if answer["sent"] > confirmed}
            assert after == {version}, f"after the swap to {version} versions {after} answered"
    assert clients.failed == []
    expected = {version: served.answers(version) for version in (1, 2, 3)}
    for answer in clients.answered:
        for item in answer["predictions"]:
            right = expected[answer["version"]][int(item["customer_id"].removeprefix("c-"))]
            assert item["prediction"] == pytest.approx(right, abs=1e-12), "an answer is its own version's"
    clients.assert_all_logged()


@pytest.mark.long
def test_a_bad_model_disturbs_no_other_one(shared_server: SharedServer) -> None:
    """Beside a model under load, another one gets versions that cannot be loaded,
    and requests that it cannot answer."""
    good, bad = shared_server.next_model(), shared_server.next_model()
    good.champion(3)
    with sending(good) as clients:
        for day in (5, 6, 7):
            clients.more(40)
            with pytest.raises(DeployRefused):
                serve.deploy(bad.run(day), bad.damaged(day))
            assert bad.server.predict(bad.name, entity={"customer_id": customer(1)}).status_code == 503
            assert bad.server.predict(bad.name, entity={"customer": 1}).status_code == 503
        clients.more(40)
        assert bad.server.readiness()["ready"], "nothing of it was promoted, so nothing of it is missing"
    assert clients.failed == [] and len(clients.answered) >= 160
    assert {answer["version"] for answer in clients.answered} == {1}
    clients.assert_all_logged()
    bad.champion(8)
    assert bad.server.readiness()["ready"] and bad.name not in bad.server.readiness()["missing"]


@pytest.mark.long
def test_while_features_that_are_not_copied_are_away_requests_are_refused_soon(
    alone: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_FEATURE_COPY_MB", "0")
    server = alone.serve()
    alone.champion(3)
    url, body = alone.settings.database_url("feast"), {"entity": {"customer_id": customer(1)}}
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]

    def timed(_: int) -> tuple[int, float]:
        started = time.monotonic()
        return server.predict(alone.name, **body).status_code, time.monotonic() - started

    with psycopg.connect(alone.settings.database_url("evergreen"), autocommit=True) as admin:
        allow = psycopg.sql.SQL("alter database {} with allow_connections {}").format
        admin.execute(allow(psycopg.sql.Identifier(name), psycopg.sql.Literal(False)))
        try:
            admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
            with ThreadPoolExecutor(40) as pool:
                outcomes = list(pool.map(timed, range(40)))
            server.wait(503)  # no traffic while there are no predictions
            warnings = server.get("/readyz").json()["warnings"]
        finally:
            admin.execute(allow(psycopg.sql.Identifier(name), psycopg.sql.Literal(True)))
            repository.feature_store().provider.online_store.disconnect()  # this process's own connections are gone too
    assert {status for status, _ in outcomes} == {503}
    assert max(seconds for _, seconds in outcomes) < 20, "ten seconds of patience; with the pool's own it would be 300"
    assert warnings == ["the database feast does not answer"]
    until(lambda: timed(0)[0] == 200, "the server answers when its database does", 10)
    server.wait()


@pytest.mark.parametrize("graphs", [False, True])
def test_a_server_that_is_killed_under_load_has_logged_every_answered_prediction(
    alone: ServedModel, graphs: bool
) -> None:
    alone.graphs = graphs
    alone.serve()
    alone.champion(3)
    with sending(alone) as clients:
        clients.more(60)
        # The log stands still when the server dies: whatever it answers before its rows are committed is lost for sure.
        with alone.blocked_log() as waits:
            until(lambda: waits(), "the server waits for its log")
            before = len(clients.answered)
            until(lambda: len(clients.answered) > before or _idle(clients), "answers while the log stands still")
            alone.server.stop()
            until(lambda: len(clients.failed) == CLIENTS, "every client sees that the server is gone")
    clients.assert_all_logged()
    alone.serve()
    response = alone.server.predict(alone.name, entity={"customer_id": customer(1)})
    assert (response.status_code, response.json()["version"]) == (200, 1), "after a crash the champion serves"


def _idle(clients: Clients, seconds: float = 0.5) -> bool:
    """Nothing was answered for a while: every client waits."""
    before = len(clients.answered)
    return not clients.ended.wait(seconds) and len(clients.answered) == before


@pytest.mark.parametrize("graphs", [False, True])
def test_a_server_that_is_told_to_end_answers_the_requests_under_way(alone: ServedModel, graphs: bool) -> None:
    alone.graphs = graphs
    server = alone.serve()
    alone.champion(3)
    with ThreadPoolExecutor(1) as pool:
        with alone.blocked_log() as waits:
            pending = pool.submit(server.predict, alone.name, entity={"customer_id": customer(1)})
            until(lambda: waits() or pending.done(), "the request is under way")
            server.send(signal.SIGTERM)
            until(lambda: not _takes_requests(server.url), "the server takes no new requests")
            assert server.alive and not pending.done()
        response = pending.result()
    assert response.status_code == 200, response.text
    assert (response.json()["request_id"], 0) in alone.logged()
    until(lambda: not server.alive, "the server ends")


def _takes_requests(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
