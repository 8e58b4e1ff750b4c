"""The page of a trial: its gates, its candidates, its refit, and which features helped.

`<reports>/<model>/gates/<key>.html`; a rerun replaces it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from evergreen.evaluate import rules
from evergreen.handovers.gate import Gate
from evergreen.handovers.train import Evaluated, Refit, SoundTrainingSet
from evergreen.onboarding.helping import Help
from evergreen.reports.pages import publish, render, style
from evergreen.reports.policy import policy
from evergreen.run import Run
from evergreen.settings import settings

_BADGES = {"pass": "passed", "fail": "broken", "no evidence": "warnings"}


def write(
    run: Run,
    data: SoundTrainingSet,
    evaluated: Evaluated,
    gates: Sequence[Gate],
    refit: Refit | None,
    helps: Sequence[Help],
    notes: Sequence[str],
) -> Path:
    """Write the page, whole or not at all; returns its file.

    Args:
        refit: None: the spec asks for none, or nothing passed.
        notes: what a reader must know beside.
    """
    checked, names = list(gates), run.spec.problem.metrics
    verdict = rules.verdict(checked)
    baseline = {
        "family": f"baseline: {evaluated.baseline_is}",
        "search": "",
        "scores": [_number(evaluated.baseline.get(name)) for name in names],
    }
    page = render(
        Path(__file__).with_name("gate_report.html"),
        model=run.spec.model,
        key=run.interval.partition,
        as_of=run.spec.calendar.shown(run.as_of),
        verdict=verdict,
        badge=_BADGES[verdict],
        reason=rules.reason(checked),
        notes=list(notes),
        gates=list(map(_row, checked)),
        refit=None
        if refit is None
        else {
            "reason": refit.reason,
            "rows": f"{refit.rows:,} rows",
            "until": run.spec.calendar.shown(refit.learned_to),
            "checks": list(map(_row, refit.checks)),
        },
        learned=f"{data.learn.rows:,} rows",
        evaluated=f"{data.evaluate.rows:,} rows",
        metric=evaluated.metric,
        metrics=list(names),
        candidates=[
            *(
                {
                    "family": each.family,
                    "search": _number(each.search_score),
                    "scores": [_number(each.scores.get(name)) for name in names],
                }
                for each in evaluated.candidates
            ),
            baseline,
        ],
        helps=[
            {
                "feature": each.feature,
                "of": each.of,
                "gain": f"{each.gain:+.4g}",
                "interval": f"{each.low:+.4g} to {each.high:+.4g}",
                "verdict": each.verdict,
            }
            for each in helps
        ],
        style=Markup(style()),
        policy=policy(style=style()),
    )
    below = f"{run.spec.model}/gates/{run.interval.partition}.html"
    publish(below, page)
    return settings().reports / below


def _row(gate: Gate) -> dict[str, str]:
    return {
        "name": gate.name,
        "observed": _number(gate.observed),
        "interval": gate.interval,
        "bound": _number(gate.bound),
        "verdict": gate.verdict,
        "badge": _BADGES[gate.verdict],
        "reason": gate.reason,
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")
