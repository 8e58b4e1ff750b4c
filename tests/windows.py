"""A window with all that its page shows: a champion that gets worse, and one that took over from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from evergreen.handovers.monitor import Collected, Decided, Drift, Performance, Quality
from evergreen.history.events import Decided as Recorded
from evergreen.monitor import findings
from evergreen.monitor.paired import Rule, Window, weigh
from evergreen.monitor.window_page import Shown, Weighed

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def key(number: int) -> str:
    return (FIRST + number * DAY).date().isoformat()


def recorded(number: int, version: int, value: float | None, rows: int = 200) -> Recorded:
    """A decision about a window, as the ledger has it."""
    return Recorded(
        id=f"decided/{number}",
        model="tiny",
        as_of=FIRST + (number + 1) * DAY,
        actor="monitor",
        reason="like the reference",
        decision_id=f"d{number}",
        start=FIRST + number * DAY,
        end=FIRST + (number + 1) * DAY,
        version=version,
        action="none",
        triggers=False,
        changed_at=None,
        evidence={"performance": {"metric": "roc_auc", "value": value, "reference": 0.83, "rows": rows}},
    )


def shown(windows: int = 75, features: int = 16) -> Shown:
    """The newest of some windows: the world changed some before, and the champion was replaced once."""
    random, taken = np.random.default_rng(0), windows // 3
    worse = {*range(taken - 8, taken), *range(windows - 8, windows)}
    losses = [
        Window(
            version=1 if number < taken else 2,
            rows=1.0,
            champion=0.5 + random.normal(0, 0.012) + (0.04 if number in worse else 0),
            understudy=0.5 + random.normal(0, 0.012),
            earlier=0.5 + random.normal(0, 0.012),
            apart=1 + (number if number < taken else number - taken),
        )
        for number in range(windows)
    ]
    rule = Rule(window=28, delay=2)
    told = weigh(losses, rule)
    compared = [Weighed(key(n), loss, each) for n, (loss, each) in enumerate(zip(losses, told, strict=True))]
    last = key(windows - 1)
    scores = [0.82 + random.normal(0, 0.01) - (0.1 if n > windows - 12 else 0.0) for n in range(windows)]
    drift = {f"feature_{number}": float(random.gamma(1.2, 0.05)) for number in range(features)}
    return Shown(
        Collected(
            partition=last, rows=1234, version=2, champion=2, ages={"visits": 25.5}, warnings=(), table_version=None
        ),
        Quality(missing={"feature_1": 0.31, "feature_2": 0.02, "feature_3": -0.1}),
        Drift(
            distances=drift,
            prediction=0.07,
            classes={},
            findings=tuple(findings.drifted(drift, lambda _: 0.1)),
        ),
        Performance(metric="roc_auc", value=0.71, reference=0.83, drop=0.12, significant=True, rows=210),
        Decided(
            action="wait for labels",
            decision_id="4f1c22ab9e01",
            reasons=("performance fell by 0.120 on 210 matured rows", "matured since the change: 120 of 400 rows"),
            triggers=False,
            changed_at=FIRST + (windows - 10) * DAY,
            page="http://reports/window",
        ),
        [recorded(n, 1 if n < taken else 2, None if n % 9 == 4 else scores[n]) for n in range(windows)],
        compared,
        rule,
        ("drift", "performance"),
    )
