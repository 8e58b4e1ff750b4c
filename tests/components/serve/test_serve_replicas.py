"""Three replicas behind one address, as a load balancer has them: they follow the ledger, and no swap, kill or silence
of one of them fails a client's request or lets a version answer that was rolled back."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from evergreen.addresses import free_port
from evergreen.errors import DeployRefused, ServiceUnavailable
from evergreen.history import ledger
from evergreen.serve import deployment, replicas
from evergreen.serve import stages as serve
from evergreen.serve.rollback import rollback
from evergreen.settings import settings

from .cable import Cable, forwarded
from .conftest import ServedModel, Server, customer, until
from .test_serve_load import CLIENTS, sending

LATE = 2.0  # seconds after a rollback was decided, from which on the version that was left answers no more


def replica(alone: ServedModel, **environment: str) -> Server:
    """A replica with a home and a port of its own."""
    port = free_port()
    log = alone.logs / f"replica-{port}.log"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ({"HOME": str(alone.logs / f"home-{port}")} | environment).items():
            patch.setenv(f"EVERGREEN_{name}", value)
        pid = alone.forker.start(["--port", str(port)], log, os.devnull, look=1.0, reload=1.0)
    server = Server(f"http://127.0.0.1:{port}", pid, log)
    alone.servers.append(server)
    return server


def name_of(server: Server) -> str:
    """As the replica calls itself."""
    return f"{socket.gethostname()}:{urlsplit(server.url).port}/{server.pid}"


@contextmanager
def one_address(servers: list[Server]) -> Iterator[str]:
    """Each request goes to the next replica, and on to another where that one is gone or not ready."""
    turns, own = itertools.count(), threading.local()

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if not hasattr(own, "session"):
                own.session = httpx.Client(timeout=60)
            status, content, turn = 502, b"{}", next(turns)
            for offset in range(len(servers)):
                url = servers[(turn + offset) % len(servers)].url
                try:
                    answer = own.session.post(
                        url + self.path, content=body, headers={"content-type": "application/json"}
                    )
                except httpx.TransportError:
                    continue
                status, content = answer.status_code, answer.content
                if status != 503:
                    break
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}"
        proxy.shutdown()


def version_of(alone: ServedModel, server: Server) -> int | None:
    """The version that a replica answers with; None: it does not answer."""
    response = server.predict(alone.name, entity={"customer_id": customer(1)})
    return response.json()["version"] if response.status_code == 200 else None


@pytest.fixture
def three(alone: ServedModel) -> list[Server]:
    servers = [replica(alone) for _ in range(3)]
    for server in servers:
        server.wait()
    return servers


def test_three_replicas_swap_under_load_and_leave_a_version_within_two_seconds(
    alone: ServedModel, three: list[Server]
) -> None:
    alone.champion(3)
    with one_address(three) as url, sending(alone, url) as clients:
        clients.more(60)
        assert alone.champion(5) == 2
        assert [version_of(alone, server) for server in three] == [2, 2, 2], "who deploys waits until all of them serve"
        clients.more(60)
        decided = time.monotonic()
        rollback(alone.name, reason="complaints", actor="ada")
        until(lambda: time.monotonic() > decided + LATE, "what may be late has come")
        clients.more(90)
    assert clients.failed == []
    assert [each for each in clients.answered if each["version"] == 2 and each["sent"] > decided + LATE] == []
    assert {each["version"] for each in clients.answered} == {1, 2}
    counted = [server.metric(f'evergreen_predictions_total{{model="{alone.name}",version="1"}}') for server in three]
    assert all(counted), "each of them has answered"
    clients.assert_all_logged()


def test_a_replica_that_is_killed_in_the_middle_of_a_swap_is_not_waited_for(
    alone: ServedModel, three: list[Server]
) -> None:
    alone.champion(3)
    registered = alone.registered(5)
    with one_address(three) as url, sending(alone, url) as clients, ThreadPoolExecutor(1) as pool:
        clients.more(60)
        three[1].send(signal.SIGSTOP)  # it cannot confirm
        deploying = pool.submit(serve.deploy, alone.run(5), registered)

        def loaded() -> int:
            said = replicas.said(alone.name, registered.version).live.values()
            return sum(each is not None and each.state == "loaded" for each in said)

        until(lambda: loaded() == 2, "the others have loaded it")
        assert ledger.standing(alone.name).champion == 1 and not deploying.done(), "it is waited for"
        three[1].stop()
        assert deploying.result(timeout=30).version == 2
        clients.more(60)
    assert clients.failed == []
    assert [version_of(alone, server) for server in (three[0], three[2])] == [2, 2]
    clients.assert_all_logged()
    assert name_of(three[1]) in rollback(alone.name, reason="complaints", actor="ada").message, "it may be cut off"


@contextmanager
def wrong_files() -> Iterator[str]:
    """A registry whose files are all others than were recorded."""

    class Wrong(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "7")
            self.end_headers()
            self.wfile.write(b"damaged")

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Wrong) as registry:
        threading.Thread(target=registry.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{registry.server_port}"
        registry.shutdown()


def test_a_replica_that_cannot_load_a_version_is_named_and_the_policy_undoes_or_finishes(
    alone: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = replica(alone)
    good.wait()
    alone.champion(3)
    bad = replica(alone)
    bad.wait()
    until(lambda: version_of(alone, bad) == 1, "it takes what is wanted when it comes")
    bad.stop()
    with wrong_files() as url:
        # The same replica again, with what it kept; now its registry is another one's.
        bad = replica(alone, MLFLOW_URL=url, HOME=str(alone.logs / f"home-{urlsplit(bad.url).port}"))
        bad.wait()
        assert version_of(alone, bad) == 1, "from the copy that it kept"
        registered = alone.registered(5)
        with pytest.raises(DeployRefused) as refused:
            serve.deploy(alone.run(5), registered)
        assert name_of(bad) in refused.value.found and name_of(good) not in refused.value.found
        assert [version_of(alone, server) for server in (good, bad)] == [1, 1], "undone"

        monkeypatch.setenv("EVERGREEN_WHEN_UNCONFIRMED", "finish")
        settings.cache_clear()
        assert serve.deploy(alone.run(5), registered).version == version_of(alone, good) == 2
        answer = bad.predict(alone.name, entity={"customer_id": customer(1)}).json()
        assert (answer["version"], answer["role"]) == (1, "last known good"), "and its answers say so"
        assert "version 2 could not be loaded" in bad.get("/readyz").json()["problems"][alone.name]
        assert bad.metric(f'evergreen_serving_last_known_good{{model="{alone.name}"}}') == 1
        assert "role" not in good.predict(alone.name, entity={"customer_id": customer(1)}).json()


def test_a_replica_whose_registry_is_away_at_its_start_takes_no_traffic_and_joins_later(
    alone: ServedModel, three: list[Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone.champion(3)
    away, registry = free_port(), alone.settings.mlflow_url
    late = replica(alone, MLFLOW_URL=f"http://127.0.0.1:{away}")
    late.wait(503)
    assert late.readiness() == {"ready": False, "missing": [alone.name]}
    registered = alone.registered(5)
    with one_address([*three, late]) as url, sending(alone, url) as clients:
        clients.more(60)
        with monkeypatch.context() as patch, pytest.raises(ServiceUnavailable, match=name_of(late)):
            patch.setattr(deployment, "APPEARING", 1.0)
            serve.deploy(alone.run(5), registered)
        clients.more(60)
        with forwarded(away, registry):
            assert serve.deploy(alone.run(5), registered).version == 2
            late.wait()
            clients.more(60)
    assert clients.failed == []
    assert [version_of(alone, server) for server in (*three, late)] == [2, 2, 2, 2]


@pytest.mark.parametrize("policy", ["stop", pytest.param("serve", marks=pytest.mark.long)])
def test_a_replica_that_is_cut_off_says_so_is_named_by_the_rollback_and_takes_the_policy(
    alone: ServedModel, policy: str
) -> None:
    cable = Cable(alone.settings.database_url("evergreen"))
    near = [replica(alone) for _ in range(2)]
    cut = replica(alone, DATABASE_EVERGREEN=cable.url, WHEN_CUT_OFF=policy, CUT_OFF_SECONDS="10")
    for server in (*near, cut):
        server.wait()
    alone.champion(3)
    alone.champion(5)
    before = len(alone.logged())
    cable.cut()
    decided = time.monotonic()
    message = rollback(alone.name, reason="complaints", actor="ada").message
    assert f"replica {name_of(cut)} has shown no sign of life" in message, message
    assert [version_of(alone, server) for server in near] == [1, 1]
    until(lambda: cut.metric("evergreen_cut_off_seconds") > 5, "it counts", 20)
    meanwhile = cut.predict(alone.name, entity={"customer_id": customer(1)})
    assert (meanwhile.status_code, meanwhile.json()["version"]) == (200, 2), "it goes on with what it has"
    warnings = cut.get("/readyz").json()["warnings"]
    assert any("cut off from Postgres" in line and f"EVERGREEN_WHEN_CUT_OFF={policy}" in line for line in warnings)
    until(lambda: time.monotonic() > decided + 12, "the stated time is over")
    answer = cut.predict(alone.name, entity={"customer_id": customer(1)})
    stopped = answer.status_code == 503 and "EVERGREEN_WHEN_CUT_OFF" in answer.text
    assert stopped == (policy == "stop"), answer.text
    cable.mend()
    until(lambda: version_of(alone, cut) == 1, "it follows again", 20)
    cut.wait()
    until(lambda: (meanwhile.json()["request_id"], 0) in alone.logged(), "what it answered meanwhile is in the log", 20)
    assert len(alone.logged()) > before


def test_while_postgres_is_away_predictions_are_kept_on_disk_and_none_is_lost_by_a_kill(alone: ServedModel) -> None:
    """One replica reaches the features and not the log; it is killed, and its next process brings what it kept."""
    cable, home = Cable(alone.settings.database_url("evergreen")), str(alone.logs / "home-of-the-log")
    server = replica(alone, DATABASE_EVERGREEN=cable.url, HOME=home)
    server.wait()
    alone.champion(3)
    with sending(alone, server.url) as clients:
        clients.more(60)
        cable.cut()
        clients.more(200)
        assert server.get("/readyz").status_code == 200
        keyed = server.post(
            f"/models/{alone.name}/predict",
            json={"entity": {"customer_id": customer(1)}},
            headers={"Idempotency-Key": "k-1"},
        )
        assert keyed.status_code == 503, "no other server would know its answer"
        assert any("predictions wait" in line for line in server.get("/readyz").json()["warnings"])
        assert clients.failed == []
        server.stop()
        until(lambda: len(clients.failed) == CLIENTS, "every client sees that the server is gone")
    asked = {(each["request_id"], 0) for each in clients.answered}
    assert not asked <= alone.logged().keys(), "some of them are on its disk alone"
    cable.mend()
    server = replica(alone, DATABASE_EVERGREEN=cable.url, HOME=home)
    server.wait()
    until(
        lambda: all((each["request_id"], 0) in alone.logged() for each in clients.answered), "they are in the log", 30
    )
    clients.assert_all_logged()
    assert list((Path(home) / "unlogged").iterdir()) == []


def test_what_does_not_fit_on_disk_is_refused(alone: ServedModel) -> None:
    cable = Cable(alone.settings.database_url("evergreen"))
    server = replica(alone, DATABASE_EVERGREEN=cable.url, UNLOGGED_MB="0")
    server.wait()
    alone.champion(3)
    cable.cut()
    assert server.predict(alone.name, entity={"customer_id": customer(1)}).status_code == 503
    server.wait(503)
