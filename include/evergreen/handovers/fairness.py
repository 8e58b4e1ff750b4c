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
    interval; without equalised odds where no label is known, and null where a group lacks an outcome."""
    left_out: int = 0
    """How many rows are of no group, or of one that is not compared: it is too small, or beyond the largest. They are
    counted and not named: a group of a few rows may be a person."""

    @property
    def answered(self) -> str:
        """To how many of each group a yes is answered, and how many rows are not compared, in words."""
        told = ", ".join(f"{name} {share:.1%} of {self.rows[name]:,}" for name, share in self.shares.items())
        return told + (f"; {self.left_out:,} rows are of no group that is compared" if self.left_out else "")


def named(number: str, attribute: str) -> str:
    """A number of an attribute, as gates and findings name it."""
    return f"{number.replace('_', ' ')} of {attribute}"
