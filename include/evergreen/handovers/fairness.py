"""What both loops say of fairness."""

from __future__ import annotations

from collections.abc import Mapping

from evergreen.handovers.handover import Part


class Fair(Part):
    """How alike the groups of a protected attribute are decided on."""

    attribute: str
    """A feature, or an expression."""
    shares: Mapping[str, float]
    """group → share of its rows that are answered with a yes."""
    rows: Mapping[str, int]
    """group → how many rows it has."""
    numbers: Mapping[str, tuple[float | None, float | None, float | None]]
    """`demographic_parity`, `equalised_odds` and `disparate_impact` → value, lower and upper end of its 95 %
    interval; without equalised odds where no label is known."""
