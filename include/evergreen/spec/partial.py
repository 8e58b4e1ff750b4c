"""As much of a declaration as can be read in spite of its mistakes, so that all of them are told at once.

A key that is missing or misshapen is not set. Reading it raises `NotStated`, and nothing else does: a misspelt
attribute of ours is an AttributeError, which nobody catches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict


class NotStated(Exception):
    """A key is read that the declaration does not have, or has misshapen."""


class Declared(BaseModel):
    """What a file declares. Frozen, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def written_out(cls, given: Any) -> Any:
        """What a file gives, as a mapping, where something shorter may stand for it."""
        return given

    if not TYPE_CHECKING:  # to the type checker every key is there

        def __getattr__(self, name: str) -> Any:
            if name in type(self).model_fields:
                raise NotStated(f"{type(self).__name__} without {name}")
            return super().__getattr__(name)


def unsaid(default: object) -> Callable[[object], bool]:
    """`exclude_if` of a key that came later, with its default: a declaration that does not use it has the words, and
    the hash, that it had before there was the key."""
    return lambda value: value == default


def stated_or(declared: Declared, key: str, otherwise: Any) -> Any:
    """What is declared under a key; `otherwise` where nothing is."""
    assert key in type(declared).model_fields, f"{type(declared).__name__} knows no {key}"
    return declared.__dict__.get(key, otherwise)
