"""The rows of each time fold: one choice for the search, for the backtest of windows, and for whoever asks what a
feature was worth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from evergreen.families import Parameters
from evergreen.handovers.calibration import Calibration
from evergreen.handovers.train import LearningWindow
from evergreen.model import calibrating, families, operating, rows
from evergreen.model.rows import Rows
from evergreen.model.weightings import Floats, Labels
from evergreen.spec.columns import EVENT, KNOWN_AT
from evergreen.spec.schema import ModelSpec
from evergreen.train import rules, windows

Positions = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Part:
    """A time fold's rows."""

    learn: Rows
    """What is learned from, weighted by age where the way is so."""
    later: Rows
    """What is scored."""
    classes: npt.NDArray[np.int64] | None = None
    """The classes that can be learned, by their places, where there is no row of some; None: all there are."""


@dataclass(frozen=True)
class Usable:
    """The folds that can be scored."""

    parts: tuple[Part, ...]
    lacking: tuple[str, ...]
    """Of the spec's folds that cannot, what each lacks, in words."""
    instead: str = ""
    """What is scored in their place, in words, where none of them can."""


def folds(
    spec: ModelSpec,
    learn: Rows,
    chosen: Iterable[rules.Fold] | None = None,
    window: LearningWindow = windows.FULL,
) -> Iterator[tuple[rules.Fold, Positions, Positions]]:
    """Each time fold, with the positions of its rows to learn from, of many a draw, and of those to score.

    Args:
        chosen: None: those of all learning rows.
        window: which rows are learned from.
    """
    moments, random = learn.frame[EVENT], np.random.default_rng(spec.search.seed)
    if chosen is None:
        chosen = rules.folds(learn.cutoffs, spec.asking.known_before, spec.split.folds)
    counted = windows.counts(window, moments) > 0
    for fold in chosen:
        known = counted & (moments <= fold.learn_to)
        if spec.label.known is not None:  # else the cutoff tells it
            known &= learn.frame[KNOWN_AT] <= fold.score_from
        earlier = np.flatnonzero(known)
        later = np.flatnonzero(moments.between(fold.score_from, fold.score_to))
        if len(earlier) > rules.FOLD_ROWS:
            earlier = np.sort(random.choice(earlier, rules.FOLD_ROWS, replace=False))
        yield fold, earlier, later


def usable(spec: ModelSpec, learn: Rows) -> Usable:
    """The folds whose rows have labels of every class in both parts.

    Where there is none: the most folds, of fewer and longer ones, of which one has; then, by a metric that does without
    some classes, the folds as the spec wants them, of the classes that each can learn.
    """
    parts, lacks = _whole(spec, learn, spec.split.folds)
    if parts or spec.problem.values is None:
        return Usable(parts, lacks)
    for count in range(spec.split.folds - 1, 0, -1):
        if found := _whole(spec, learn, count)[0]:
            return Usable(found, lacks, f"{len(found)} of {count} longer ones")
    if spec.search.measure.every_class:
        return Usable((), lacks)
    known = tuple(part for _, *both in folds(spec, learn) if (part := _of_known_classes(spec, learn, *both)))
    return Usable(known, lacks, "rows of the classes that each could learn" if known else "")


def fitted(spec: ModelSpec, part: Part, family: str, parameters: Parameters) -> Callable[[pd.DataFrame], Floats]:
    """What a candidate that learned a fold's rows predicts for inputs; a class that it could not learn has probability
    0."""
    learn, classes, width = part.learn, part.classes, len(spec.problem.values or ())
    labels = learn.labels if classes is None else np.searchsorted(classes, learn.labels)
    model = _fit(spec, part, family, parameters, labels)
    if classes is None:
        return lambda asked: rows.predict(model, asked)

    def predicted(asked: pd.DataFrame) -> Floats:
        spread = np.zeros((len(asked), width))
        spread[:, classes] = model.predict_proba(asked)
        return spread

    return predicted


def decided(
    spec: ModelSpec, parts: Sequence[Part], family: str, parameters: Parameters
) -> tuple[Calibration | None, float | None]:
    """The map of a binary candidate's probabilities and its operating threshold, by what fits of it say of rows that
    they have not learned from; None: the spec asks for none."""
    value = spec.label.business_value if spec.label.chooses_threshold else None
    if value is None and spec.calibrate is None:
        return None, None
    fits = [_fit(spec, part, family, parameters, part.learn.labels) for part in parts]
    labels = np.concatenate([part.later.labels for part in parts])
    weighted = [part.later.weights for part in parts if part.later.weights is not None]
    weights = np.concatenate(weighted) if weighted else None

    def said(by: Callable[[Pipeline, pd.DataFrame], Floats]) -> Floats:
        return np.concatenate([by(fit, part.later.inputs) for fit, part in zip(fits, parts, strict=True)])

    if spec.calibrate is None:
        calibration, predictions = None, said(rows.predict)
    else:
        scored = said(calibrating.scores)
        calibration = calibrating.fit(spec.calibrate, scored, labels, weights)
        predictions = calibrating.probabilities(calibration, scored)
    return calibration, None if value is None else operating.threshold(value, labels, predictions, weights)


def _fit(spec: ModelSpec, part: Part, family: str, parameters: Parameters, labels: Labels) -> Pipeline:
    learn = part.learn
    return families.fitted(spec, family, parameters, learn.inputs, labels, learn.weights, seed=spec.search.seed)


def lacking(spec: ModelSpec, learn: Rows, positions: Positions) -> str | None:
    """What the labels of some rows lack to be learned from or scored; None: nothing."""
    return spec.problem.lacking(_labels(learn, positions).tolist())


def _whole(spec: ModelSpec, learn: Rows, count: int) -> tuple[tuple[Part, ...], tuple[str, ...]]:
    """Of so many folds those in which nothing is lacking, and what the others lack."""
    shown, parts, lacks = spec.calendar.shown, [], []
    chosen = rules.folds(learn.cutoffs, spec.asking.known_before, count)
    for number, (fold, earlier, later) in enumerate(folds(spec, learn, chosen), 1):
        uses = {
            f"to learn from (until {shown(fold.learn_to)})": earlier,
            f"to score ({shown(fold.score_from)} to {shown(fold.score_to)})": later,
        }
        of_fold = [
            f"{lack} among its {len(part)} rows {use}"
            for use, part in uses.items()
            if (lack := lacking(spec, learn, part))
        ]
        if of_fold:
            lacks.append(f"fold {number} of {count} has {' and '.join(of_fold)}")
        else:
            parts.append(Part(learn.take(earlier), learn.take(later)))
    return tuple(parts), tuple(lacks)


def _of_known_classes(spec: ModelSpec, learn: Rows, earlier: Positions, later: Positions) -> Part | None:
    """A fold without the rows to score whose class it cannot learn; None: two classes are not left in both parts."""
    known = _labels(learn, earlier)
    left = later[np.isin(learn.labels[later], known)]
    if min(len(known), len(_labels(learn, left))) < 2:
        return None
    counted = earlier[np.isin(learn.labels[earlier], known)]
    classes = known if len(known) < len(spec.problem.values or ()) else None
    return Part(learn.take(counted), learn.take(left), classes)


def _labels(learn: Rows, positions: Positions) -> npt.NDArray[np.int64]:
    """The different labels among rows that count."""
    counting = positions if learn.weights is None else positions[learn.weights[positions] > 0]
    found: npt.NDArray[np.int64] = np.unique(learn.labels[counting])  # type: ignore[assignment]  # of numbers none asks
    return found
