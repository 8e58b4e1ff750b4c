"""Monitoring: what a window of 1,000,000 answers costs, and how often a window without change has a finding.

Distances are compared with bare numpy and scipy on the same rows.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

from benchmarks import document
from evergreen.model.metrics import metric
from evergreen.monitor import bounds, performing
from evergreen.monitor.comparison import Reference
from evergreen.monitor.together import ROWS, together
from evergreen.settings import settings
from evergreen.spec.columns import EVENT, LABEL
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec

WINDOW, REFERENCE, NUMBERS, CATEGORIES = 1_000_000, 20_000, 25, 5
ROUNDS = 3
MOST, MEMORY = 2.0, 2.0  # times bare numpy and scipy; GB
WINDOWS, COLUMNS, OF_DAY, DAYS, WORLDS = 28, 12, 400, 28, 10
START = datetime(2026, 1, 5, tzinfo=UTC)
LOOKS = ("features", "together", "answers", "performance")


def run() -> str:
    """The section."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:  # a process of its own, so that its memory is the section's
        ours, bare, classifier, memory = pool.apply(_speed)
    with context.Pool(1) as pool:
        without = pool.apply(_memory_without)
    rows = [
        (f"distances and learned bounds of {NUMBERS + CATEGORIES} columns", f"{ours:.2f} s", f"{ours / bare:.2f}"),
        ("the same statistics by scipy and pandas, without bounds", f"{bare:.2f} s", "1"),
        (f"domain classifier, samples of {ROWS:,}, with its null distribution", f"{classifier:.2f} s", ""),
    ]
    alarms = [_alarms(*world) for world in ((0.0, 0.0, 1), (0.1, 0.0, 1), (0.3, 0.0, 1), (0.1, 0.3, 1), (0.1, 0.3, 7))]
    within = "within" if ours <= MOST * bare and memory <= MEMORY else "**beyond**"
    return (
        f"{WINDOW:,} live rows against {REFERENCE:,}, {NUMBERS} numbers and {CATEGORIES} categories; best of {ROUNDS}, "
        f"in turns. Greatest memory of the process {memory:.2f} GB, of which {without:.2f} GB hold the rows and the "
        f"libraries. It is {within} the bound of {MOST:g} times bare and {MEMORY:g} GB.\n\n"
        + document.table(("what", "takes", "times bare"), rows)
        + f"\n\nFalse alarms: {WORLDS} references of {DAYS} days of {OF_DAY} rows, {WINDOWS} windows without change "
        f"against each, {COLUMNS} features (normal, heavy-tailed, counts, categories), predictions and their labels. "
        "Each look may find something in 1 % of the windows; the estimate of open labels is not among them. Days are "
        "apart by so many deviations. *found*: one feature moves by half a deviation and three times what days are "
        "apart.\n\n"
        + document.table(
            ("days apart", "weekdays apart", "window", *LOOKS, "any", "findings per window", "found"),
            alarms,
        )
    )


def _spec(kinds: dict[str, str]) -> ModelSpec:
    where = settings()
    spec = load_spec(where.models / "churn", where.data)
    view = next(iter(spec.features))
    wide = spec.features[view].model_copy(update={"features": kinds})
    copied: ModelSpec = spec.model_copy(update={"features": {view: wide}, "request": None}).at(
        Path(tempfile.gettempdir())
    )
    return copied


