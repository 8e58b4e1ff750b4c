"""A gate, as it was decided and as people read it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeGuard

Verdict = Literal["pass", "fail", "no evidence"]


@dataclass(frozen=True)
class Gate:
    """One check of a candidate."""

    name: str
    """What is checked."""
    observed: float | None
    """The observed value; None: it is no number, or there is none."""
    bound: float | None
    """The bound that it must meet; None: it is no number."""
    verdict: Verdict
    """Whether it holds."""
    reason: str
    """The reason, in one line."""
    low: float | None = None
    """The lower end of the observed value's interval; None: it has none."""
    high: float | None = None
    """Its upper end."""
    rows: int | None = None
    """Of a comparison with the champion, how many rows there were."""
    enough: int | None = None
    """So many rows would tell a gain of the margin; None: nothing says it."""

    @property
    def interval(self) -> str:
        """The interval of what was observed; empty where it has none."""
        return between(self.low, self.high)

    @property
    def doubt(self) -> str:
        """What warns although it passes: its interval reaches beyond the bound, so chance alone may have let it; empty:
        nothing does."""
        low, bound, high = self.low, self.bound, self.high
        if self.verdict != "pass" or not (known(low) and known(bound) and known(high) and low < bound < high):
            return ""
        return f"{self.name}: passes, and its interval {self.interval} reaches beyond the bound {number(self.bound)}"


def number(value: float | None) -> str:
    """A number as gates show it; nothing where there is none."""
    return "" if value is None else f"{round(value, 4) + 0.0:.4f}".rstrip("0").rstrip(".")  # and no -0


def between(low: float | None, high: float | None) -> str:
    """An interval as gates show it; nothing where an end is not known."""
    return f"{number(low)} to {number(high)}" if known(low) and known(high) else ""


def known(value: float | None) -> TypeGuard[float]:
    """Whether it is a number, and finite."""
    return value is not None and math.isfinite(value)


def doubts(gates: Iterable[Gate]) -> tuple[str, ...]:
    """What warns of gates that pass."""
    return tuple(gate.doubt for gate in gates if gate.doubt)


def failures(gates: Iterable[Gate]) -> str:
    """What does not pass, in one line; empty: all do."""
    return "; ".join(f"{gate.name}: {gate.reason}" for gate in gates if gate.verdict != "pass")
