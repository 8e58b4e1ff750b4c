"""Who may come near: the rights of what is written, and what must be true before a
server listens where others reach it."""

from __future__ import annotations

from collections.abc import Mapping

from evergreen.errors import PermanentError

UMASK = 0o077  # of every process of the stack and every command: what they write is read by its owner alone
SHORTEST, FEWEST = 16, 8  # characters of a password, and different ones among them


def weak(secrets: Mapping[str, str]) -> list[str]:
    """The settings whose secret is not set, or one that somebody may guess."""
    return [name for name, value in secrets.items() if len(value) < SHORTEST or len(set(value)) < FEWEST]


def check(where: str, secrets: Mapping[str, str]) -> None:
    """Nothing, when every secret is one that nobody guesses.

    Args:
        where: what listens, for the message.
        secrets: by the setting that holds each.

    Raises:
        PermanentError: with the settings to correct, and never a value.
    """
    if unsafe := weak(secrets):
        raise PermanentError(
            f"starting {where}, where other machines reach it",
            found="; ".join(f"{name} is {'a default or too weak' if secrets[name] else 'not set'}" for name in unsafe),
            expected=f"secrets of {SHORTEST} characters or more, with {FEWEST} different ones at least",
            next_step="set them (`openssl rand -hex 24` makes one), or listen on 127.0.0.1 alone",
        )
