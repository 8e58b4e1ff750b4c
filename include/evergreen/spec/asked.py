"""What the reading of folders asks of the file system: what was read holds for as long as every answer is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar, TypeVarTuple

About = TypeVarTuple("About")
T = TypeVar("T")


@dataclass
class Asked:
    """Questions and what came of them: an answer, or an error."""

    _answers: list[tuple[Callable[..., Any], tuple[Any, ...], object]] = field(default_factory=list)

    def add(self, question: Callable[..., Any], about: tuple[Any, ...], answer: object) -> None:
        self._answers.append((question, about, answer))

    def still_true(self) -> bool:
        """Whether all of them are answered as before, now."""
        return all(_answer(question, about) == answer for question, about, answer in self._answers)


_listening: ContextVar[Asked | None] = ContextVar("_listening", default=None)


def noted(question: Callable[[*About], T]) -> Callable[[*About], T]:
    """A question to the file system: what it returns, or raises, depends on its arguments and on files alone."""

    @wraps(question)
    def ask(*about: *About) -> T:
        if (asked := _listening.get()) is None:
            return question(*about)
        try:
            answer = question(*about)
        except Exception as error:
            asked.add(question, about, _as_answer(error))
            raise
        asked.add(question, about, answer)
        return answer

    return ask


@contextmanager
def asking() -> Iterator[Asked]:
    """What is asked within the block."""
    token = _listening.set(asked := Asked())
    try:
        yield asked
    finally:
        _listening.reset(token)


def _answer(question: Callable[..., Any], about: tuple[Any, ...]) -> object:
    try:
        return question(*about)
    except Exception as error:  # noqa: BLE001 - an error is an answer like others: compared, and never hidden
        return _as_answer(error)


def _as_answer(error: Exception) -> object:
    return type(error), str(error)