def _sides() -> tuple[dict[str, str], pd.DataFrame, pd.DataFrame]:
    random = np.random.default_rng(0)
    kinds = {f"number_{n}": "float" for n in range(NUMBERS)} | {f"category_{n}": "category" for n in range(CATEGORIES)}
    names = np.array([f"name {n}" for n in range(20)], dtype=object)

    def side(size: int) -> pd.DataFrame:
        return pd.DataFrame(
            {
                name: names[random.integers(20, size=size)] if kind == "category" else random.normal(size=size)
                for name, kind in kinds.items()
            }
        )

    moments = [START + timedelta(days=int(day)) for day in np.arange(REFERENCE) * DAYS // REFERENCE]
    return kinds, side(WINDOW), side(REFERENCE).assign(event_timestamp=moments)


def _speed() -> tuple[float, float, float, float]:
    kinds, window, usual = _sides()
    spec = _spec(kinds)

    def ours() -> None:
        Reference(spec, usual).distances(window)

    def bare() -> None:
        for name, kind in kinds.items():
            if kind == "category":
                jensenshannon(*_shares(window[name], usual[name]), base=2)
            else:
                ks_2samp(window[name].to_numpy(), usual[name].to_numpy(), method="asymp")

    taken: dict[Callable[[], None], list[float]] = {ours: [], bare: []}
    for _ in range(ROUNDS):
        for each, seconds in taken.items():
            begun = time.perf_counter()
            each()
            seconds.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    together(Reference(spec, usual), window)
    classifier = time.perf_counter() - begun
    return min(taken[ours]), min(taken[bare]), classifier, _memory()


def _memory_without() -> float:
    kept = _sides()
    assert len(kept[1]) == WINDOW
    return _memory()


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _shares(window: pd.Series[Any], reference: pd.Series[Any]) -> tuple[np.ndarray, np.ndarray]:
    sides = window.value_counts(normalize=True), reference.value_counts(normalize=True)
    names = sides[0].index.union(sides[1].index)
    first, second = (side.reindex(names, fill_value=0.0).to_numpy() for side in sides)
    return first, second


def _alarms(apart: float, weekdays: float, length: int) -> tuple[str, ...]:
    """How many windows of some days without change have a finding, and by which look, where days and weekdays differ by
    so many deviations."""
    random = np.random.default_rng(1)
    kinds = {f"c{n}": "category" if n % 4 == 3 else "float" for n in range(COLUMNS)}
    spec = _spec(kinds)
    monitoring = spec.monitoring.model_copy(update={"window": timedelta(days=length)})
    spec = spec.model_copy(update={"monitoring": monitoring})
    found, findings, moved = dict.fromkeys((*LOOKS, "any"), 0), 0, 0
    for _ in range(WORLDS):
        shifts = random.normal(0, weekdays, (7, COLUMNS))

        def days(first: int, count: int, shifts: np.ndarray = shifts) -> pd.DataFrame:
            made = [_day(random, kinds, apart, shifts[n % 7], n) for n in range(first, first + count)]
            return pd.concat(made, ignore_index=True)

        rows, counts = days(0, DAYS), random.poisson(OF_DAY, DAYS).tolist()
        usual = metric(spec.problem, spec.search.metric).value(rows[LABEL].to_numpy(), rows["prediction"].to_numpy())
        references: dict[int, Reference] = {}
        bounds_of: dict[int, dict[str, float]] = {}
        for number in range(WINDOWS):
            first = DAYS + number
            weekday = (first + length - 1) % 7
            if weekday not in references:
                like = spec.calendar.interval_of(START + timedelta(days=first + length - 1))
                reference = references[weekday] = Reference(spec, rows, like)
                bounds_of[weekday] = {name: reference.bound_of(name, OF_DAY * length) or 1 for name in reference.kinds}
            reference, learned = references[weekday], bounds_of[weekday]
            window = days(first, length)
            newest = window.tail(OF_DAY)
            apart_by = together(reference, window)
            fewest, most = bounds.volume(counts) or (0, np.inf)
            odd = [kind(newest).values() for kind in (reference.nulls, reference.beyond, reference.new)]
            seen = {
                "features": sum((reference.distance(name, window) or 0) > bound for name, bound in learned.items())
                + sum(each.share > each.bound for kind in odd for each in kind),
                "together": int(apart_by is not None and apart_by.value > apart_by.bound),
                "answers": int(not fewest <= random.poisson(OF_DAY) <= most),
                "performance": len(performing.realised(spec, newest, usual, rows).findings),
            }
            findings += sum(seen.values())
            for look, count in (*seen.items(), ("any", sum(seen.values()))):
                found[look] += count > 0
            shifted = window.assign(c0=window["c0"] + 0.5 + 3 * apart)
            moved += (reference.distance("c0", shifted) or 0) > learned["c0"]
    every = WORLDS * WINDOWS
    shares = [f"{count / every:.1%}" for count in found.values()]
    days_long = f"{length} day{'s' * (length > 1)}"
    return (f"{apart:g}", f"{weekdays:g}", days_long, *shares, f"{findings / every:.3f}", f"{moved / every:.0%}")


def _day(
    random: np.random.Generator, kinds: dict[str, str], apart: float, shifts: np.ndarray, day: int
) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for place, name in enumerate(kinds):
        values = random.normal(random.normal(0, apart) + shifts[place], 1, OF_DAY)
        made = (
            lambda values: values,
            lambda values: np.sinh(2 * values),
            lambda values: np.round(np.exp(values / 2)),
            lambda values: np.array(list("abcdef"), dtype=object)[np.clip(values + 3, 0, 5).astype(int)],
        )
        columns[name] = made[place % 4](values)
    chance = 1 / (1 + np.exp(-random.normal(random.normal(0, apart), 1, OF_DAY)))
    outcome = (random.random(OF_DAY) < chance).astype(int)
    keys = [f"{day}-{row}" for row in range(OF_DAY)]
    own = {"customer_id": keys, "prediction": chance, LABEL: outcome, EVENT: START + timedelta(days=day)}
    return pd.DataFrame(columns | own)
