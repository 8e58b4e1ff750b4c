"""All pages of a window: its own, and Evidently's reports behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evergreen.handovers.monitor import Collected, Compared, Decided, Drift, Performance, Quality, Reported
from evergreen.history import ledger, story
from evergreen.monitor import drift_report, evidence, window_page, windows
from evergreen.monitor.window_page import Shown, Weighed
from evergreen.run import Run
from evergreen.spec.schema import ModelSpec

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
    drift = None if drifted is None else drift_report.write(spec, key, *drifted, _bounds(spec, found[2]))
    performance = None if scored is None else drift_report.write_performance(spec, key, scored)
    behind = {"drift": drift, "performance": performance}
    shown = Shown(
        *found,
        decision,
        story.decisions(ledger.windows(spec.model, window_page.WINDOWS, before=run.interval.end)),
        _weighed(run, compared.table_version),
        evidence.rule(spec),
        [kind for kind, page in behind.items() if page is not None],
    )
    return Reported(page=window_page.write(run, shown), drift=drift, performance=performance)


def _bounds(spec: ModelSpec, drift: Drift) -> dict[str, float]:
    """Column → the greatest distance that is normal."""
    predicted = {} if drift.prediction_bound is None else dict.fromkeys(spec.problem.outputs, drift.prediction_bound)
    return {**drift.bounds, **predicted}


def _weighed(run: Run, version: int | None) -> list[Weighed]:
    """The windows that could be compared with what was known at the run's moment, and the evidence as of each."""
    spec = run.spec
    return [
        Weighed(spec.calendar.interval_of(each.start).partition, each.window, each.evidence)
        for each in evidence.told(spec, windows.known(run, version), ledger.incidents(spec.model))
    ]
