"""What a serving target has of a model, and what it has after a step. Pure: every target does what stands here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from evergreen.errors import StepRefused

Role = Literal["champion", "challenger", "shadow"]


@dataclass(frozen=True)
class Placed:
    """A version on a target.

    Attributes:
        share: per cent of the requests that it answers; of a shadow 0.
    """

    role: Role
    share: int


Serving = Mapping[int, Placed]  # version → its place; at most a champion and one version beside it


def put(now: Serving, version: int, role: Role) -> dict[int, Placed]:
    """What a target has once a version has a role. A champion is alone: so a challenger is promoted, and one that is
    withdrawn is gone when the champion is put again. A version beside the champion takes another one's place there.

    Raises:
        StepRefused: it is to stand beside itself, or beside none.
    """
    if role == "champion":
        return {version: Placed("champion", 100)}
    if (there := now.get(version)) is not None and there.role == role:
        return dict(now)
    champion = champion_of(now)
    if champion is None or champion == version:
        raise StepRefused(
            f"putting version {version} as {role}",
            found="no champion" if champion is None else "it is the champion",
            expected="another version as the champion",
            next_step="put the champion first",
        )
    return {champion: Placed("champion", 100), version: Placed(role, 0)}


def route(now: Serving, weights: Mapping[int, int]) -> dict[int, Placed]:
    """What a target has once requests are dealt out so, in per cent; who is not named gets none.

    Raises:
        StepRefused: they are not 100, below 0, or of a version that answers nobody here.
    """
    answering = {version for version, placed in now.items() if placed.role != "shadow"}
    if sum(weights.values()) != 100 or min(weights.values(), default=0) < 0 or not weights.keys() <= answering:
        raise StepRefused(
            "dealing out requests",
            found=", ".join(f"{share} % to version {version}" for version, share in sorted(weights.items()))
            or "nothing",
            expected=f"100 % in all, to versions {', '.join(map(str, sorted(answering))) or '(none is there)'}",
            next_step="put a version as champion or challenger before it gets requests",
        )
    return {
        version: placed if placed.role == "shadow" else Placed(placed.role, weights.get(version, 0))
        for version, placed in now.items()
    }


def champion_of(serving: Serving) -> int | None:
    """The version that is the champion."""
    return next((version for version, placed in serving.items() if placed.role == "champion"), None)


def beside(serving: Serving) -> int | None:
    """The version that stands beside the champion."""
    return next((version for version, placed in serving.items() if placed.role != "champion"), None)


def named(version: int, role: Role) -> str:
    """How a version in its role is called where a target knows nothing but names: `champion-v3`."""
    return f"{role}-v{version}"


def of_name(name: str) -> tuple[int, Role] | None:
    """The version and the role of a name that `named` made; None of any other."""
    for role in get_args(Role):
        number = name.removeprefix(f"{role}-v")
        if number != name and number.isdigit():
            return int(number), role
    return None
