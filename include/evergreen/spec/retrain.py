"""When the monitor retrains: how much evidence of avoidable loss it needs, and what a retraining costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field

from evergreen.spec.durations import Duration
from evergreen.spec.partial import Declared

Preset = Literal["cautious", "balanced", "eager"]
PRESETS: tuple[Preset, ...] = get_args(Preset)
_EVIDENCE: Mapping[str, float] = {"cautious": 6.0, "balanced": 4.0, "eager": 2.5}
_SHARES: Mapping[str, float] = {"cautious": 0.7, "balanced": 0.35, "eager": 0.15}


class Retrain(Declared):
    """When the monitor retrains: when fresh fits of the champion's recipe lose less than it, by more than noise, and
    what that avoids has paid for a retraining."""

    preset: Preset = Field(default="balanced", description="what the keys below are that are null")
    evidence: Annotated[float, Field(gt=2.0)] | None = Field(
        default=None,
        description=(
            "deviations, added up over windows, from which on a loss is believed; one window counts 2 at most. Null: "
            + ", ".join(f"{bound:g} {preset}" for preset, bound in _EVIDENCE.items())
        ),
    )
    cost: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description=(
            "what a retraining costs, in loss per row times intervals. Null: 0.7 (cautious), 0.35 (balanced) or 0.15 "
            "(eager) of what the first champion lost on its first windows"
        ),
    )
    understudy_every: Annotated[int, Field(ge=1, le=100)] = Field(
        default=1, description="intervals from one fresh fit of the champion's recipe to the next"
    )
    at_latest: Duration | None = Field(
        default=None,
        description="retrain in any case when the champion knows nothing newer than so long ago; null: never for that",
    )

    @property
    def bound(self) -> float:
        """Of the evidence that adds up quickly."""
        return self.evidence if self.evidence is not None else _EVIDENCE[self.preset]

    @property
    def slow(self) -> float:
        """Of the evidence that adds up slowly: without any change one champion in so many reaches it."""
        return 5 * self.bound

    @property
    def share(self) -> float:
        """What a retraining costs, in the first champion's loss."""
        return _SHARES[self.preset]
