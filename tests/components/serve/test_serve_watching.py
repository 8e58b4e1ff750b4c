"""Threads that watch go on, whatever what they watch does; what they know reaches the operator, and not a client."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import psycopg
import pytest
from fastapi import HTTPException

from evergreen.lake import space as disks
from evergreen.serve import pulse, space
from evergreen.serve.metrics import Metrics
from evergreen.serve.models import Models
from evergreen.serve.pulse import Pulse
from evergreen.serve.space import Space
from evergreen.serve.state import State


class Times:
    """Raises as often as it is told to, then counts."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.left, self.calls = error, times, 0

    def __call__(self, *_: object, **__: object) -> list[object]:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return []


class Connection:
    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None: ...

    def execute(self, _: str) -> None: ...


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_database_is_asked_again_whatever_asking_raised(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Times(RuntimeError("unforeseen"), 3)

    def connect(*_: object, **__: object) -> Connection:
        failing()
        return Connection()

    monkeypatch.setattr(psycopg, "connect", connect)
    monkeypatch.setattr(pulse, "_EVERY", 0.01)
    watch = Pulse(["evergreen"])
    try:
        until(lambda: not watch.silent())
    finally:
        watch.stop()
    records = [record for record in caplog.records if record.exc_info]
    assert len(records) == 1 and "evergreen" in records[0].getMessage(), "told once, with its traceback"


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_space_is_looked_at_again_whatever_looking_raised(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    looks = Times(RuntimeError("unforeseen"), 3)
    monkeypatch.setattr(disks, "disks", looks)
    monkeypatch.setattr(disks, "database", lambda _: None)
    monkeypatch.setattr(space, "_LOOK_SECONDS", 0.01)
    watched = Space()
    watched.start()
    try:
        until(lambda: looks.calls > 4)
    finally:
        watched.stop()
    records = [record for record in caplog.records if record.exc_info]
    assert len(records) == 1, "told once, with its traceback"


def test_a_client_is_not_told_what_only_the_operator_can_do() -> None:
    models = Models(["churn"])
    problem = "MLflow does not answer: `make up`, or `evergreen registry adopt churn`; a task is retried"
    models.slots["churn"]._tell("load 3", problem)
    with pytest.raises(HTTPException) as raised:
        State(models, Metrics(models)).serving("churn")
    assert raised.value.status_code == 503
    assert raised.value.detail == "no version of churn serves yet; GET /models/churn says why"
    assert models.slots["churn"].problem == problem, "which does"


def test_a_strangers_name_of_a_model_is_shown_within_bounds() -> None:
    models = Models(["churn"])
    with pytest.raises(HTTPException) as raised:
        State(models, Metrics(models)).slot("chrun\u202e" * 1_000)
    assert raised.value.status_code == 404 and "known: churn" in str(raised.value.detail)
    assert len(str(raised.value.detail)) < 300 and "\u202e" not in str(raised.value.detail)
