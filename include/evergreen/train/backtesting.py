"""Which of the learning rows a family learns from after a change of the world: the ways are tried on time folds.

They are tried with the family's defaults, before the search. The search then looks for parameters that suit the way
that was taken, on the folds that it was taken by.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evergreen.errors import EvidenceMissing
from evergreen.families import Parameters, family
from evergreen.handovers.train import Backtest, LearningWindow, Way
from evergreen.model import families
from evergreen.model.metrics import metric
from evergreen.model.rows import Rows, predict
from evergreen.run import Run
from evergreen.spec.columns import EVENT
from evergreen.spec.durations import duration_text
from evergreen.spec.families import defaults, space
from evergreen.spec.schema import ModelSpec
from evergreen.train import folding, rules, windows

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """A time fold's rows."""

    learn: Rows
    """What is learned from, weighted by age where the way is so."""
    later: Rows
    """What is scored."""


@dataclass(frozen=True)
class Folded:
    """What a search of a family's parameters uses."""

    parts: tuple[Part, ...]
    backtest: Backtest | None
    """None: no change of the world was told."""


def fold(run: Run, name: str, learn: Rows) -> Folded:
    """The time folds of a family, at least one; after a change with the way that does best on what came after it.

    Raises:
        EvidenceMissing: no fold has different labels in both parts; it says what each lacks.
    """
    if run.changed_at is None:
        return Folded(tuple(_parts(run, name, learn, None, windows.FULL)), None)
    spec, cutoffs, shown = run.spec, learn.frame[EVENT], run.spec.calendar.shown
    ways, left_out = windows.options(
        cutoffs, run.changed_at, minimum_rows=spec.split.minimum_rows, weights=family(name).weights
    )
    alone, with_older = windows.folds(learn.cutoffs, spec.asking.known_before, spec.split.folds, run.changed_at)
    older: dict[Way, LearningWindow] = {way: window for way, window in ways.items() if way != "since"}
    attempts: tuple[tuple[list[rules.Fold], dict[Way, LearningWindow]], ...] = (
        (alone, ways),
        (alone, older),
        (with_older, older),
    )
    for chosen, tried in attempts:
        parts = _of_ways(spec, learn, chosen, tried)
        if not parts:
            continue
        if tried is older and "since" in ways:
            left_out["since"] = "no time fold after the change can be learned for from after it alone"
        parameters = defaults(space(name, spec.families[name]))
        scores = {
            way: float(np.mean([score(run, name, parameters, part) for part in each])) for way, each in parts.items()
        }
        way = windows.best(scores, spec.search.measure.rank)
        count = len(parts[way])
        found = ", ".join(f"{each} {score:.4f}" for each, score in scores.items())
        told = f"{spec.search.metric} on {count} time folds after {shown(run.changed_at)}: {found}"
        finite = {each: score for each, score in scores.items() if np.isfinite(score)}
        backtest = Backtest(window=tried[way], scores=finite, reason=_reason(tried[way], told, left_out))
        return Folded(tuple(parts[way]), backtest)
    told = f"no time fold after {shown(run.changed_at)} can be scored"
    backtest = Backtest(window=windows.FULL, scores={}, reason=_reason(windows.FULL, told, left_out))
    return Folded(tuple(_parts(run, name, learn, None, windows.FULL)), backtest)


def _reason(window: LearningWindow, told: str, left_out: Mapping[Way, str]) -> str:
    return "; ".join((f"{window}: {told}", *(f"{way} is left out: {why}" for way, why in left_out.items())))


def _of_ways(
    spec: ModelSpec, learn: Rows, chosen: Sequence[rules.Fold], ways: Mapping[Way, LearningWindow]
) -> dict[Way, list[Part]]:
    """Per way its rows of the folds that every way can be scored on; empty: there is none."""
    parts: dict[Way, list[Part]] = {way: [] for way in ways}
    each = [folding.folds(spec, learn, chosen, window) for window in ways.values()]
    for same in zip(*each, strict=True):
        if any(_lacking(spec, learn, part) for _, *both in same for part in both):
            continue
        for (way, window), (_, earlier, later) in zip(ways.items(), same, strict=True):
            parts[way].append(Part(windows.of(window, learn.take(earlier)), learn.take(later)))
    return parts if all(parts.values()) else {}


def _parts(run: Run, name: str, learn: Rows, chosen: Iterable[rules.Fold] | None, window: LearningWindow) -> list[Part]:
    spec, parts, lacking, shown = run.spec, [], [], run.spec.calendar.shown
    for number, (fold, earlier, later) in enumerate(folding.folds(spec, learn, chosen, window), 1):
        uses = {
            f"to learn from (until {shown(fold.learn_to)})": earlier,
            f"to score ({shown(fold.score_from)} to {shown(fold.score_to)})": later,
        }
        lacks = [
            f"{lack} among its {len(part)} rows {use}"
            for use, part in uses.items()
            if (lack := _lacking(spec, learn, part))
        ]
        if lacks:
            lacking.append(f"fold {number} of {spec.split.folds} has {' and '.join(lacks)}")
        else:
            parts.append(Part(windows.of(window, learn.take(earlier)), learn.take(later)))
    for fold_lacks in lacking if parts else ():
        log.warning("Not scored on: %s", fold_lacks)
    if not parts:
        raise EvidenceMissing(
            f"searching {name} for {run.subject}",
            found="; ".join(lacking)
            or f"{len(learn.cutoffs)} moments to learn from, none of which can be scored by what was mature before it",
            expected=(
                "a fold with different labels in both parts; moments further apart than a label takes to be known "
                f"({duration_text(spec.asking.label_delay)})"
            ),
            next_step="train as of a later moment, or widen split.window in model.yaml",
        )
    return parts


def _lacking(spec: ModelSpec, learn: Rows, positions: folding.Positions) -> str | None:
    """What the labels of some rows lack to be learned from or scored; None: nothing."""
    labels = learn.labels[positions]
    if learn.weights is not None:
        labels = labels[learn.weights[positions] > 0]
    return spec.problem.lacking(np.unique(labels).tolist())


def score(run: Run, name: str, parameters: Parameters, part: Part) -> float:
    """The search metric of a family with some parameters on a time fold; not finite: it diverged."""
    spec = run.spec
    unfitted = families.build(name, parameters, spec.feature_types, spec.search.seed, label=spec.problem.kind)
    fitted = families.fit(unfitted, part.learn.inputs, part.learn.labels, part.learn.weights)
    predictions = predict(fitted, part.later.inputs)
    return metric(spec.problem, spec.search.metric).value(part.later.labels, predictions, part.later.weights)
