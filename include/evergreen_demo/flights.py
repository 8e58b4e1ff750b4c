"""The demo on real data: flights of 2013, day by day.

It passes when the loops ran; whether retraining paid, its report says.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import date

from evergreen_demo import report
from evergreen_demo.driver import Span, telling
from evergreen_flights import upstream

# Look-backs of two weeks fill while the history is backfilled; then a month of live traffic, with
# the storms of late June at its end.
SPAN = Span(first=date(2013, 4, 24), history_end=date(2013, 5, 31), end=date(2013, 6, 30))


def run(span: Span) -> None:
    """Replay the span from an empty home.

    Raises:
        DemoRefused: the home holds something else than a demo.
        RunFailed, TrafficFailed: a run ended red, or a flight was not answered for.
        StoryFailed: no live prediction has an outcome.
    """
    with telling(upstream.MODEL, upstream, span, asdict(span), routine=True) as demo:
        demo.play()
        with demo.clock.phase("comparing with never retraining and with refitting every day"):
            outcome = report.read(demo.spec, span)
        print("\n" + "\n".join(outcome.lines()) + "\n")
