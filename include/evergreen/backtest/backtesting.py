"""A rolling-origin backtest: at each origin the spec is trained on what was known then, as its training loop would, and
asked for the predictions that follow; beside it stands the first of these trainings, as if none had come after it.

It reads the lake, every window the same versions of its tables, and writes nothing: no run in MLflow, no study, no
entry in the ledger.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.pipeline import Pipeline

from evergreen.backtest.rules import Window, windows
from evergreen.errors import EvidenceMissing
from evergreen.lake import tables
from evergreen.lake.schema import LABELS, TableId
from evergreen.model import baseline, rows
from evergreen.model.metrics import Comparison, metric, score
from evergreen.model.rows import Rows
from evergreen.run import Run
from evergreen.spec.columns import EVENT, KNOWN_AT
from evergreen.spec.measures import MetricName
from evergreen.spec.schema import ModelSpec
from evergreen.train import dataset, recipes, rules, searching
from evergreen.train.rules import Split

log = logging.getLogger(__name__)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """What a training at one origin came to."""

    at: datetime
    family: str
    parameters: Mapping[str, Any]
    learned: int
    """Rows."""
    searched: float
    """The search metric on the time folds."""
    threshold: float | None
    pipeline: Pipeline
    rows: Rows
    """That it learned from."""


@dataclass(frozen=True)
class Judged:
    """How a window went. The values are of the search metric; NaN where it is not defined."""

    window: Window
    rows: int
    trained: Fit | None
    """None: what was known then was not enough; then the training before it goes on."""
    why_not: str
    """Why there was no training, in words."""
    retrained: float
    """By the newest training."""
    kept: float
    """By the first training of the backtest."""
    baseline: float
    gain: Comparison
    """Of the newest training over the first."""
    scores: dict[MetricName, float]
    """All metrics, by the newest training."""


@dataclass(frozen=True)
class Backtest:
    """All windows, oldest first, and all their rows together."""

    spec: ModelSpec
    as_of: datetime
    versions: dict[str, int]
    """The tables that were read: `layer/name` → version."""
    windows: tuple[Judged, ...]
    gain: Comparison
    """Of retraining over keeping the first training, on the rows from after the first window."""
    over_baseline: Comparison
    """Of retraining over the baseline, on all rows."""


@dataclass(frozen=True)
class _Answers:
    """The rows of a window, and what each side predicts of them."""

    later: Rows
    retrained: Floats
    kept: Floats
    baseline: Floats


def run(spec: ModelSpec, *, most: int, length: timedelta | None = None, trials: int | None = None) -> Backtest:
    """Judge a spec on its newest windows.

    Args:
        most: windows, at most.
        length: of a window; None: as long as an evaluation (`split.evaluation`).
        trials: of each search; None: as many as the spec says.

    Raises:
        EvidenceMissing: there is no window in which anything can be trained and judged.
        VersionGone: files of a table that is read were removed.
    """
    pins = dataset.pins(spec)
    first, last, as_of = _known(spec, pins)
    chosen = [*islice(windows(spec, first, last, length or spec.split.evaluation), most)][::-1]
    judged: list[Judged] = []
    answers: list[_Answers] = []
    kept: Fit | None = None
    newest: Fit | None = None
    why_not = "none fits between them"
    for number, window in enumerate(chosen, 1):
        trained, why_not = _tried(spec, window, pins, trials)
        newest = trained or newest
        kept = kept or trained
        shown = spec.calendar.shown(window.start)
        if newest is None or kept is None:
            log.info("%d of %d, %s: no training: %s", number, len(chosen), shown, why_not)
            continue
        later = _rows(spec, window.judged(as_of), pins)
        if not len(later.labels):
            log.info("%d of %d, %s: no prediction with a known outcome", number, len(chosen), shown)
            continue
        answer = _answers(spec, later, newest, kept)
        answers.append(answer)
        judged.append(_judged(spec, window, answer, trained, why_not, newest))
        log.info("%d of %d, %s: %s", number, len(chosen), shown, _told(spec, judged[-1]))
    if not judged:
        raise EvidenceMissing(
            f"backtesting {spec.model}",
            found=f"no window of {len(chosen)} in which something could be trained and judged"
            f" ({why_not}); predictions with a known outcome: {_span(spec, first, last)}",
            expected="a window with enough rows to learn from before it (split.minimum_rows), and some to judge by",
            next_step="ingest more of the history, or give a shorter --length",
        )
    return Backtest(
        spec,
        as_of,
        {table.seen_from(spec.model): version for table, version in pins.items()},
        tuple(judged),
        _compared(spec, answers[1:], [each.kept for each in answers[1:]]),
        _compared(spec, answers, [each.baseline for each in answers]),
    )


def _known(spec: ModelSpec, pins: dict[TableId, int]) -> tuple[datetime, datetime, datetime]:
    """The oldest and the newest prediction whose outcome is known, and the moment that this is known at."""
    table = LABELS.of(spec.model, spec.label.name)
    stored = tables.read(table, version=pins.get(table), columns=[EVENT, KNOWN_AT], where=pc.field(KNOWN_AT).is_valid())
    if stored is None or not stored.num_rows:
        raise EvidenceMissing(
            f"backtesting {spec.model}",
            found="no prediction with a known outcome",
            expected="a history of labels",
            next_step="ingest it: `evergreen bootstrap DATASET`, or a backfill of the DAG of its dataset",
        )
    moments = stored.to_pandas()
    first, last, known = moments[EVENT].min(), moments[EVENT].max(), moments[KNOWN_AT].max()
    if spec.label.known is not None:  # of the newest predictions only those are known that were decided soonest
        last = min(last, pd.Timestamp(spec.calendar.earlier(known.to_pydatetime(), spec.label.horizon)))
    return first.to_pydatetime(), last.to_pydatetime(), known.to_pydatetime()


def _tried(spec: ModelSpec, window: Window, pins: dict[TableId, int], trials: int | None) -> tuple[Fit | None, str]:
    try:
        return _trained(spec, window, pins, trials), ""
    except EvidenceMissing as missing:
        return None, missing.found


def _trained(spec: ModelSpec, window: Window, pins: dict[TableId, int], trials: int | None) -> Fit:
    """The training of an origin: every family searched, the best on the time folds fitted, and refitted on all mature
    rows where the spec asks for it.

    Raises:
        EvidenceMissing: too few rows to learn from, or no family of which a fold can be scored.
    """
    run = Run(spec, window.training, run_id="backtest", reason="backtest")
    split = rules.split(run.as_of, spec)
    learn = _rows(spec, split, pins, learning=True)
    if len(learn.labels) < spec.split.minimum_rows:
        raise EvidenceMissing(
            f"training {run.subject}",
            found=f"{len(learn.labels)} rows to learn from",
            expected=f"at least {spec.split.minimum_rows} (split.minimum_rows in model.yaml)",
            next_step="begin later",
        )
    found = {family: searching.search(run, family, learn, trials=trials) for family in spec.families}
    scores = {family: each.taken.value for family, each in found.items()}
    family = max(scores, key=lambda name: spec.search.measure.rank(scores[name]))
    recipe = found[family].recipe
    whole = _rows(spec, split.whole, pins, learning=True) if spec.refit else learn
    pipeline, learned = recipes.fit(spec, recipe, whole)
    return Fit(
        run.as_of,
        family,
        recipe.parameters,
        len(learned.labels),
        float(scores[family]),
        recipe.threshold,
        pipeline,
        learned,
    )


def _rows(spec: ModelSpec, split: Split, pins: dict[TableId, int], *, learning: bool = False) -> Rows:
    built: pa.Table = dataset.rebuild(spec, split, pins).rows
    frame = built.to_pandas()
    if learning:
        frame = frame[frame[EVENT].between(split.learn_from, split.learn_to)].reset_index(drop=True)
    return rows.of(spec, frame)


def _answers(spec: ModelSpec, later: Rows, newest: Fit, kept: Fit) -> _Answers:
    return _Answers(
        later,
        rows.predict(newest.pipeline, later.inputs),
        rows.predict(kept.pipeline, later.inputs),
        baseline.of(spec, newest.rows, later).predictions,
    )


def _judged(
    spec: ModelSpec, window: Window, answers: _Answers, trained: Fit | None, why_not: str, newest: Fit
) -> Judged:
    searched, later = metric(spec.problem, spec.search.metric), answers.later
    return Judged(
        window,
        len(later.labels),
        trained,
        why_not,
        searched.value(later.labels, answers.retrained, later.weights),
        searched.value(later.labels, answers.kept, later.weights),
        searched.value(later.labels, answers.baseline, later.weights),
        _compared(spec, [answers], [answers.kept]),
        score(spec.problem.at(newest.threshold), later.labels, answers.retrained, later.weights),
    )


def _compared(spec: ModelSpec, windows: Sequence[_Answers], others: Sequence[Floats]) -> Comparison:
    """Retraining against another side on the rows of some windows together; rows that share their circumstances are no
    evidence apart (`asking.alike`).

    Args:
        others: what the other side predicts, by window.
    """
    if not windows:
        nothing = float("nan")
        return Comparison(nothing, nothing, nothing, 0, 0)
    weights = [each.later.weights for each in windows if each.later.weights is not None]
    return metric(spec.problem, spec.search.metric).compare(
        np.concatenate([each.later.labels for each in windows]),
        np.concatenate([each.retrained for each in windows]),
        np.concatenate(others),
        np.concatenate([spec.asking.alike(each.later.frame).to_numpy(object) for each in windows]),
        weights=np.concatenate(weights) if weights else None,
    )


def _told(spec: ModelSpec, judged: Judged) -> str:
    trained = judged.trained
    by = f"no training: {judged.why_not}" if trained is None else f"{trained.family} of {trained.learned} rows"
    with_and_without = f"{judged.retrained:.4f} on {judged.rows} rows, {judged.kept:.4f} without retraining"
    return f"{by}; {spec.search.metric} {with_and_without}"


def _span(spec: ModelSpec, first: datetime, last: datetime) -> str:
    return f"{spec.calendar.shown(first)} to {spec.calendar.shown(last)}"
