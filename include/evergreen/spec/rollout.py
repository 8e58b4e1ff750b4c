"""How requests move to a version that passed its gates: one of four strategies."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from evergreen.interval import DAY
from evergreen.spec.durations import Duration
from evergreen.spec.partial import Declared

MOST_STEPS = 10

Share = Annotated[int, Field(ge=1, le=99)]  # per cent of the entities


def _growing(shares: tuple[int, ...]) -> tuple[int, ...]:
    if list(shares) != sorted(set(shares)):
        raise ValueError("shares that grow, such as [5, 25, 50]")
    return shares


class _Watched(Declared):
    """What bounds every rollout in steps. Durations are of the data's time, so that history can be replayed."""

    strategy: str
    hold: Duration = Field(
        default=DAY, json_schema_extra={"default": "1d"}, description="how long each step lasts at least"
    )
    minimum_answers: Annotated[int, Field(ge=1)] = Field(
        default=1000, description="fewest answers of the new version in each step"
    )
    at_most: Duration = Field(
        default=30 * DAY,
        json_schema_extra={"default": "30d"},
        description="how long the rollout may be open; then it is rejected for want of evidence",
    )


class DirectRollout(Declared):
    """All requests at once."""

    strategy: Literal["direct"] = Field(default="direct", description="direct: all requests at once")


class ShadowRollout(_Watched):
    """The new version is asked beside the champion, and answers nobody; then all requests at once."""

    strategy: Literal["shadow"] = Field(description="shadow: first asked beside the champion, without answering")


class CanaryRollout(_Watched):
    """A growing share of the entities is answered by the new version, while it does no worse than the champion."""

    strategy: Literal["canary"] = Field(description="canary: a growing share of the entities")
    shadow: bool = Field(default=True, description="whether it begins as a shadow")
    shares: Annotated[tuple[Share, ...], AfterValidator(_growing)] = Field(
        default=(5, 25, 50),
        min_length=1,
        max_length=MOST_STEPS,
        description="per cent of the entities that the new version answers, step by step; then all",
    )


class ABRollout(_Watched):
    """A fixed share of the entities is answered by the new version until it is better by outcomes; then all."""

    strategy: Literal["ab"] = Field(
        description="ab: a fixed share of the entities, until outcomes tell which is better"
    )
    share: Share = Field(default=50, description="per cent of the entities that the new version answers")


def _strategy(given: Any) -> Any:
    """Which one is meant; direct where nothing is said."""
    if isinstance(given, dict):
        return given.get("strategy", "direct")
    return getattr(given, "strategy", "direct")


Rollout = Annotated[
    Annotated[DirectRollout, Tag("direct")]
    | Annotated[ShadowRollout, Tag("shadow")]
    | Annotated[CanaryRollout, Tag("canary")]
    | Annotated[ABRollout, Tag("ab")],
    Discriminator(_strategy),
]
