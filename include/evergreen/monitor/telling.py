"""What the owner is told of what is wrong: each cause when it begins, when something about it changes, and when it is
over. Pure: the same findings after the same telling tell the same.

An `incident` and a `loss` are told, in the interval that shows them; so is what came of a retraining (`outcome`), and
why none is made until a person acts (`brake`). Drift stands on the window's page: without loss nobody must act on it. A
cause that a window could not look at, since it had no predictions or no label matured, stands as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from evergreen.calendar import Calendar
from evergreen.handovers.monitor import Action, Finding
from evergreen.history.events import Told
from evergreen.interval import Interval

_FARTHEST = 1000  # intervals ahead that a forecast names
_DOING: Mapping[Action, str] = {
    "none": "nothing is retrained yet",
    "alert": "nothing is retrained yet",  # why, stands in the decision's own words beside it
    "wait for labels": "a retraining waits for labels",
    "retrain": "a retraining",
}
_WORSE = 2.0  # times what was told of last: so much worse is news


def tell(
    found: Iterable[Finding],
    before: Iterable[Told],
    at: datetime,
    *,
    doing: str,
    judged: Callable[[str, str], bool],
) -> tuple[Told, ...]:
    """Every cause that is wrong as of a window, and those that it ends: what of it is news, and what stands.

    Args:
        found: in the window, of all kinds.
        before: what an earlier window told, or this one.
        at: the start of the window.
        doing: what is done about a loss.
        judged: whether the window could look at a cause of a kind.
    """
    wrong = {each.cause: each for each in found if each.kind != "drift"}
    known = {each.cause: each for each in before if each.state != "resolved"}
    told = [_told(each, at, "began", doing) for cause, each in wrong.items() if cause not in known]
    for cause, earlier in known.items():
        if earlier.kind == "outcome" and any(each.kind == "outcome" for each in wrong.values()) and cause not in wrong:
            continue  # of a retraining before the last one: it is no matter any more
        if cause in wrong:
            now = _told(wrong[cause], earlier.since, "changed", doing)
            told.append(now if _is_news(earlier, now) else earlier.model_copy(update={"state": "stands"}))
        else:
            state = "resolved" if judged(earlier.kind, cause) else "stands"
            told.append(earlier.model_copy(update={"state": state}))
    return tuple(sorted(told, key=lambda each: (each.since, each.cause)))


def news(told: Iterable[Told]) -> list[Told]:
    """What nobody has heard of yet."""
    return [each for each in told if each.state != "stands"]


def line(told: Told, calendar: Calendar) -> str:
    """What an owner reads of a cause."""
    if told.kind == "outcome":
        next_step = f"; next step: {told.doing}" if told.doing else ""
        return f"{'changed: ' if told.state == 'changed' else ''}{told.said}{next_step}"
    since = f"since {calendar.shown(told.since)}"
    if told.state == "resolved":
        return f"over: {told.cause} ({since})"
    doing = f"; {'next step' if told.kind == 'brake' else 'what is done'}: {told.doing}" if told.doing else ""
    return f"{'changed: ' if told.state == 'changed' else ''}{told.said} ({since}){doing}"


def forecast(have: int, need: int, since: datetime, now: Interval, calendar: Calendar) -> str | None:
    """When the labels that a retraining needs will be there.

    Args:
        have: matured labels from after the change.
        need: of them.
        since: the change.
        now: the interval of the window, as of whose end they were counted.
        calendar: whose intervals are counted.

    Returns:
        None: they are there.
    """
    if have >= need:
        return None
    share = f"{have / need:.0%} of the labels that a retraining needs are there ({have:,} of {need:,})"
    passed = len(calendar.between(calendar.interval_of(since), now))
    if have == 0:
        return f"{share}; when they will be cannot be said yet"
    left = math.ceil((need - have) * passed / have)
    if left > _FARTHEST:
        return f"{share}; at this rate that takes more than {_FARTHEST:,} intervals"
    day = now
    for _ in range(left):
        day = calendar.after(day)
    return f"{share}; at this rate on {day.partition}"


def doing(action: Action, falls_back: int | None) -> str:
    """What a decision does about a loss.

    Args:
        falls_back: the version that serves instead; None: none.
    """
    meanwhile = "" if falls_back is None else f", and version {falls_back} serves instead until labels judge it"
    return f"{_DOING[action]}{meanwhile}"


def _told(finding: Finding, since: datetime, state: str, doing: str) -> Told:
    by_kind = {"loss": doing, "incident": "nothing is retrained on such data"}
    return Told.model_validate(
        {
            "cause": finding.cause,
            "kind": finding.kind,
            "state": state,
            "since": since,
            "observed": finding.observed,
            "said": finding.said,
            "doing": by_kind.get(finding.kind, finding.next_step),
        }
    )


def _is_news(earlier: Told, now: Told) -> bool:
    """Whether something changed that an owner would want to know: what is done, or that it is so much worse."""
    if (earlier.kind, earlier.doing) != (now.kind, now.doing):
        return True
    return now.kind in ("incident", "loss") and 0 < _WORSE * earlier.observed <= now.observed
