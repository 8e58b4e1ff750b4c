"""What cannot wait for a test: a version beside the champion that fails, or is much slower, is withdrawn at once. Pure.

These bounds are wide, and looked at after every answer: they are for what is broken. What is a little worse is told by
`sequential`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

FAILURES = 5  # at least, before anything is said
FAILED_SHARE = 0.05  # of the requests that a version was asked, and
FAILED_TIMES = 3.0  # so many times the champion's share
SLOW_ANSWERS = 20  # of each, at least
SLOW_QUANTILE = 0.9
SLOW_TIMES = 5.0  # the champion's, and
SLOW_SECONDS = 0.05  # so much more


@dataclass(frozen=True)
class Seen:
    """What was seen of one of the two versions within the last minute or so."""

    asked: int = 0  # requests
    failed: int = 0  # of them
    seconds: Sequence[float] = field(default=())  # that each answer took, as its client waited for it


def withdraws(champion: Seen, version: Seen) -> str | None:
    """Why the version is withdrawn at once; None: it goes on."""
    share = version.failed / max(1, version.asked)
    others = champion.failed / max(1, champion.asked)
    if version.failed >= FAILURES and share >= FAILED_SHARE and share > FAILED_TIMES * others:
        usually = f"the champion in {champion.failed} of {champion.asked}"
        return f"it failed in {version.failed} of {version.asked} requests, {usually}"
    if min(len(champion.seconds), len(version.seconds)) >= SLOW_ANSWERS:
        slow, usual = _quantile(version.seconds), _quantile(champion.seconds)
        if slow > SLOW_TIMES * usual and slow > usual + SLOW_SECONDS:
            tenth = f"{1 - SLOW_QUANTILE:.0%} of its answers took"
            return f"{tenth} {slow * 1000:.0f} ms and more, the champion's {usual * 1000:.0f} ms"
    return None


def _quantile(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(SLOW_QUANTILE * (len(seconds) - 1))]
