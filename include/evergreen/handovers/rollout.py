"""What travels through the loop of a rollout, in the order in which it is made."""

from __future__ import annotations

from typing import ClassVar, Literal

from evergreen.handovers.handover import Handover, Part, Staged

Act = Literal["observe", "pause", "resume", "advance", "roll_back"]
Verdict = Literal["worse", "undecided", "not worse", "better"]


class Gathered(Handover):
    """What was answered while a rollout is open; of a person's act, what it is about."""

    rollout: str
    """The rollout, by its id in the ledger."""
    step: int
    """Its step, from 0."""
    act: Act
    """What is to be done: `observe`, or what a person wants."""
    answers: Staged | None
    """Answers and failures of both versions since it was opened, without features; None: a person's act needs none."""
    before: Staged | None
    """The champion's newest answers before it; None: the same."""
    labels_version: int | None
    """Version of the table of labels; None: there are none yet, or none are needed."""


class Measured(Part):
    """Both versions by one measure."""

    measure: str
    """Its name."""
    verdict: Verdict
    """`not worse`: not by what matters."""
    difference: float | None
    """The version's mean score less the champion's, from 0 to 1, more is worse; None: nothing to compare yet."""
    low: float | None
    """It is at least that; None: not bounded yet."""
    high: float | None
    """It is at most that; None: not bounded yet."""
    champion_rows: int
    """Rows of the champion."""
    version_rows: int
    """Rows of the version."""
    moved: bool
    """A shadow's answers lie elsewhere, and outcomes do not tell yet whether that is good."""


class Looked(Handover):
    """How the version beside the champion does, by all that was seen of it."""

    rollout: str
    """The rollout."""
    step: int
    """Its step."""
    act: Act
    """As it was given."""
    answers: int
    """Answers of the version in the step."""
    verdict: Verdict
    """Of all measures together."""
    measured: tuple[Measured, ...]
    """Each measure; none of a person's act."""


class Moved(Handover):
    """What was done with a rollout."""

    rollout: str
    """The rollout."""
    version: int
    """The version that is rolled out."""
    kind: Literal["advance", "promote", "roll back", "reject", "pause", "resume"]
    """What was done."""
    reason: str
    """Why."""
    role: str | None
    """What the version is for now: `shadow`, `challenger`, `champion`; None: it is withdrawn."""
    share: int | None
    """Per cent of the entities that it answers beside the champion; None: it is not beside it."""
    warnings: tuple[str, ...]
    """What is said of each replica that does not follow yet."""
    carried: ClassVar = ("rollout", "version", "kind", "role", "share")
