"""Which of the learning rows a family learns from after a change of the world: the ways are tried on time folds.

They are tried with the family's defaults, before the search. The search then looks for parameters that suit the way
that was taken, on the folds that it was taken by.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evergreen.errors import EvidenceMissing
from evergreen.families import Parameters, family
from evergreen.handovers.train import Backtest, LearningWindow, Way
from evergreen.model.metrics import metric
from evergreen.model.rows import Rows
from evergreen.run import Run
from evergreen.spec.columns import EVENT
from evergreen.spec.durations import duration_text
from evergreen.spec.families import defaults, space
from evergreen.spec.schema import ModelSpec
from evergreen.train import folding, rules, windows
from evergreen.train.folding import Part

log = logging.getLogger(__name__)

_FEWER_CLASSES = "or let label.sql put a rare class with another one (or leave it out) and take it out of label.classes"


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
        return Folded(_parts(run, name, learn), None)
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
    return Folded(_parts(run, name, learn), backtest)


def _reason(window: LearningWindow, told: str, left_out: Mapping[Way, str]) -> str:
    return "; ".join((f"{window}: {told}", *(f"{way} is left out: {why}" for way, why in left_out.items())))


def _of_ways(
    spec: ModelSpec, learn: Rows, chosen: Sequence[rules.Fold], ways: Mapping[Way, LearningWindow]
) -> dict[Way, list[Part]]:
    """Per way its rows of the folds that every way can be scored on; empty: there is none."""
    parts: dict[Way, list[Part]] = {way: [] for way in ways}
    each = [folding.folds(spec, learn, chosen, window) for window in ways.values()]
    for same in zip(*each, strict=True):
        if any(folding.lacking(spec, learn, part) for _, *both in same for part in both):
            continue
        for (way, window), (_, earlier, later) in zip(ways.items(), same, strict=True):
            parts[way].append(Part(windows.of(window, learn.take(earlier)), learn.take(later)))
    return parts if all(parts.values()) else {}


def _parts(run: Run, name: str, learn: Rows) -> tuple[Part, ...]:
    """The time folds that can be scored.

    Raises:
        EvidenceMissing: there is none, or no row of some class to learn from; it says what each lacks.
    """
    spec, doing = run.spec, f"searching {name} for {run.subject}"
    if spec.problem.by_class and (lack := folding.lacking(spec, learn, np.arange(len(learn.labels)))):
        raise EvidenceMissing(
            doing,
            found=f"{lack} among the {len(learn.labels)} rows to learn from",
            expected="rows of every class",
            next_step=f"widen split.window in model.yaml, {_FEWER_CLASSES}",
        )
    usable = folding.usable(spec, learn)
    for lacks in usable.lacking if usable.parts else ():
        log.warning("Not scored on: %s", lacks)
    if usable.instead:
        log.warning("Scored in their place: %s", usable.instead)
    if not usable.parts:
        every = spec.problem.by_class and spec.search.measure.every_class
        apart = spec.asking.label_delay if spec.label.known is None else spec.label.horizon
        raise EvidenceMissing(
            doing,
            found="; ".join(usable.lacking)
            or f"{len(learn.cutoffs)} moments to learn from, none of which can be scored by what was mature before it",
            expected=(
                "a fold with different labels in both parts; moments further apart than a label takes to be known "
                f"({duration_text(apart)})"
            ),
            next_step=(
                ("train as of a later moment, or " if spec.goes_on_after(run.as_of) else "")
                + "widen split.window in model.yaml"
                + (f"; or search by log_loss, which does without some classes, {_FEWER_CLASSES}" if every else "")
            ),
        )
    return usable.parts


def score(run: Run, name: str, parameters: Parameters, part: Part) -> float:
    """The search metric of a family with some parameters on a time fold; not finite: it diverged."""
    spec = run.spec
    predictions = folding.fitted(spec, part, name, parameters)(part.later.inputs)
    return metric(spec.problem, spec.search.metric).value(part.later.labels, predictions, part.later.weights)
