"""A bound for tests whose length is the machine's: they end when nothing moves on, and not at a time."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def moving(seconds: int) -> Iterator[Callable[[str], None]]:
    """Yields what is called with each step; the test fails `seconds` after the last one.

    It takes pytest-timeout's signal, which `@pytest.mark.timeout(0)` leaves alone.
    """

    def stuck(*_: object) -> None:
        pytest.fail(f"nothing moved for {seconds} s")

    def moved(step: str) -> None:
        print(step)
        signal.alarm(seconds)

    before = signal.signal(signal.SIGALRM, stuck)
    moved("begin")
    try:
        yield moved
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
