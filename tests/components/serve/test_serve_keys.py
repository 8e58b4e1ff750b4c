"""Who may ask for predictions: with a key, where other machines reach the server; what is kept of a key, and how fast
a revoked one is."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from evergreen import database
from evergreen.cli import main
from evergreen.errors import PermanentError, RequestRefused
from evergreen.serve import asking, keys
from evergreen.settings import settings

from .conftest import ServedModel, Server, customer, until

SECONDS = 3.0  # until a change of the keys has reached a replica


@pytest.fixture
def reachable(alone: ServedModel) -> Iterator[ServedModel]:
    """A model whose server listens on all addresses, and has been told nothing of keys."""
    alone.graphs = True
    alone.serve("--host", "0.0.0.0")
    alone.champion(3)
    yield alone


def ask(server: Server, model: str, key: str | None, scheme: str = "Bearer", **headers: str) -> tuple[int, str]:
    if key is not None:
        headers["Authorization"] = f"{scheme} {key}"
    body = {"entity": {"customer_id": customer(1)}}
    response = server.post(f"/models/{model}/predict", json=body, headers=headers)
    return response.status_code, response.text


def test_a_server_that_others_reach_answers_those_who_have_a_key_of_the_model(
    reachable: ServedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    name, server = reachable.name, reachable.server
    status, told = ask(server, name, None)
    assert status == 401 and "evergreen keys add" in told
    assert ask(server, "no_such_model", None)[0] == 401, "who has no key is not told which models there are"
    assert main(["keys", "add", "the shop", "--model", name, "--actor", "anna"]) == 0
    good = capsys.readouterr().out.strip()
    _, of_another = keys.add("another shop", ["flight_delay"], "anna")
    _, of_all = keys.add("a job of all models", [], "anna")
    for key in (good, of_all):
        until(lambda key=key: ask(server, name, key)[0] == 200, "a new key is known", SECONDS)
    assert ask(server, name, good, scheme="bearer")[0] == 200
    status, told = ask(server, name, of_another)
    assert status == 403 and keys.id_of(of_another) in told
    assert ask(server, "no_such_model", of_all)[0] == 404
    forged = good[:-1] + ("0" if good[-1] != "0" else "1")
    assert [ask(server, name, key)[0] for key in (forged, good[:-1], good.upper(), "x")] == [401] * 4
    assert ask(server, name, good, scheme="Basic")[0] == 401
    assert [server.get(path).status_code for path in ("/healthz", "/readyz", f"/models/{name}")] == [200] * 3

    assert main(["keys", "list"]) == 0
    told = capsys.readouterr().out
    number = keys.id_of(good)
    assert number is not None and number in told and "the shop" in told and "anna" in told
    assert main(["keys", "revoke", number]) == 0
    before = time.monotonic()
    until(lambda: ask(server, name, good)[0] == 401, "a revoked key is refused", SECONDS)
    assert time.monotonic() - before < SECONDS
    assert ask(server, name, of_all)[0] == 200
    with pytest.raises(PermanentError, match="revoked at"):
        keys.revoke(number)

    kept = server.log.read_text() + told
    with psycopg.connect(database.url()) as connection:
        kept += str(connection.execute("select client_keys::text from client_keys").fetchall())
    for key in (good, of_another, of_all, forged):
        secret = key.rpartition("_")[2]
        assert secret not in kept and secret[:16] not in kept, "a key stands where it can be read"


def test_a_job_of_ours_asks_with_the_key_of_its_environment(
    reachable: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"entity": {"customer_id": customer(1)}}
    with pytest.raises(RequestRefused, match="401"):
        asking.ask(reachable.name, [body])
    monkeypatch.setenv("EVERGREEN_SERVER_KEY", keys.add("our own", [], "anna")[1])
    settings.cache_clear()
    until(lambda: ask(reachable.server, reachable.name, settings().server_key)[0] == 200, "a new key", SECONDS)
    assert asking.ask(reachable.name, [body, body]) == 2


def test_each_key_has_limits_of_its_own_and_not_its_address(
    alone: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_CLIENT_KEYS", "on")
    monkeypatch.setenv("EVERGREEN_CLIENT_ENTITIES_PER_SECOND", "1")
    settings.cache_clear()
    server = alone.serve()
    alone.champion(3)
    one, other = (keys.add(name, [], "anna")[1] for name in ("one", "other"))
    until(lambda: ask(server, alone.name, other)[0] == 200, "the keys are known", SECONDS)
    answered = [ask(server, alone.name, one)[0] for _ in range(20)]
    assert answered[:10] == [200] * 10 and 429 in answered, "ten seconds' worth at once"
    assert ask(server, alone.name, other)[0] == 200, "another key of the same address has its own"
