"""What answers were worth to the owner, beside what held-out rows were worth, and how it is told. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from evergreen.handovers.handover import finite
from evergreen.handovers.monitor import Worth
from evergreen.spec.business_value import PER

if TYPE_CHECKING:
    from evergreen.model.intervals import Spread


def beside(currency: str, now: Spread, usual: Spread | None, rows: int) -> Worth:
    """What answers were worth, beside what the version was worth on held-out rows.

    Args:
        now: of 1,000 answers.
        usual: of as many held-out rows; None: their labels are not known.
        rows: how many answers it is by.
    """
    made = Worth(
        currency=currency,
        value=now.value,
        low=finite(now.low()),
        high=finite(now.high()),
        rows=rows,
    )
    if usual is None:
        return made
    lost = usual.value - now.value
    chance = now.quantile() * math.hypot(now.error, usual.error)
    fields = {"usual": finite(usual.value), "lost": finite(lost)}
    return made.model_copy(update=fields | {"lost_low": finite(lost - chance), "lost_high": finite(lost + chance)})


def recorded(said: Any) -> Worth | None:
    """What the evidence of a decision keeps of it; None: nothing, or in the words of another release."""
    try:
        return None if said is None else Worth.model_validate(said)
    except ValidationError:
        return None


def together(windows: Sequence[Worth]) -> Worth | None:
    """What the answers of several windows were worth, each counted by its matured rows; None: there are none.

    What chance makes of one window is taken to say nothing of another. Values in another currency than the last one's
    are left out.
    """
    same = [each for each in windows if each.currency == windows[-1].currency and each.rows]
    if not same:
        return None
    rows = sum(each.rows for each in same)
    value = sum(each.value * each.rows for each in same) / rows
    low = high = None
    if all(each.low is not None for each in same):
        half = math.hypot(*((each.value - (each.low or 0.0)) * each.rows for each in same)) / rows
        low, high = value - half, value + half
    return Worth(currency=same[-1].currency, value=value, low=low, high=high, rows=rows)


def line(worth: Worth | None) -> str:
    """In a table."""
    return "" if worth is None else f"{amount(worth.value)} {worth.currency}{_bracketed(worth.low, worth.high)}"


def told(worth: Worth | None, predictions: int) -> str | None:
    """What a window's answers are worth, in a sentence; None: nothing is known of it.

    Args:
        predictions: of the interval.
    """
    if worth is None:
        return None
    sentence = (
        f"{PER:,} predictions are worth {amount(worth.value)} {worth.currency}{_bracketed(worth.low, worth.high)}, "
        f"by {worth.rows:,} matured rows"
    )
    if worth.lost is None or worth.usual is None:
        return sentence
    than = "less" if worth.lost > 0 else "more"
    ends = [None if each is None else math.copysign(1, worth.lost) * each for each in (worth.lost_low, worth.lost_high)]
    low, high = ends if worth.lost > 0 else ends[::-1]
    window = amount(of_window(abs(worth.lost), predictions))
    return (
        f"{sentence}: {amount(abs(worth.lost))} {worth.currency} {than} than at evaluation{_bracketed(low, high)}, "
        f"some {window} {worth.currency} for the interval's {predictions:,} predictions"
    )


def of_window(value: float, predictions: int) -> float:
    """What so many predictions are worth.

    Args:
        value: of 1,000.
    """
    return value * predictions / PER


def amount(value: float) -> str:
    """Money as a person reads it."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.4g}"


def between(low: float | None, high: float | None) -> str:
    """The ends of an interval; empty where they are not known."""
    return "" if low is None or high is None else f"{amount(low)} to {amount(high)}"


def _bracketed(low: float | None, high: float | None) -> str:
    ends = between(low, high)
    return f" ({ends})" if ends else ""
