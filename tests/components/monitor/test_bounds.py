"""Bounds are learned: windows without change are seldom beyond them, and planted faults are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evergreen.calendar import Calendar
from evergreen.monitor import bounds, comparison, seeing
from evergreen.monitor.bounds import Sizes
from evergreen.monitor.cells import Numbers
from evergreen.monitor.comparison import Reference
from evergreen.monitor.together import together
from evergreen.spec.schema import ModelSpec
from tests.components.train.conftest import spec_in

DAY = timedelta(days=1)
START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday


def rows(random: np.random.Generator, days: int, *, of: int = 150, apart: float = 0.15) -> pd.DataFrame:
    """Days that differ by themselves; `minutes` and `sessions` go together."""
    frames = []
    for day in range(days):
        shift = random.normal(0, apart, 3)
        base = random.normal(shift[0], 1, of)
        frames.append(
            pd.DataFrame(
                {
                    "minutes": np.exp(3 * base),  # heavy tail
                    "sessions": np.round(base + random.normal(shift[1], 0.7, of)),
                    "mobile": (random.random(of) < 0.5 + shift[2] / 5).astype(float),
                    "plan": random.choice(["basic", "gold", None], of, p=[0.6, 0.37, 0.03]),
                    "prediction": 1 / (1 + np.exp(-base)),
                    "event_timestamp": START + day * DAY,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def found(reference: Reference, window: pd.DataFrame) -> set[str]:
    moved = {name for name, each in reference.distances(window).items() if each.value > each.bound}
    for kind in (reference.nulls, reference.beyond, reference.new):
        moved |= {f"{kind.__name__} {name}" for name, each in kind(window).items() if each.share > each.bound}
    return moved


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return spec_in(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def usual(spec: ModelSpec) -> Reference:
    return Reference(spec, rows(np.random.default_rng(1), 21))


def test_a_window_without_change_has_a_finding_about_once_in_a_hundred(usual: Reference) -> None:
    random = np.random.default_rng(2)
    alarmed = [bool(found(usual, rows(random, 1))) for _ in range(40)]
    assert sum(alarmed) <= 2, "1 % of windows, over all features together"


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (lambda frame: frame.assign(minutes=frame["minutes"] * 10), "minutes"),
        (lambda frame: frame.assign(sessions=frame["sessions"] + 2), "sessions"),
        (lambda frame: frame.assign(mobile=1.0), "mobile"),
        (lambda frame: frame.assign(plan="gold"), "plan"),
        (lambda frame: frame.assign(prediction=frame["prediction"] / 4), "prediction"),
        (lambda frame: frame.assign(prediction=0.5), "confidence"),
        (lambda frame: frame.assign(plan=frame["plan"].where(frame.index % 3 > 0)), "nulls plan"),
        (lambda frame: frame.assign(minutes=frame["minutes"].where(frame.index % 8 > 0, -1.0)), "beyond minutes"),
        (lambda frame: frame.assign(plan=frame["plan"].where(frame.index % 8 > 0, "silver")), "new plan"),
    ],
)
def test_a_planted_fault_is_found(usual: Reference, fault: Any, cause: str) -> None:
    assert cause in found(usual, fault(rows(np.random.default_rng(3), 1)))


def test_what_only_the_features_together_show_is_found(usual: Reference) -> None:
    window = rows(np.random.default_rng(4), 1, of=600)
    shuffled = window.assign(sessions=window["sessions"].sample(frac=1, random_state=0).to_numpy())
    assert found(usual, shuffled) == set()
    same, apart = together(usual, window), together(usual, shuffled)
    assert same is not None and apart is not None
    assert same.value <= same.bound and apart.value > apart.bound


def test_more_rows_make_a_bound_tighter_and_days_that_differ_make_it_wider() -> None:
    random = np.random.default_rng(5)
    alike, unlike = (
        np.stack([random.multinomial(500, shares) for shares in random.dirichlet(np.full(21, size), 20)])
        for size in (500, 5)
    )
    cells = Numbers(np.arange(10.0))
    few, many = (bounds.distance(cells, alike, Sizes(rows, 1, 1)) for rows in (100, 5000))
    assert few > many
    assert bounds.distance(cells, unlike, Sizes(5000, 1, 1)) > 1.5 * many
    assert bounds.distance(cells, alike, Sizes(100, 1, 30)) > few, "each of many columns has its part of the alarms"


def test_a_reference_without_moments_is_judged_by_rows(spec: ModelSpec) -> None:
    random = np.random.default_rng(6)
    of_before = Reference(spec, rows(random, 21, apart=0.0).drop(columns="event_timestamp"))
    assert found(of_before, rows(random, 1, apart=0.0)) == set()
    assert "sessions" in found(of_before, rows(random, 1, apart=0.0).assign(sessions=3.0))


def test_a_weekday_is_compared_with_its_like_where_there_are_enough(spec: ModelSpec) -> None:
    random = np.random.default_rng(7)
    frame = rows(random, 70, of=60)
    monday = frame["event_timestamp"].dt.weekday == 0
    frame.loc[monday, "sessions"] += 5
    interval = Calendar().interval_of(START + 70 * DAY)
    reference = Reference(spec, frame, interval)
    assert set(reference.alike["event_timestamp"].dt.weekday) == {0}
    window = rows(random, 1, of=60)
    assert "sessions" in found(reference, window) and "sessions" not in found(
        reference, window.assign(sessions=window["sessions"] + 5)
    )
    short = Reference(spec, frame.head(60 * 20), interval)
    assert len(short.alike) == 60 * 20, "three Mondays are not enough"


def test_a_week_is_compared_with_weeks_of_the_same_weekdays(spec: ModelSpec) -> None:
    """What weekdays differ by is no noise of a week: each week has every one of them."""
    random = np.random.default_rng(8)
    weekly = spec.model_copy(update={"monitoring": spec.monitoring.model_copy(update={"window": 7 * DAY})})
    frame = rows(random, 42, of=60)
    frame["sessions"] += frame["event_timestamp"].dt.weekday
    usual, window = frame.head(60 * 28), frame.iloc[60 * 28 : 60 * 35]
    reference = Reference(weekly, usual, Calendar().interval_of(START + 34 * DAY))
    assert [(len(part.members), part.drawn) for part in reference.strata] == [(4, 1)] * 7
    whole = bounds.distance(*_counted(reference), Sizes(420, 7, len(reference.kinds)))
    learned = reference.bound_of("sessions", 420)
    assert learned is not None and learned < 0.8 * whole
    assert "sessions" not in found(reference, window)
    assert "sessions" in found(reference, window.assign(sessions=window["sessions"] + 1))
    short = Reference(weekly, frame.head(60 * 14), Calendar().interval_of(START + 20 * DAY))
    assert [(len(part.members), part.drawn) for part in short.strata] == [(14, 7)], "two of each weekday are not enough"


def _counted(reference: Reference) -> tuple[Numbers, Any]:
    known = reference._known("sessions")
    assert known is not None and isinstance(known[0], Numbers)
    return known[0], known[1]


def test_an_hour_is_compared_with_its_hour_of_the_day(spec: ModelSpec) -> None:
    hourly = spec.model_copy(update={"calendar": Calendar(every="hour")})
    random, hours = np.random.default_rng(9), range(24 * 7)
    frame = rows(random, len(hours), of=20)
    frame["event_timestamp"] = START + (frame["event_timestamp"] - START) / 24
    reference = Reference(hourly, frame, Calendar(every="hour").interval_of(START + 8 * DAY + timedelta(hours=9)))
    assert set(reference.alike["event_timestamp"].dt.hour) == {9} and len(reference.alike) == 7 * 20


def test_nulls_are_bounded_by_the_rows_and_the_days() -> None:
    sizes = Sizes(1000, 1, 10)
    assert bounds.share([0] * 20, [500] * 20, sizes) == 0.01, "less than a hundredth of the rows is no incident"
    steady, restless = bounds.share([50] * 20, [500] * 20, sizes), bounds.share([0, 100] * 10, [500] * 20, sizes)
    assert 0.1 < steady < 0.16 < restless


def test_volume_is_what_intervals_like_it_had() -> None:
    assert bounds.volume([1000] * 4) is None
    normal = bounds.volume([980, 1010, 1000, 1005, 990, 1015, 1000, 995])
    assert normal is not None
    assert 700 < normal[0] < 980 and 1020 < normal[1] < 1400


def test_what_is_normal_is_known_of_every_look(usual: Reference) -> None:
    random = np.random.default_rng(10)
    labelled = usual.rows.assign(label=(random.random(len(usual.rows)) < usual.rows["prediction"]).astype(int))
    known = seeing.normal(usual.spec, labelled)
    assert {"drift of minutes", "drift together", "confidence", "nulls of plan", "range of minutes"} <= set(known)
    assert 0.5 < known["drift together"] < 0.8 and 0.02 < known["performance"] < 0.3


def test_confidence_is_of_classes(usual: Reference) -> None:
    entropy = comparison.entropy(usual.spec, usual.rows.assign(prediction=0.5))
    assert entropy == pytest.approx(1.0)


@pytest.mark.parametrize(("threshold", "share"), [(None, 0.25), (0.2, 0.5)])
def test_near_the_threshold_is_near_the_declared_one(usual: Reference, threshold: float | None, share: float) -> None:
    stated = {} if threshold is None else {"threshold": threshold}
    spec = usual.spec.model_copy(update={"label": usual.spec.label.model_copy(update=stated)})
    rows = usual.rows.head(8).assign(prediction=[0.11, 0.15, 0.25, 0.29, 0.41, 0.59, 0.9, 0.99])
    assert comparison.near(spec, rows) == pytest.approx(share)


def test_of_several_classes_near_is_where_another_one_is_as_likely(tmp_path: Path) -> None:
    label = {"name": "left", "type": "multiclass", "classes": ("a", "b", "c"), "horizon": "2d", "sources": ("events",)}
    gates = {"minimum_rows": 50, "minimum_per_class": 5, "floor": {"log_loss": 2.0}}
    spec = spec_in(tmp_path / "classes", label=label, gates=gates, search={"trials": 1, "metric": "log_loss"})
    shares = [[0.4, 0.35, 0.25], [0.5, 0.45, 0.05], [0.7, 0.2, 0.1], [0.5, 0.25, 0.25]]
    rows = pd.DataFrame(shares, columns=list(spec.problem.outputs))
    assert comparison.near(spec, rows) == pytest.approx(0.5)
