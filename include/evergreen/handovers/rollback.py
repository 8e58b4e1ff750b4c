"""What the rollback hands over."""

from __future__ import annotations

from typing import ClassVar

from evergreen.handovers.handover import Handover


class RolledBack(Handover):
    """The last known good version serves again."""

    left: int
    """The version that serves no longer."""
    version: int
    """The one that serves."""
    message: str
    """What was done, in one line."""
    carried: ClassVar = ("version", "left")
