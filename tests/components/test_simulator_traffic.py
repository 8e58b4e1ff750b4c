"""Landing in a real S3, and traffic over real HTTP."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest

from evergreen.addresses import free_port
from evergreen_simulator import landing, traffic
from evergreen_simulator import replay as requests
from evergreen_simulator.__main__ import main
from evergreen_simulator.delivery import World
from evergreen_simulator.events import COLUMNS

DAY = date(2026, 1, 5)
WORLD = World(1, 150)


class Server(ThreadingHTTPServer):
    """Answers as the model server does; `refuse` holds customers whom it does not know, `broken` those it fails for."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.bodies: list[dict[str, Any]] = []
        self.connections: set[Any] = set()
        self.refuse: set[str] = set()
        self.broken: set[str] = set()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/models/churn/predict"
        self.server.bodies.append(body)
        self.server.connections.add(self.client_address)
        customers = [entity["customer_id"] for entity in body.get("entities") or [body["entity"]]]
        if self.server.broken & set(customers):
            self.answer(500, {"detail": "no champion"})
        elif "entity" in body and customers[0] in self.server.refuse:
            self.answer(404, {"detail": f"unknown customer_id {customers[0]}"})
        else:
            items = [
                {"customer_id": name, "prediction": None if name in self.server.refuse else 0.1} for name in customers
            ]
            self.answer(200, {"version": 3, "predictions": items})

    def answer(self, status: int, content: dict[str, Any]) -> None:
        payload = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a replay that has failed hangs up on the other requests
            self.wfile.write(payload)

    def log_message(self, format: str, *args: object) -> None:
        """A test's output is not an access log."""


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


def test_asks_about_every_active_customer_once_within_the_day(server: Server) -> None:
    answers = traffic.replay_day(WORLD, DAY, server.url)
    singles = [body["entity"] for body in server.bodies if "entity" in body]
    batched = [entity for body in server.bodies for entity in body.get("entities", [])]
    customers = sorted(entity["customer_id"] for entity in singles + batched)
    snapshot = WORLD.batch(date(2026, 1, 4))["customers"]
    assert customers == sorted(
        snapshot.loc[snapshot["snapshot_at"].str.startswith("2026-01-04"), "customer_id"].unique()
    )
    assert (answers.answered, answers.unknown, dict(answers.versions)) == (len(customers), [], {"3": len(customers)})
    assert answers.requests == len(server.bodies)
    assert singles
    assert batched
    moments = {datetime.fromisoformat(body["as_of"]) for body in server.bodies}
    assert all(moment.tzinfo is not None and moment.astimezone(UTC).date() == DAY for moment in moments)
    assert len(server.connections) <= requests.CONNECTIONS


def test_the_same_day_is_the_same_traffic() -> None:
    assert list(traffic.requests_of_day(WORLD, DAY)) == list(traffic.requests_of_day(World(1, 150), DAY))


def test_counts_unknown_customers_alone_and_in_batches(server: Server) -> None:
    bodies = list(traffic.requests_of_day(WORLD, DAY))
    alone = next(body["entity"]["customer_id"] for body in bodies if "entity" in body)
    together = next(body["entities"][0]["customer_id"] for body in bodies if "entities" in body)
    server.refuse = {alone, together}
    assert set(traffic.replay_day(WORLD, DAY, server.url).unknown) == {alone, together}
    command = ["traffic", "--day", DAY.isoformat(), "--seed", "1", "--size", "150", "--server", server.url]
    assert main(command) == 1
    server.refuse = set()
    assert main(command) == 0


def test_fails_when_a_request_fails(server: Server) -> None:
    server.broken = {
        next(body["entity"]["customer_id"] for body in traffic.requests_of_day(WORLD, DAY) if "entity" in body)
    }
    with pytest.raises(requests.TrafficFailed, match=r"500 .*no champion"):
        traffic.replay_day(WORLD, DAY, server.url)


def test_waits_for_a_server_that_is_starting_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    port, started = free_port(), []

    def start() -> None:
        time.sleep(1)
        started.append(Server(port))

    thread = threading.Thread(target=start)
    thread.start()
    answers = traffic.replay_day(WORLD, DAY, f"http://127.0.0.1:{port}")
    thread.join()
    started[0].stop()
    assert answers.answered == len(WORLD.active_on(DAY))
    monkeypatch.setattr(requests, "CONNECT_RETRIES", 1)
    with pytest.raises(requests.TrafficFailed, match="ConnectError"):
        traffic.replay_day(WORLD, DAY, f"http://127.0.0.1:{port}")


def test_lands_in_s3(s3: str) -> None:
    landing.write_day(WORLD, DAY, "s3://evergreen/business/landing/")
    for source, batch in WORLD.batch(DAY).items():
        key = f"business/landing/churn/{source}/2026-01-05.csv"
        assert boto3.client("s3").get_object(Bucket="evergreen", Key=key)["Body"].read() == landing.as_csv(batch)
    assert set(COLUMNS) == {
        item["Key"].split("/")[3]
        for item in boto3.client("s3").list_objects_v2(Bucket="evergreen", Prefix="business/")["Contents"]
    }
