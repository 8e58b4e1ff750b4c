"""What is done while labels are open, where the champion is likely to be clearly worse than what else could answer.
Pure.

Nothing but an estimate says so, and an estimate is blind to a changed relation of inputs and outcome. So the owner
decides whether it may act (`monitoring.while_waiting`); it acts once for each version that it could fall back to, and
labels alone undo it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evergreen.handovers.monitor import Rival
from evergreen.spec.schema import ModelSpec


@dataclass(frozen=True)
class Good:
    """The last known good version beside the champion.

    Attributes:
        version: its number.
        tried: the monitor fell back to it before.
    """

    version: int
    tried: bool


def fall_back(
    spec: ModelSpec, champion: int | None, rivals: Sequence[Rival], good: Good | None
) -> tuple[int | None, str]:
    """The version that serves instead of the champion, None: the champion goes on; and why, empty where there is
    nothing to say.

    Args:
        rivals: what else could answer, of a window whose data can be trusted.
    """
    if spec.monitoring.while_waiting != "fall_back" or not any(rival.better for rival in rivals):
        return None, ""
    if good is None:
        return None, "no earlier version is known good: nothing to fall back to"
    if good.tried:
        return None, f"the monitor fell back to version {good.version} before, and labels decided since: not again"
    own = next((rival for rival in rivals if rival.version == good.version), None)
    if own is None or own.gain <= 0:
        return None, f"version {good.version}, the last known good one, is not likely to be better: no fall back"
    return good.version, f"version {good.version} serves instead of version {champion} until labels judge it"
