"""By which names the server may be asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from evergreen.serve.hosts import Hosts, allowed
from evergreen.settings import settings


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    settings.cache_clear()
    yield
    settings.cache_clear()


def status(hosts: Hosts, *stated: str, version: str = "1.1") -> int | None:
    refused = hosts.refusal(stated, version)
    return refused and refused[0]


@pytest.mark.parametrize("bind", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_a_page_cannot_ask_by_its_own_name(bind: str) -> None:
    hosts = allowed(bind, settings().server_url)
    for name in ("localhost", "LOCALHOST:8090", "127.0.0.1:8090", "[::1]:8090", "10.0.0.7", "localhost."):
        assert status(hosts, name) is None, name
    for name in ("evil.example", "evil.example:8090", "localhost.evil.example", "127.0.0.1.evil.example", ""):
        assert status(hosts, name) == 421, name


def test_elsewhere_every_name_is_taken_unless_names_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert status(allowed("0.0.0.0", settings().server_url), "anything.example") is None
    monkeypatch.setenv("EVERGREEN_SERVER_HOSTS", "Models.example, models.internal")
    monkeypatch.setenv("EVERGREEN_SERVER_URL", "http://server:8090")
    settings.cache_clear()
    for name in ("models.example:443", "models.internal", "server:8090"):
        assert status(allowed("0.0.0.0", settings().server_url), name) is None, name
    for name in ("anything.example", "10.0.0.7", "localhost"):
        assert status(allowed("127.0.0.1", settings().server_url), name) == 421, name


def test_a_request_names_exactly_one_host() -> None:
    assert status(Hosts(), "a", "b") == 400
    assert status(Hosts()) == 400
    assert status(Hosts(), version="1.0") is None, "HTTP/1.0 knows none"
