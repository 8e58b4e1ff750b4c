"""How a model stands by its monitor now: what is open and since when, the evidence for a retraining against its bounds,
and when a loss can be mended. By the ledger alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from evergreen.history import ledger, story
from evergreen.history.events import Decided, Told
from evergreen.monitor import mending, telling
from evergreen.quoting import visible
from evergreen.spec.schema import ModelSpec


@dataclass(frozen=True)
class Watched:
    """What the newest window left.

    Attributes:
        decided: the decision about it.
        open: what is wrong, what came of the last retraining, and why none is made; as the owner heard of it last.
    """

    spec: ModelSpec
    decided: Decided
    open: tuple[Told, ...]

    @property
    def partition(self) -> str:
        """The window's."""
        return self.spec.calendar.interval_of(self.decided.start).partition

    @property
    def mending(self) -> list[str]:
        """What a loss costs, and when the labels that a retraining needs will be there."""
        lost = [mending.began(self.spec, each.cause, each.since) for each in self.open if each.kind == "loss"]
        return mending.told(self.spec, self.decided, min(lost, default=None))

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"  decided      {self.partition}: {self.decided.action}"
        for each in self.open:
            standing = each.model_copy(update={"state": "stands"})
            yield f"  {each.kind:<11}  {visible(telling.line(standing, self.spec.calendar))}"
        if text := self._evidence():
            yield f"  evidence     {text}"
        for each_line in self.mending:
            yield f"  {'':<11}  {each_line}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        retrain = self.spec.monitoring.retrain
        return {
            "window": self.partition,
            "action": self.decided.action,
            "open": [each.model_dump(mode="json", exclude={"state"}) for each in self.open],
            "evidence": self._compared,
            "bounds": {"fast": retrain.bound, "slow": retrain.slow},
            "mending": self.mending,
        }

    @property
    def _compared(self) -> Mapping[str, Any]:
        compared = self.decided.evidence.get("compared")
        return compared if isinstance(compared, Mapping) else {}

    def _evidence(self) -> str:
        numbers, retrain = self._compared, self.spec.monitoring.retrain
        if not isinstance(fast := numbers.get("fast"), int | float):
            return ""
        return (
            f"{fast:.1f} of {retrain.bound:g}, or {numbers.get('slow', 0.0):.1f} of {retrain.slow:g} (slow), that a "
            f"fresh fit would do better, from {numbers.get('windows', 0)} windows"
        )


def of(spec: ModelSpec, now: datetime) -> Watched | None:
    """How a model stands; None: no window of it was decided yet."""
    newest = story.decisions(ledger.windows(spec.model, 1))
    if not newest:
        return None
    told = ledger.told(spec.model, now)
    still = () if told is None else tuple(each for each in told.told if each.state != "resolved")
    return Watched(spec, newest[-1], still)
