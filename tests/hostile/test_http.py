"""Raw bytes at the model server's door. After each attack it answers as before, in milliseconds,
and its log has no traceback.

Attackers come from addresses of their own on loopback, so that what one of them may not does not concern the others.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from evergreen.addresses import free_port
from evergreen.local import postgres

PREDICT = "/models/churn/predict"
GOOD = b'{"entity": {"customer_id": "c-1"}}'
PATIENCE = 10.0  # for what takes about a second
# Seconds of /healthz, which takes some five milliseconds: no machine is so slow.
# What holds the server up takes seconds of it.
QUICK = 0.5
# Seconds that the server waits for a client: short where a test waits for the end of them, and longer than any
# machine's pause where a test needs many connections that are open at once.
SHORT, LONG = 1.5, 60.0
HELD_UP = 5.0  # beside 100 MB that are thrown away; the header that was copied again with every packet took 11.6


@dataclass
class Server:
    port: int
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, source: str = "127.0.0.2") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE, (source, 0))

    def send(self, *pieces: bytes, source: str = "127.0.0.2", pause: float = 0.0, then_close: bool = False) -> bytes:
        """What the server answers until it closes the connection, or has answered once."""
        with self.connect(source) as client:
            for number, piece in enumerate(pieces):
                if number:
                    time.sleep(pause)
                with contextlib.suppress(ConnectionError):  # it may have closed: then it has answered
                    client.sendall(piece)
            if then_close:
                client.shutdown(socket.SHUT_WR)
            return received(client)

    def predict(self) -> float:
        response = httpx.post(f"{self.url}{PREDICT}", content=GOOD, headers={"content-type": "application/json"})
        assert response.status_code == 200, response.text
        return float(response.json()["predictions"][0]["prediction"])


def received(client: socket.socket, answers: int = 1) -> bytes:
    """What comes until the connection closes, or so many answers with their content are there."""
    content = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(65_536):
            content += piece
            if len(complete(content)) >= answers:
                break
    return content


def complete(stream: bytes) -> list[int]:
    """The statuses of the whole answers at the start of a stream."""
    statuses = []
    while (end := stream.find(b"\r\n\r\n")) >= 0:
        head = stream[:end].lower()
        length = re.search(rb"content-length: (\d+)", head)
        size = end + 4 + int(length[1] if length else 0)
        if len(stream) < size:
            break
        statuses.append(int(head.split(b" ", 2)[1]))
        stream = stream[size:]
    return statuses


def get(
    path: str | bytes = "/healthz", *headers: str | bytes, method: str = "GET", host: str | None = "localhost"
) -> bytes:
    target = path if isinstance(path, bytes) else path.encode()
    lines = [method.encode() + b" " + target + b" HTTP/1.1"] + ([b"Host: " + host.encode()] if host else [])
    lines += [header if isinstance(header, bytes) else header.encode() for header in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def post(body: bytes, *headers: str, path: str = PREDICT, kind: str = "application/json") -> bytes:
    stated = (
        ()
        if any("length" in header.lower() or "encoding" in header.lower() for header in headers)
        else (f"Content-Length: {len(body)}",)
    )
    return get(path, f"Content-Type: {kind}", *stated, *headers, method="POST") + body


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    waits = getattr(request, "param", SHORT)
    folder, prefix, port = tmp_path_factory.mktemp("door"), f"t{os.getpid()}_door_{waits:.0f}_", free_port()
    postgres.create_databases(postgres_url, [f"{prefix}{name}" for name in ("evergreen", "optuna", "feast")])
    environment = {
        "HOME": str(folder / "home"),
        "DATABASE": postgres_url,
        "DATABASE_PREFIX": prefix,
        "MLFLOW_URL": "http://127.0.0.1:9",
        "SERVER_URL": f"http://127.0.0.1:{port}",
    }
    root = Path(__file__).parents[2]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("http_server.py")), str(port), str(waits)],
            stdout=output,
            stderr=output,
            env=os.environ
            | {f"EVERGREEN_{name}": value for name, value in environment.items()}
            | {"PYTHONPATH": str(root / "include")},
        )
    server = Server(port, log, process)
    try:
        deadline = time.monotonic() + 120
        while not _ready(server):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield server
    finally:
        process.kill()
        process.wait()


def _ready(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/readyz", timeout=PATIENCE).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def usual(server: Server) -> float:
    """The prediction before any attack."""
    return server.predict()


@pytest.fixture(autouse=True)
def unharmed(server: Server, usual: float) -> Iterator[None]:
    """What holds after each attack."""
    logged_before = len(server.log.read_text())
    yield
    assert fastest(server) < QUICK
    assert server.predict() == usual
    said = server.log.read_text()[logged_before:]
    assert "Traceback" not in said and "Exception" not in said, said


def fastest(server: Server) -> float:
    """Seconds that /healthz takes; the best of a few, on a machine that is not ours alone."""
    taken = math.inf
    for _ in range(10):
        started = time.perf_counter()
        assert server.send(get(), source="127.0.0.1").startswith(b"HTTP/1.1 200")
        taken = min(taken, time.perf_counter() - started)
        if taken < 0.05:
            break
    return taken


DEEP = b"[" * 10_000 + b"]" * 10_000
SMUGGLED = b"0\r\n\r\nGET /models HTTP/1.1\r\nHost: localhost\r\n\r\n"
ATTACKS: dict[str, tuple[bytes, set[int]]] = {
    # the request line
    "endless target": (get("/" + "a" * 200_000), {414}),
    "target a little too long": (get("/" + "a" * 9_000), {414}),
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), {400}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}),
    "HTTP/0.9": (b"GET /healthz\r\n\r\n", {400}),
    "unknown version": (b"GET /healthz HTTP/9.9\r\nHost: localhost\r\n\r\n", {400}),
    "unknown method": (get(method="STEAL"), {400}),
    "method in lower case": (get(method="get"), {400}),
    "CONNECT": (get("evil.example:443", method="CONNECT"), {400}),
    "OPTIONS *": (get("*", method="OPTIONS"), {404}),
    "TRACE": (get(method="TRACE"), {405}),
    "PATCH": (get(PREDICT, method="PATCH"), {405}),
    "another method by a header": (get("/models/churn/predict", "X-HTTP-Method-Override: POST"), {405}),
    "path above the root": (get("/../../../etc/passwd"), {404}),
    "path above the root, encoded": (get("/%2e%2e/%2e%2e/etc/passwd"), {404}),
    "path with a NUL": (get("/models/%00"), {404}),
    "path with line breaks": (get("/models/a%0d%0aSet-Cookie:%20a=b"), {404}),
    "path that is no text": (get(b"/models/\xff\xfe"), {400, 404}),
    "path of another server": (get("//evil.example/healthz"), {404}),
    "target with a host": (get("http://localhost/models"), {200}),
    "target with a stranger's host": (get("http://evil.example/models"), {421}),
    "target that is only a host": (get("http://localhost"), {400, 404}),
    # headers
    "many headers": (get("/healthz", *(f"X-{number}: a" for number in range(200))), {431}),
    "headers of 70 KB": (get("/healthz", *(f"X-{number}: {'a' * 1_000}" for number in range(70))), {431}),
    "a header of 70 KB": (get("/healthz", "X: " + "a" * 70_000), {431}),
    "NUL in a header": (get("/healthz", b"X: a\x00b"), {400}),
    "header without a name": (get("/healthz", ": a"), {400}),
    "space before the colon": (get("/healthz", "Content-Length : 5"), {400}),
    "folded header": (get("/healthz", "X: a\r\n b"), {200, 400}),
    "lines without CR": (b"GET /healthz HTTP/1.1\nHost: localhost\n\n", {200, 400}),
    "stranger's host": (get("/models", host="evil.example"), {421}),
    "stranger's host, health": (get("/healthz", host="evil.example"), {200}),
    "two hosts": (get("/models", "Host: evil.example"), {400}),
    "no host": (get("/models", host=None), {400}),
    "websocket": (
        get(
            "/healthz",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AA==",
        ),
        {200},
    ),
    "body of another protocol": (
        post(GOOD, "Connection: Upgrade", "Upgrade: h2c", f"Content-Length: {len(GOOD)}"),
        {400},
    ),
    # lengths
    "both lengths": (post(SMUGGLED, "Content-Length: 5", "Transfer-Encoding: chunked"), {400}),
    "encodings that hide one": (post(SMUGGLED, "Transfer-Encoding: chunked, identity"), {400, 411}),
    "two lengths": (post(GOOD, "Content-Length: 5", "Content-Length: 34"), {400}),
    "negative length": (post(GOOD, "Content-Length: -1"), {400}),
    "length with a sign": (post(GOOD, "Content-Length: +34"), {400}),
    "length beyond all numbers": (post(GOOD, f"Content-Length: {10**30}"), {400}),
    "length too large": (post(GOOD, f"Content-Length: {10**12}"), {413}),
    "length in hexadecimal": (post(GOOD, "Content-Length: 0x22"), {400}),
    "chunks": (post(b"22\r\n" + GOOD + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), {411}),
    "chunk of no size": (post(b"ZZ\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), {400, 411}),
    "chunk beyond all sizes": (post(b"FFFFFFFFFFFFFFFFF\r\nabc", "Transfer-Encoding: chunked"), {400, 411}),
    "endless trailer": (post(b"0\r\nX: " + b"a" * 4_000_000, "Transfer-Encoding: chunked"), {411, 413}),
    # bodies
    "duplicate key": (post(b'{"entity": {"customer_id": "c-0"}, "entity": {"customer_id": "c-1"}}'), {422}),
    "duplicate key of an entity": (post(b'{"entity": {"customer_id": "c-0", "customer_id": "c-1"}}'), {422}),
    "duplicate key, the first one deep": (
        post(b'{"entity": ' + b"[" * 150 + b"]" * 150 + b', "entity": {"customer_id": "c-1"}}'),
        {422},
    ),
    "10,000 deep": (post(DEEP), {422}),
    "10,000 deep within": (post(b'{"entity": {"customer_id": ' + DEEP + b"}}"), {422}),
    "NUL": (post(b'{"entity": {"customer_id": "c\\u0000"}}'), {422}),
    "raw NUL": (post(b'{"entity": {"customer_id": "c\x00"}}'), {422}),
    "half a character": (post(b'{"entity": {"customer_id": "\\ud800"}}'), {422}),
    "invalid UTF-8": (post(b'{"entity": {"customer_id": "\xff\xc0\x80"}}'), {422}),
    "UTF-16": (post('{"entity": {"customer_id": "c-1"}}'.encode("utf-16")), {422}),
    "number of 100,000 digits": (post(b'{"entity": {"customer_id": ' + b"9" * 100_000 + b"}}"), {422}),
    "number beyond all numbers": (post(b'{"entity": {"customer_id": 1e999999999}}'), {422}),
    "half a million entities that are none": (post(b'{"entities": [' + b"0," * 489_999 + b"0]}"), {422}),
    "10,000 entities": (
        post(b'{"entities": [' + b'{"customer_id": "c-1"},' * 9_999 + b'{"customer_id": "c-1"}]}'),
        {413},
    ),
    "a deployment, as earlier releases had it": (post(b'{"version": 1}', path="/models/churn/deploy"), {404}),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_request_is_refused_and_harms_nobody(server: Server, name: str) -> None:
    request, expected = ATTACKS[name]
    answer = server.send(request)
    assert complete(answer) and complete(answer)[0] in expected, answer[:500]
    assert b"root:" not in answer and b"\r\nset-cookie" not in answer.lower()
    if name.startswith("duplicate key"):
        mistakes = json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]
        assert mistakes[0]["type"] == "duplicate_key" and mistakes[0]["loc"][1] in ("entity", "customer_id"), mistakes


def test_one_endless_header_holds_nobody_up(server: Server) -> None:
    slowest, ended = 0.0, threading.Event()

    def ask() -> None:
        nonlocal slowest
        while not ended.is_set():
            started = time.perf_counter()
            assert server.send(get(), source="127.0.0.1").startswith(b"HTTP/1.1 200")
            slowest = max(slowest, time.perf_counter() - started)

    asking = threading.Thread(target=ask)
    asking.start()
    piece, sent = b"a" * 1_000_000, 0
    with server.connect() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ")
        with contextlib.suppress(ConnectionError):
            while sent < 132:
                client.sendall(piece)
                sent += 1
        answer = received(client)
    ended.set()
    asking.join()
    assert answer.startswith(b"HTTP/1.1 431"), answer[:200]
    assert b"65,536 bytes" in answer
    assert sent < 100, "the server read it all"
    assert slowest < HELD_UP, f"/healthz took {slowest:.1f} s meanwhile"


@pytest.mark.parametrize("megabytes", [2, 50])
def test_413_can_be_read_by_a_client_that_sends_first(server: Server, megabytes: int) -> None:
    body = b" " * (megabytes * 1_000_000)
    answer = server.send(post(b"", f"Content-Length: {len(body)}"), body)
    assert answer.startswith(b"HTTP/1.1 413") and b"larger than 1,000,000 bytes" in answer, answer[:200]
    assert httpx.post(f"{server.url}{PREDICT}", content=body, timeout=PATIENCE).status_code == 413


def test_413_comes_before_the_body_where_the_client_asks(server: Server) -> None:
    answer = server.send(post(b"", "Content-Length: 2000000", "Expect: 100-continue"))
    assert complete(answer)[0] == 413, answer[:200]


HALF_SENT = {
    "headers": (b"GET /healthz HTTP/1.1\r\nHost: loc", "headers"),
    "request line": (b"GET /hea", "headers"),
    "body": (post(b'{"entity": {"cus', "Content-Length: 34"), "body"),
}


@pytest.mark.parametrize("part", HALF_SENT)
def test_fifty_half_sent_requests_are_gone_within_their_limit(server: Server, part: str) -> None:
    request, late = HALF_SENT[part]
    attackers: list[socket.socket] = []
    started = time.monotonic()
    try:
        for _ in range(50):
            attackers.append(server.connect())
            attackers[-1].sendall(request)
        assert fastest(server) < QUICK, "others are answered meanwhile"
        for attacker in attackers:
            answer = received(attacker)
            assert answer.startswith(b"HTTP/1.1 408") and f"{late} did not arrive within 1.5 s".encode() in answer, (
                answer
            )
        assert 0.5 < time.monotonic() - started < 6, "their limit, however many there are"
    finally:
        for attacker in attackers:
            attacker.close()


def test_headers_that_drip_are_over_at_their_limit(server: Server) -> None:
    with server.connect() as client:
        started = time.monotonic()
        client.sendall(b"GET /healthz HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < started + PATIENCE:
                client.sendall(b"X: a\r\n")
                client.settimeout(0.1)
                with contextlib.suppress(TimeoutError):
                    assert client.recv(100).startswith(b"HTTP/1.1 408")
                    break
        assert time.monotonic() - started < 6


@pytest.mark.parametrize("before", [b"", b"\r\n" * 100, get()])
def test_an_idle_connection_is_closed(server: Server, before: bytes) -> None:
    with server.connect() as client:
        client.sendall(before)
        started = time.monotonic()
        if before.strip():
            assert complete(received(client)) == [200]
        client.settimeout(PATIENCE)
        assert received(client) == b"", "nothing was asked: nothing is answered"
        assert 0.5 < time.monotonic() - started < 6


def test_requests_sent_at_once_are_answered_in_their_order(server: Server) -> None:
    with server.connect() as client:
        client.sendall(get() + post(GOOD) + get("/nowhere") + get("/models"))
        assert complete(received(client, answers=4)) == [200, 200, 404, 200]


def test_a_flood_of_requests_in_one_packet_is_cut_off(server: Server) -> None:
    with server.connect() as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(get() * 20_000)
        statuses = complete(received(client, answers=20_000))
    assert set(statuses) == {200} and len(statuses) < 100, "those that were taken are answered"


def test_what_is_no_request_does_not_overtake_the_answer_before_it(server: Server) -> None:
    with server.connect() as client:
        client.sendall(post(GOOD) + b"\x00\x00\r\n\r\n")
        assert complete(received(client, answers=2)) == [200], "the prediction's answer, then the end"


def test_a_client_that_ends_its_half_is_answered(server: Server) -> None:
    answer = server.send(post(GOOD), then_close=True)
    assert complete(answer) == [200], answer[:200]


@pytest.mark.parametrize(
    "request_",
    [post(GOOD), post(b'{"entity', "Content-Length: 34"), get()[:20]],
    ids=["whole", "half a body", "half a header"],
)
def test_a_client_that_hangs_up_is_no_defect(server: Server, request_: bytes) -> None:
    before = _counted(server, "500")
    for _ in range(5):
        with server.connect() as client:
            client.sendall(request_)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # a reset
    time.sleep(0.2)
    assert _counted(server, "500") == before


def _counted(server: Server, status: str) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("evergreen_requests_total") and f'status="{status}"' in line
    )


@pytest.mark.parametrize("server", [LONG], indirect=True)
def test_one_client_cannot_take_all_connections(server: Server) -> None:
    attackers = [server.connect("127.0.0.3") for _ in range(60)]
    try:
        one_more = server.send(get(), source="127.0.0.3")
        assert one_more.startswith(b"HTTP/1.1 429") and b"retry-after" in one_more, one_more[:200]
        assert complete(server.send(get(), source="127.0.0.1")) == [200], "another client is answered"
        others = [server.connect("127.0.0.4") for _ in range(30)]
        attackers += others
        full = server.send(get(), source="127.0.0.1")
        assert full.startswith(b"HTTP/1.1 503"), full[:200]
    finally:
        for attacker in attackers:
            attacker.close()
    deadline = time.monotonic() + PATIENCE
    while complete(server.send(get(), source="127.0.0.3")) != [200]:
        assert time.monotonic() < deadline, "its connections are closed: it may come again"


def _asked_for(server: Server, client: str) -> bytes:
    """What the trusted proxy is answered when it asks for this client."""
    return server.send(get("/healthz", f"X-Forwarded-For: {client}"), source="127.0.0.9")


@pytest.mark.parametrize("server", [LONG], indirect=True)
def test_behind_a_trusted_proxy_each_client_has_its_own_share(server: Server) -> None:
    def slow(client: str) -> bytes:
        return post(b"", "Content-Length: 34", f"X-Forwarded-For: 127.0.0.1, {client}")

    attackers = [server.connect("127.0.0.9") for _ in range(60)]
    try:
        for attacker in attackers:
            attacker.sendall(slow("203.0.113.9"))
        deadline = time.monotonic() + PATIENCE
        while complete(_asked_for(server, "203.0.113.9")) != [429]:
            assert time.monotonic() < deadline, "its connections are taken: it has its share"
        assert complete(_asked_for(server, "203.0.113.10")) == [200]
    finally:
        for attacker in attackers:
            attacker.close()


@pytest.mark.parametrize("server", [LONG], indirect=True)
def test_who_is_no_proxy_cannot_choose_its_address(server: Server) -> None:
    attackers = [server.connect("127.0.0.3") for _ in range(60)]
    try:
        answer = server.send(get("/healthz", "X-Forwarded-For: 203.0.113.77"), source="127.0.0.3")
        assert answer.startswith(b"HTTP/1.1 429"), answer[:200]
    finally:
        for attacker in attackers:
            attacker.close()


@pytest.mark.long
def test_fifty_clients_that_drip_for_half_a_minute_slow_nobody(server: Server) -> None:
    ended = time.monotonic() + 30
    attackers: list[socket.socket] = []
    while time.monotonic() < ended:
        while len(attackers) < 50:
            attackers.append(server.connect())
            attackers[-1].sendall(b"GET /healthz HTTP/1.1\r\n")
        for attacker in list(attackers):
            try:
                attacker.sendall(b"X: a\r\n")
            except ConnectionError:
                attacker.close()
                attackers.remove(attacker)
        assert fastest(server) < QUICK
    for attacker in attackers:
        attacker.close()
