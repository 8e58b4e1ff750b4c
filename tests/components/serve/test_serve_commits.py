"""Commits by the event loop's thread: what is acknowledged is in the log once, whatever happens to the connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from evergreen.errors import ServiceUnavailable
from evergreen.serve import commits as of_commits
from evergreen.serve.commits import Commits
from evergreen.serve.predictions import TABLE, Prediction, PredictionLog, between, drop, write_late
from evergreen.settings import Settings

from .conftest import at


def rows(request: str, value: object = 1.0, **others: Any) -> list[Prediction]:
    return [Prediction("shop", 1, request, 0, "c-1", at(0), at(0), {"minutes": value}, 0.5, **others)]


def logged() -> list[str]:
    return sorted(row.request_id for row in between("shop", at(0), at(0) + timedelta(seconds=1)))


def run(work: Callable[[Commits, PredictionLog], Awaitable[None]]) -> None:
    """Work with commits whose connections are open, in an event loop of its own."""

    async def whole() -> None:
        log = PredictionLog()
        commits = Commits(log)
        commits.start()
        try:
            await opened(commits)
            await work(commits, log)
        finally:
            commits.stop()
            await asyncio.to_thread(log.close)

    asyncio.run(whole())


async def opened(commits: Commits) -> None:
    async with asyncio.timeout(30):
        while len(commits._connections) < of_commits._CONNECTIONS:
            await asyncio.sleep(0.01)


def terminate(home: Settings) -> None:
    """Every connection that writes the log ends, as when the database is started again."""
    with psycopg.connect(home.database_url("evergreen"), autocommit=True) as admin:
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and query ilike 'insert into predictions%'"
        )


def test_rows_are_read_as_they_were_written_by_either_way(home: Settings) -> None:
    given = [
        *rows("plain", None, decided="1", role="champion", seconds=0.25),
        *rows("text", 'a "quoted" ü \U0001f600', rollout="r", share=5, failed="why"),
        Prediction("shop", 2, "classes", 3, '["s-12", 7]', at(0), None, {}, None, probabilities={"a": 0.25, "b": 0.75}),
        Prediction("shop", 2**31, "large", 2**31 - 1, "c", at(0), at(0) - timedelta(days=20_000), {"n": 2**53}, 1e-300),
    ]
    write_late([Prediction(**{**vars(row), "request_id": f"late {row.request_id}"}) for row in given])

    async def work(commits: Commits, log: PredictionLog) -> None:
        await asyncio.gather(*(commits.append([row]) for row in given))  # the first by the log, which makes the day
        await asyncio.gather(*(commits.append([Prediction(**{**vars(row), "position": 9})]) for row in given))

    run(work)
    with psycopg.connect(home.database_url("evergreen")) as connection:
        read = {(row.request_id, row.position): row for row in TABLE.select(connection, "where model = 'shop'")}
    for row in given:
        for request, position in ((f"late {row.request_id}", row.position), (row.request_id, 9)):
            found = read[request, position]
            assert found.logged_at is not None
            expected = {**vars(row), "request_id": request, "position": position, "logged_at": found.logged_at}
            assert vars(found) == expected


def test_rows_that_are_there_already_are_left_out(home: Settings) -> None:
    async def work(commits: Commits, log: PredictionLog) -> None:
        await commits.append(rows("first"))
        await asyncio.gather(*(commits.append(rows(name, value)) for name, value in (("first", 2.0), ("second", 1.0))))

    run(work)
    with psycopg.connect(home.database_url("evergreen")) as connection:
        read = TABLE.select(connection, "where model = 'shop' order by request_id")
    assert [(row.request_id, row.features) for row in read] == [
        ("first", {"minutes": 1.0}),
        ("second", {"minutes": 1.0}),
    ]


def test_a_value_that_cannot_be_written_fails_its_own_request_alone(home: Settings) -> None:
    async def work(commits: Commits, log: PredictionLog) -> None:
        await commits.append(rows("first"))
        wrong = {"object": object(), "surrogate": "\ud800", "nul": "\x00", "infinite": float("inf")}
        done = [commits.append(rows(name, value)) for name, value in wrong.items()]
        fine = [commits.append(rows(name)) for name in ("a", "b")]
        outcomes = await asyncio.gather(*done, *fine, return_exceptions=True)
        assert [type(each) for each in outcomes] == [ServiceUnavailable] * 4 + [type(None)] * 2
        await commits.append(rows("last"))

    run(work)
    assert logged() == ["a", "b", "first", "last"]


def test_what_was_under_way_when_the_connections_end_is_logged_once(home: Settings) -> None:
    async def work(commits: Commits, log: PredictionLog) -> None:
        await commits.append(rows("first"))
        with psycopg.connect(home.database_url("evergreen")) as blocker:
            blocker.execute("lock table predictions in exclusive mode")
            done = [commits.append(rows(f"held {number}")) for number in range(3)]
            await asyncio.sleep(0.2)
            done += [commits.append(rows(f"waiting {number}")) for number in range(3)]
            assert not any(each.done() for each in done)
            await asyncio.to_thread(terminate, home)
            await asyncio.sleep(0.2)
        await asyncio.gather(*done)
        await opened(commits)
        await commits.append(rows("last"))

    run(work)
    assert logged() == [
        "first",
        *(f"held {number}" for number in range(3)),
        "last",
        *(f"waiting {number}" for number in range(3)),
    ]


def test_a_group_that_takes_long_is_tried_by_the_log_and_is_there_once(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_commits, "_PATIENCE", 0.3)

    async def work(commits: Commits, log: PredictionLog) -> None:
        await commits.append(rows("first"))
        with psycopg.connect(home.database_url("evergreen")) as blocker:
            blocker.execute("lock table predictions in exclusive mode")
            slow = commits.append(rows("slow"))
            async with asyncio.timeout(10):
                while not log._rows:
                    await asyncio.sleep(0.01)
            assert not slow.done()
        await slow

    run(work)
    assert logged() == ["first", "slow"]


def test_a_day_that_was_dropped_is_made_again(home: Settings) -> None:
    async def work(commits: Commits, log: PredictionLog) -> None:
        await commits.append(rows("first"))
        await commits.append(rows("second"))
        await asyncio.to_thread(drop, "shop", [at(0).date()])
        await commits.append(rows("late"))
        await commits.append(rows("later"))

    run(work)
    assert logged() == ["late", "later"]


def test_while_the_log_is_closed_it_says_so(home: Settings) -> None:
    async def work(commits: Commits, log: PredictionLog) -> None:
        await asyncio.to_thread(log.close)
        with pytest.raises(ServiceUnavailable, match="the log is closed"):
            await commits.append(rows("no table of the day, so by the log"))

    run(work)
    assert logged() == []
