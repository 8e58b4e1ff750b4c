"""Wrong passwords are slowed, and the right user is never locked out for good."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from evergreen.throttle import (
    ALL_BURST,
    FREE,
    LONGEST,
    REMEMBERED,
    SOURCES,
    Receive,
    Scope,
    Send,
    SlowedLogin,
    Throttle,
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def guesses(throttle: Throttle, clock: Clock, source: str, seconds: float) -> int:
    """Wrong passwords that somebody gets looked at who never stops trying."""
    end, looked_at = clock.now + seconds, 0
    while clock.now < end:
        wait = throttle.attempt(source)
        looked_at += wait == 0
        clock.now += wait or 0.001
    return looked_at


def test_a_source_that_guesses_on_is_slowed_to_two_tries_per_minute() -> None:
    throttle = Throttle(clock := Clock())
    assert guesses(throttle, clock, "a", 60) <= FREE + 6
    assert guesses(throttle, clock, "a", 3600) <= 3600 / LONGEST + 1


def test_tries_sent_all_at_once_are_no_way_around() -> None:
    throttle = Throttle(Clock())
    assert sum(throttle.attempt("a") == 0 for _ in range(1000)) == FREE


def test_who_mistypes_and_then_knows_it_waits_for_nothing() -> None:
    throttle = Throttle(Clock())
    for _ in range(100):
        assert [throttle.attempt("a") for _ in range(FREE)] == [0.0] * FREE
        throttle.passed("a")


def test_one_source_does_not_slow_another() -> None:
    throttle = Throttle(clock := Clock())
    guesses(throttle, clock, "a", 600)
    assert throttle.attempt("b") == 0


def test_many_addresses_together_are_slowed_and_a_known_one_is_not() -> None:
    throttle = Throttle(clock := Clock())
    throttle.attempt("the right user")
    throttle.passed("the right user")
    looked_at = sum(throttle.attempt(f"bot {number}") == 0 for number in range(5000))
    assert looked_at == ALL_BURST
    assert throttle.attempt("the right user") == 0
    assert 0 < throttle.attempt("a new one") <= 1
    clock.now += 1.01
    assert throttle.attempt("a new one") == 0


def test_the_longest_wait_ends_and_an_old_try_is_forgotten() -> None:
    throttle = Throttle(clock := Clock())
    guesses(throttle, clock, "a", 600)
    assert throttle.attempt("a") <= LONGEST
    clock.now += LONGEST
    assert throttle.attempt("a") == 0
    clock.now += REMEMBERED + 1
    assert [throttle.attempt("a") for _ in range(FREE)] == [0.0] * FREE


def test_memory_is_bounded() -> None:
    throttle = Throttle(clock := Clock())
    for number in range(SOURCES + 500):
        clock.now += 1
        throttle.attempt(f"bot {number}")
    assert len(throttle._sources) == SOURCES


def test_a_login_that_is_wrapped_is_not_asked_while_its_source_waits() -> None:
    passwords = []

    async def login(scope: Scope, receive: Receive, send: Send) -> None:
        passwords.append(scope["password"])
        await send(
            {"type": "http.response.start", "status": 201 if scope["password"] == "right" else 401, "headers": []}
        )

    slowed = SlowedLogin(login, tries=lambda scope: scope["method"] == "POST", right=lambda status: status < 400)

    def ask(password: str, method: str = "POST", address: str = "192.0.2.1") -> dict[str, Any]:
        sent: list[MutableMapping[str, Any]] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        async def receive() -> MutableMapping[str, Any]:
            return {}

        scope = {"type": "http", "method": method, "client": (address, 1), "password": password}
        asyncio.run(slowed(scope, receive, send))
        return dict(sent[0])

    assert [ask("wrong")["status"] for _ in range(FREE)] == [401] * FREE
    refused = ask("right")
    assert refused["status"] == 429 and dict(refused["headers"])[b"retry-after"] == b"1"
    assert len(passwords) == FREE, "nobody looked at the password"
    assert ask("right", method="GET")["status"] == 201, "no login"
    assert ask("right", address="192.0.2.2")["status"] == 201
