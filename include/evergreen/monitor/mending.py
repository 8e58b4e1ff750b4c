"""What a loss costs, and when it can be mended: when the labels will be there that a retraining needs. Pure.

Labels are counted by the training's own rules, those that are there and those that are to come.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from evergreen.history.events import Decided
from evergreen.interval import Interval
from evergreen.monitor import telling, worth
from evergreen.monitor.findings import PERFORMANCE
from evergreen.monitor.rules import Labels
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

_FARTHEST = 200  # intervals ahead that are looked at


def labels(
    spec: ModelSpec, as_of: datetime, changed_at: datetime | None, moments: pd.Series[Any], known_at: pd.Series[Any]
) -> Labels:
    """What a training could use, from after the change where there was one.

    Args:
        moments, known_at: of each label, its prediction's and its own.
    """
    from evergreen.train import rules as training
    from evergreen.train import windows

    parts = training.split(as_of, spec, changed_at)
    learn, evaluate = list(moments[parts.learns(moments, known_at)]), int(parts.evaluates(moments, known_at).sum())
    known_before, wanted = spec.asking.known_before, spec.split.folds
    if changed_at is None:
        alone = training.folds(learn, known_before, wanted)
    else:  # before one of them the backtest could not tell what the rows from after the change are worth
        alone, _ = windows.folds(learn, known_before, wanted, changed_at)
    return Labels(len(learn), evaluate, len(alone))


def earliest(spec: ModelSpec, changed_at: datetime, now: Interval, rows: int) -> Interval | None:
    """The first interval with whose end a retraining has the labels that it needs; None: it is too far away to say.

    Args:
        changed_at: since when the world is different.
        now: the newest interval.
        rows: labels that come of each interval.
    """
    import pandas as pd

    calendar, asking = spec.calendar, spec.asking
    needed = spec.split.minimum_rows, spec.gates.minimum_rows
    # Of requests a moment within the interval; else all are predicted as it ends.
    moment = (lambda each: each.start) if asking.named_by_request else (lambda each: each.end)
    past = calendar.back(now, spec.split.window)
    moments, known_at = [*map(moment, past)], [calendar.later(each.end, spec.label.horizon) for each in past]
    ahead = now
    for _ in range(_FARTHEST):
        ahead = calendar.after(ahead)
        moments.append(moment(ahead))
        known_at.append(calendar.later(ahead.end, spec.label.horizon))
        expected = (pd.Series(pd.DatetimeIndex(each)) for each in (moments, known_at))
        known = labels(spec, ahead.end, changed_at, *expected)
        have = rows * known.learn, rows * known.evaluate
        if known.folds and all(count >= need for count, need in zip(have, needed, strict=True)):
            return ahead
    return None


def began(spec: ModelSpec, cause: str, since: datetime) -> datetime:
    """Since when the world is different at the latest, if a loss began with a window.

    Args:
        cause: of the loss; what was measured is of predictions whose labels matured then.
        since: the window's start.
    """
    if cause != PERFORMANCE:
        return since
    window = spec.calendar.interval_of(since)
    newest = window.start if spec.asking.named_by_request else window.end
    return spec.calendar.earlier(newest, spec.label.horizon)


def told(spec: ModelSpec, decided: Decided, since: datetime | None) -> list[str]:
    """What the loss of a window costs, and when it can be mended, by the numbers that its decision was made from.

    Args:
        since: when the world changed at the latest, if a loss is told; None: none is.
    """
    said = []
    compared, known = decided.evidence.get("compared"), decided.evidence.get("labels")
    if isinstance(compared, Mapping) and isinstance(avoided := compared.get("avoided"), int | float):
        cost = compared.get("cost")
        price = f"is {cost:.3g}" if isinstance(cost, int | float) else "is not known yet"
        said.append(f"a fresh fit would have avoided a loss of {avoided:.3g}; the cost of a retraining {price}")
    performed, predictions = decided.evidence.get("performance"), decided.evidence.get("rows")
    if isinstance(performed, Mapping) and isinstance(predictions, int):
        value = worth.told(worth.recorded(performed.get("worth")), predictions)
        said += [] if value is None else [value]
    now = spec.calendar.interval_of(decided.start)
    needed = {"learn": spec.split.minimum_rows, "evaluate": spec.gates.minimum_rows}
    if decided.changed_at is not None and isinstance(known, Mapping):
        have = {name: number for name in needed if isinstance(number := known.get(name), int)}
        scarcest = min(have, key=lambda name: have[name] / needed[name], default="")
        if scarcest:
            lacking = have[scarcest], needed[scarcest]
            until = telling.forecast(*lacking, decided.changed_at, now, spec.calendar)
            said += [] if until is None else [until]
    elif since is not None and isinstance(rows := decided.evidence.get("rows"), int) and rows:
        day = earliest(spec, since, now, rows)
        when = f"on {day.partition} at the earliest" if day else f"in more than {_FARTHEST} intervals"
        said.append(
            f"if the world is different since {spec.calendar.shown(since)}, the labels that a retraining needs are "
            f"there {when}"
        )
    return said
