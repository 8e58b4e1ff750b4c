"""Requests that wait are worked on together, and what one of them does wrong is its own fault."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from starlette.exceptions import HTTPException

from evergreen.serve import admission
from evergreen.serve.batches import Batches


class Work:
    """Doubles numbers; its first piece of work waits until it is let go."""

    def __init__(self) -> None:
        self.begun: list[list[int]] = []
        self.first, self.go = threading.Event(), threading.Event()

    def __call__(self, asked: Sequence[int]) -> list[int | Exception]:
        self.begun.append([*asked])
        if len(self.begun) == 1:
            self.first.set()
            assert self.go.wait(10)
        if 13 in asked:
            raise ValueError("13")
        return [KeyError("7") if each == 7 else 2 * each for each in asked]


async def _asked(batches: Batches[int, int], *numbers: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(batches.run(number)) for number in numbers]
    await asyncio.sleep(0)  # all of them wait
    return tasks


def test_what_waits_is_worked_on_at_once_and_one_that_fails_fails_alone() -> None:
    work = Work()

    async def ask() -> list[int | BaseException]:
        batches = Batches("numbers", places=10, most=4, work=work)
        tasks = await _asked(batches, 1)
        await asyncio.to_thread(work.first.wait, 10)
        tasks += await _asked(batches, 2, 13, 7, 3, 4, 5)
        work.go.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        batches.close()
        return answers

    answers = asyncio.run(ask())
    assert [each if isinstance(each, int) else repr(each) for each in answers] == [
        2,
        4,
        "ValueError('13')",
        "KeyError('7')",
        6,
        8,
        10,
    ]
    assert work.begun == [[1], [2, 13, 7, 3], [2], [13], [7], [3], [4, 5]], "at most four at once"


def test_beyond_its_places_and_its_patience_a_request_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PATIENCE", 0.2)
    work = Work()

    async def ask() -> list[int | BaseException]:
        batches = Batches("numbers", places=2, most=4, work=work)
        tasks = await _asked(batches, 1)
        await asyncio.to_thread(work.first.wait, 10)
        answers = await asyncio.gather(*tasks, *await _asked(batches, 2, 3), return_exceptions=True)
        work.go.set()
        while batches.taken:
            await asyncio.sleep(0.01)
        answers += await asyncio.gather(*await _asked(batches, 4), return_exceptions=True)
        batches.close()
        return answers

    *refused, last = asyncio.run(ask())
    found = [(each.status_code, each.detail) for each in refused if isinstance(each, HTTPException)]
    assert [status for status, _ in found] == [503] * 3
    assert "no prediction within" in found[0][1] and "2 numbers wait already" in found[2][1]
    assert work.begun == [[1], [4]], "nobody waited for 2 any more"
    assert last == 8
