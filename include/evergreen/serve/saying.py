"""What is wrong with what serves of a model, in words."""

from __future__ import annotations

from evergreen.errors import EvergreenError, ModelUnloadable
from evergreen.history.story import Standing


def unfinished(standing: Standing) -> str | None:
    """What somebody began, recorded, and did not end."""
    intent = standing.pending
    if intent is None:
        return None
    way_out = (
        "run it again"
        if intent.purpose == "rollback"
        else (
            f"clear `deploy` of that run to go on, or give it up by"
            f" `evergreen retire {intent.model} {intent.version} --reason …`"
        )
    )
    return f"{intent.actor} began a {intent.purpose} to version {intent.version}, and did not end it: {way_out}"


def in_full(error: Exception) -> str:
    """An error in a line, with what is to be done."""
    if not isinstance(error, EvergreenError):
        return f"{type(error).__name__}: {error}"
    return f"{error.doing}: found {error.found}; expected {error.expected}. {error.next_step}"


def ours(model: str, number: int, error: Exception) -> EvergreenError:
    """An error of loading a version, as one of Evergreen's."""
    if isinstance(error, EvergreenError):
        return error
    return ModelUnloadable(
        f"loading version {number} of {model}",
        found=f"{type(error).__name__}: {error}",
        expected="a version that loads",
        next_step="see the server's log",
    )
