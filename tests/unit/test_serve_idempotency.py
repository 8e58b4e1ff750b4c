"""What an `Idempotency-Key` may be, and to which body its answer belongs."""

from __future__ import annotations

import pytest
from starlette.exceptions import HTTPException

from evergreen.serve.idempotency import Answer, Memory, digest, key_of, same


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("k", "k"),
        (" k ", "k"),
        ("x" * 200, "x" * 200),
    ],
)
def test_a_key_may_stand_in_quotes(header: str, key: str) -> None:
    assert key_of(header) == key


@pytest.mark.parametrize("header", ["", '""', '"', "a b", 'a"b', "é", "a\x00", "x" * 201, '"a', "\x7f"])
def test_what_is_no_key_is_refused(header: str) -> None:
    with pytest.raises(HTTPException, match="400: Idempotency-Key: send 1 to 200"):
        key_of(header)


def test_an_answer_belongs_to_its_body() -> None:
    answer = Answer("churn", "k", digest(b"{}"), "id", b"{...}")
    assert same(answer, digest(b"{}")) is answer
    with pytest.raises(HTTPException, match=r"422: .*another body"):
        same(answer, digest(b"{ }"))


def test_a_key_is_worked_on_once_at_a_time_and_in_each_model_apart() -> None:
    memory = Memory()
    memory.begin("churn", "k")
    memory.begin("flight_delay", "k")
    with pytest.raises(HTTPException, match="409") as caught:
        memory.begin("churn", "k")
    assert caught.value.headers == {"Retry-After": "1"}
    memory.end("churn", "k")
    memory.begin("churn", "k")
