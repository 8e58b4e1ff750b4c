"""The server's token as a login: who guesses is slowed, and who has it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI

from evergreen.serve.app import create_probe_app
from evergreen.serve.hosts import Hosts
from evergreen.serve.models import Models
from evergreen.serve.routes import deploy
from evergreen.settings import settings
from evergreen.throttle import Throttle


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    monkeypatch.setattr(deploy, "_throttle", Throttle())
    app = create_probe_app(Models([]), Hosts())
    app.include_router(deploy.router)
    yield app
    settings.cache_clear()


def tries(app: FastAPI, *given: str | None) -> list[httpx.Response]:
    """The answers to deployments of a model that there is not, so that a right token comes as far as 404."""

    async def send() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            headers = [{"authorization": f"Bearer {token}"} if token else {} for token in given]
            return [await client.post("/models/none/deploy", json={"version": 1}, headers=header) for header in headers]

    return asyncio.run(send())


@pytest.mark.parametrize(("token", "status"), [("short", 429), ("a-long-one-as-the-generated-ones", 404)])
def test_after_many_guesses_a_long_token_is_known_at_sight(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, token: str, status: int
) -> None:
    monkeypatch.setenv("EVERGREEN_SERVER_TOKEN", token)
    settings.cache_clear()
    guesses = tries(app, *(f"guess-{number}" for number in range(20)))
    assert [guess.status_code for guess in guesses] == [401] * 10 + [429] * 10
    assert tries(app, token)[0].status_code == status


def test_a_missing_token_is_told_from_a_wrong_one_and_is_no_guess(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_SERVER_TOKEN", "short")
    settings.cache_clear()
    missing = tries(app, *[None] * 20)
    assert {answer.status_code for answer in missing} == {401}
    assert "needs `Authorization: Bearer" in missing[-1].json()["detail"]
    wrong, right = tries(app, "guess", "short")
    assert (wrong.status_code, right.status_code) == (401, 404)
    assert wrong.json()["detail"] == "the token is not this server's EVERGREEN_SERVER_TOKEN"
    assert wrong.headers["www-authenticate"] == "Bearer"
