"""MLflow's server is asked as its own client would ask, whether that client is loaded for it or not."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from evergreen.registry import mlflow_server, store
from evergreen.settings import settings

MODELS = [{"name": f"m{n}", "aliases": [{"alias": "champion", "version": str(n)}]} for n in range(1, 4)]
VERSIONS = [
    {"name": "m1", "version": "1"},
    {"name": "m2", "version": "9", "tags": [{"key": "evergreen.version", "value": "2"}]},
    {"name": "gone", "version": "4"},
]


class Registry(BaseHTTPRequestHandler):
    """Answers searches in pages of two, and remembers what it was asked."""

    server: Any

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        self.server.asked.append((place.path, dict(self.headers)))
        found = {"registered_models": MODELS} if "registered-models" in place.path else {"model_versions": VERSIONS}
        ((name, every),) = found.items()
        start = int(parse_qs(place.query).get("page_token", ["0"])[0])
        page: dict[str, Any] = {name: every[start : start + 2]}
        if start + 2 < len(every):
            page["next_page_token"] = str(start + 2)
        content = json.dumps(page).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.delenv("EVERGREEN_MLFLOW_PASSWORD", raising=False)
    settings.cache_clear()
    yield server
    settings.cache_clear()
    server.shutdown()
    server.server_close()


def test_what_mlflow_has_is_read_page_by_page(registry: Any) -> None:
    registered = store.registered()
    assert {name: (has.aliases, has.versions) for name, has in registered.items()} == {
        "m1": ({"champion": 1}, frozenset({1})),
        "m2": ({"champion": 2}, frozenset({2})),
        "m3": ({"champion": 3}, frozenset()),
    }
    assert [path.split("/")[-2] for path, _ in registry.asked] == ["registered-models"] * 2 + ["model-versions"] * 2


@pytest.mark.parametrize(
    ("known_by", "shown"),
    [
        ({}, None),
        ({"USERNAME": "ann", "PASSWORD": "secret"}, "Basic " + base64.b64encode(b"ann:secret").decode()),
        ({"TOKEN": "t0ken"}, "Bearer t0ken"),
        ({"USERNAME": "ann", "PASSWORD": "secret", "TOKEN": "t0ken"}, "Basic YW5uOnNlY3JldA=="),
    ],
)
@pytest.mark.parametrize("by_client", [False, True])
def test_the_login_is_that_of_the_client(
    registry: Any, monkeypatch: pytest.MonkeyPatch, known_by: dict[str, str], shown: str | None, by_client: bool
) -> None:
    for name, value in known_by.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    if by_client:  # what only the client knows to do
        monkeypatch.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
    with mlflow_server.get("/api/2.0/mlflow/registered-models/search", {}, timeout=(5.0, 5.0)) as response:
        assert response.json()
    ((_, headers),) = registry.asked
    assert headers.get("Authorization") == shown
    assert ("mlflow" in headers["User-Agent"]) is by_client
