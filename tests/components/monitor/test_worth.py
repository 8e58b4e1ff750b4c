"""A fall of performance is told with what it costs its owner, by the cost matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evergreen.model.rows import inputs
from evergreen.monitor import stages
from evergreen.registry import loading
from evergreen.settings import settings
from evergreen.spec.business_value import BusinessValue
from evergreen.spec.label import Label

from .conftest import Live
from .test_by_version import turned, two_versions

VALUE = BusinessValue(currency="EUR", true_positive=8, false_positive=-4, true_negative=0, false_negative=-1)


def valued(live: Live, **label: Any) -> None:
    spec = live.spec
    stated = Label(**{**dict(spec.label), "business_value": VALUE, **label})
    live.contest.spec = spec.model_copy(update={"label": stated}).at(spec.folder)


def worth(live: Live, day: int, threshold: float, version: int = 1) -> float:
    """Of 1,000 of a version's answers of a day whose outcomes are turned, row by row."""
    frame = live.requests(day, turned)
    answers = loading.load(live.spec.model, version).predict(inputs(live.spec.feature_types, frame))
    yes, left = answers >= threshold, frame["left"] == 1
    return 1000 * float(np.where(left, np.where(yes, 8, -1), np.where(yes, -4, 0)).mean())


def test_what_matured_has_its_worth_by_version_in_page_and_alert(live: Live) -> None:
    valued(live, threshold=0.3)
    two_versions(live)
    made = {day: live.watch(day, drawn=False) for day in (20, 21)}
    alerted = stages.alert(live.run(21), made[21].quality, made[21].performance, made[21].decided)
    told = " ".join(alerted.warnings)
    assert "performance fell by" in told and "1,000 predictions are worth" in told and "EUR" in told
    made |= {day: live.watch(day, drawn=day == 24) for day in range(22, 25)}
    now = made[21].performance.worth
    # The version was trained without a cost matrix: it decides at 0.5, as it answers.
    assert now is not None and now.value == pytest.approx(worth(live, 20, 0.5)) and now.currency == "EUR"
    assert now.low is not None and now.high is not None and now.low < now.value < now.high
    (other,) = made[22].performance.others
    assert other.worth is not None and other.worth.value == pytest.approx(worth(live, 21, 0.5))

    page = (settings().reports / live.spec.model / "windows" / "2026-01-25.html").read_text()
    assert "EUR per 1,000 predictions" in page and "worth of the interval" in page and "Worth of 1,000" in page


def test_a_version_is_worth_what_its_own_threshold_makes_of_it(live: Live) -> None:
    valued(live, threshold=0.3)
    run = live.run(20)
    data = live.contest.data(run)
    candidate = live.contest.evaluate(run, data, live.contest.candidate(run, data))
    assert live.contest.champion(run, data, candidate, replaced=1) == 2
    live.serve(21, version=2)
    live.label(21, turned)
    stages.collect(live.run(21))
    (other,) = stages.performance(live.run(22), stages.collect(live.run(22))).others
    assert other.worth is not None and other.worth.value == pytest.approx(worth(live, 21, 0.3, version=2))


def test_without_a_cost_matrix_nothing_is_said_of_worth(live: Live) -> None:
    live.serve(20)
    live.label(20, turned)
    live.watch(20, drawn=False)
    watched = live.watch(21)
    assert watched.performance.worth is None
    page = (settings().reports / live.spec.model / "windows" / "2026-01-22.html").read_text()
    assert "Worth of 1,000" not in page and "predictions are worth" not in page
