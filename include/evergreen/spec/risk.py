"""`risk` of `model.yaml`: what a wrong version may do, and who must allow a new one."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from evergreen.interval import DAY
from evergreen.spec.durations import Duration
from evergreen.spec.partial import Declared

MOST_APPROVERS = 20
MOST_MITIGATIONS = 20
Tier = Literal["low", "medium", "high"]
Sentence = Annotated[str, Field(min_length=1, max_length=1000)]
Person = Annotated[str, Field(pattern=r"^[\w][\w.@+-]{0,99}$")]


class Risk(Declared):
    """What harm a wrong version may do. By its tier a person allows a new version, or nobody is asked."""

    tier: Tier = Field(
        description=(
            "low: nobody is asked; high: a version that passed its gates waits for a person; medium: it waits where "
            "anything warns (the training set's contract, a gate whose interval reaches beyond its bound)"
        )
    )
    impact: Sentence = Field(description="whom a wrong version harms, and how")
    mitigations: tuple[Sentence, ...] = Field(
        default=(), max_length=MOST_MITIGATIONS, description="what is done about that"
    )
    approvers: tuple[Person, ...] = Field(
        default=(),
        max_length=MOST_APPROVERS,
        description="who may allow a version: ids of Airflow's users; with `evergreen run` the names that it is told",
    )
    within: Duration = Field(
        default=DAY,
        json_schema_extra={"default": "1d"},
        description="how long a version waits for its approval; then it is rejected",
    )

    @property
    def asks(self) -> bool:
        """Whether a person may be asked at all."""
        return self.tier != "low"

    def why_asked(self, warnings: Collection[str]) -> str:
        """Why a person must allow a version that passed its gates; empty: nobody need."""
        if self.tier == "medium" and warnings:
            return f"its tier is medium, and {len(warnings)} thing(s) warn"
        return "its tier is high" if self.tier == "high" else ""

    @property
    def waits(self) -> timedelta:
        """How long a training may wait for a person."""
        return self.within if self.asks else timedelta()
