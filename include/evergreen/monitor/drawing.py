"""All pages of a window: its own, and Evidently's reports behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evergreen.handovers.monitor import Collected, Compared, Decided, Drift, Performance, Quality, Reported
from evergreen.history import ledger, story
from evergreen.monitor import drift_report, paired, window_page, windows
from evergreen.monitor.window_page import Shown, Weighed
from evergreen.run import Run

if TYPE_CHECKING:
    import pandas as pd


def draw(
    run: Run,
    found: tuple[Collected, Quality, Drift, Performance],
    compared: Compared,
    decision: Decided,
    drifted: tuple[pd.DataFrame, pd.DataFrame] | None,
    scored: pd.DataFrame | None,
) -> Reported:
    """Draw what there is to draw, each page whole or not at all.

    Args:
        found: what the tasks before the decision handed over.
        drifted: the window and its reference, as `drift_report.write` takes them; None: nothing to compare.
        compared: of which version the windows' rows are read.
        scored: predictions whose labels have matured, with their `label`; None: there are none that can be scored.
    """
    spec, key = run.spec, found[0].partition
    drift = None if drifted is None else drift_report.write(spec, key, *drifted)
    performance = None if scored is None else drift_report.write_performance(spec, key, scored)
    behind = {"drift": drift, "performance": performance}
    rule = _rule(run)
    shown = Shown(
        *found,
        decision,
        story.decisions(ledger.windows(spec.model, window_page.WINDOWS, before=run.interval.end)),
        _weighed(run, rule, compared.table_version),
        rule,
        [kind for kind, page in behind.items() if page is not None],
    )
    return Reported(page=window_page.write(run, shown), drift=drift, performance=performance)


def _rule(run: Run) -> paired.Rule:
    spec, calendar = run.spec, run.spec.calendar
    waited = calendar.between(run.interval, calendar.interval_of(calendar.later(run.as_of, spec.asking.label_delay)))
    return paired.Rule(window=len(calendar.back(run.interval, spec.split.window)), delay=len(waited) - 1)


def _weighed(run: Run, rule: paired.Rule, version: int | None) -> list[Weighed]:
    """The windows that could be compared with what was known at the run's moment, and the evidence as of each."""
    spec = run.spec
    rows = [row for row in windows.read(spec, version).values() if row.known_at <= run.as_of]
    pairs = [
        (
            spec.calendar.interval_of(row.window).partition,
            paired.Window(
                row.version, row.rows / (row.usual or row.rows), row.champion, row.understudy, row.earlier, row.apart
            ),
        )
        for row in rows
        if row.champion is not None and row.understudy is not None
    ]
    told = paired.weigh([window for _, window in pairs], rule)
    return [Weighed(key, window, evidence) for (key, window), evidence in zip(pairs, told, strict=True)]
