"""What else could answer while labels are open, the last known good version and the baseline, beside the champion: by
estimate, with how wrong such estimates were where labels came.

The estimate is `monitor.estimated`, of each by its own: what its probabilities or errors were worth on held-out rows.
It is blind to a changed relation of inputs and outcome, of every one of them alike.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from evergreen.errors import PermanentError
from evergreen.handovers.handover import finite
from evergreen.handovers.monitor import Rival
from evergreen.model import baseline
from evergreen.model.metrics import metric
from evergreen.model.rows import Rows
from evergreen.model.weightings import Floats
from evergreen.monitor import bounds, estimated
from evergreen.monitor.comparison import Reference
from evergreen.monitor.understudies import Champion
from evergreen.registry import artifacts, contents, records
from evergreen.spec.columns import AS_OF, EVENT, LABEL
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

BASELINE = "the baseline"
_MOST = 20_000  # rows of a window that are looked at: a sample knows an estimate well enough
_FEWEST = 30  # rows of an interval of the reference, to say how wrong an estimate of it is


@dataclass(frozen=True)
class Other:
    """Who could answer in the champion's place.

    Attributes:
        name: as messages name it, and its errors are kept by.
        version: None: it is none.
        held_out: rows that it has not learned from, with its predictions and their labels.
        answers: what it says to the features of some rows; raises PermanentError or ValueError where it cannot.
        learned_to: rows from after this are new to it; None: all are.
    """

    name: str
    version: int | None
    held_out: pd.DataFrame
    answers: Callable[[pd.DataFrame], Floats]
    learned_to: datetime | None = None


def others(spec: ModelSpec, reference: Reference, good: int | None) -> Iterator[Other]:
    """Who could answer in the champion's place.

    Args:
        reference: of the champion.
        good: the last known good version; None: there is no other one.
    """
    if good is not None:
        try:
            yield from _version(spec, good, reference.rows)
        except (PermanentError, ValueError) as error:
            log.warning("What version %d would say cannot be had. %s", good, error)
    if LABEL in reference.rows:
        try:
            yield _baseline(spec, reference.rows)
        except (PermanentError, ValueError) as error:
            log.warning("What the baseline would say cannot be had. %s", error)


def _version(spec: ModelSpec, good: int, reference: pd.DataFrame) -> Iterator[Other]:
    version = Champion(spec, good)
    if lacking := version.undeclared:
        log.info("Version %d is not asked: %s is no longer declared", good, ", ".join(lacking))
        return
    if lacking := [name for name in version.own_spec.feature_types if name not in reference]:
        log.info("Version %d is not asked: %s is not in the champion's record", good, ", ".join(lacking))
        return
    held_out = artifacts.load(records.candidate(version.version.run_id), contents.Reference).rows
    yield Other(f"version {good}", good, held_out, version.answers, version.version.as_of)


def _baseline(spec: ModelSpec, reference: pd.DataFrame) -> Other:
    """The trivial answer, or what `gates.baseline` states; it knows no more than what the reference has on average."""
    known = _as_asked(spec, reference)
    learned = Rows(known, known, spec.problem.labels(reference[LABEL]), np.empty(0, object))

    def stated(frame: pd.DataFrame) -> Floats:
        asked = _as_asked(spec, frame)
        later = Rows(asked, asked, np.zeros(len(asked)), np.empty(0, object))
        return baseline.of(spec, learned, later).predictions

    return Other(BASELINE, None, _saying(spec, reference, stated(reference)), stated)


def beside(
    reference: Reference,
    window: pd.DataFrame,
    scored: pd.DataFrame | None,
    others: Iterable[Other],
    errors: Callable[[str], Sequence[float]],
) -> tuple[Rival, ...]:
    """What each of the others would be worth on a window whose labels are open, against the champion.

    Args:
        reference: of the champion.
        window: features and the champion's predictions of the interval's answers.
        scored: those whose labels matured, with their `label`.
        errors: of the windows before, by the other's name: by how much its gain was less than estimated.
    """
    spec, name = reference.spec, reference.spec.search.metric
    outputs = list(spec.problem.outputs)
    asked = window[window.reindex(columns=outputs).notna().all(axis=1)]
    asked = asked if len(asked) <= _MOST else asked.sample(_MOST, random_state=0)
    champion = estimated.learn(spec, name, reference.rows)
    if champion is None or asked.empty:
        return ()
    found = []
    for other in others:
        try:
            estimator = estimated.learn(spec, name, other.held_out)
            if estimator is not None:
                both = _Both(spec, champion, estimator, other)
                found += _one(both, reference, asked, scored, errors(other.name))
        except (PermanentError, ValueError) as error:  # of what could only be told besides
            log.warning("What %s would say of the window cannot be had. %s", other.name, error)
    return tuple(found)


@dataclass(frozen=True)
class _Both:
    """The champion and another one, of rows that both are asked about."""

    spec: ModelSpec
    champion: estimated.Estimator
    estimator: estimated.Estimator
    other: Other

    def estimate(self, frame: pd.DataFrame) -> tuple[estimated.Estimate, float, float] | None:
        """The other's likely value, what it gains, and what chance makes of that."""
        ours, theirs = self.champion(frame), self.estimator(self.said(frame))
        if ours is None or theirs is None:
            return None
        gain = metric(self.spec.problem, self.spec.search.metric).measure.gain(theirs.value, ours.value)
        return theirs, gain, math.hypot(theirs.high - theirs.low, ours.high - ours.low) / 2

    def error(self, labelled: pd.DataFrame) -> float | None:
        """By how much the other's gain on rows with labels is less than it would have been estimated."""
        measured = metric(self.spec.problem, self.spec.search.metric)
        guessed = self.estimate(labelled)
        if guessed is None:
            return None
        labels, of_columns = self.spec.problem.labels(labelled[LABEL]), self.spec.problem.of_columns
        theirs, ours = (measured.value(labels, of_columns(each)) for each in (self.said(labelled), labelled))
        return finite(guessed[1] - measured.measure.gain(theirs, ours))

    def said(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Rows with the other's predictions."""
        return _saying(self.spec, frame, self.other.answers(frame))


def _one(
    both: _Both, reference: Reference, asked: pd.DataFrame, scored: pd.DataFrame | None, known: Sequence[float]
) -> list[Rival]:
    made = both.estimate(asked)
    if made is None:
        return []
    estimate, gain, chance = made
    errors = known if len(known) >= bounds.LEAST else _errors_of_reference(both, reference)
    bound = max(0.0, bounds.value(errors)) + chance if len(errors) >= bounds.LEAST else None
    error = None if scored is None else both.error(scored)
    named = both.other.name, both.other.version
    return [Rival(name=named[0], version=named[1], estimated=estimate.value, gain=gain, bound=bound, error=error)]


def _errors_of_reference(both: _Both, reference: Reference) -> list[float]:
    """The errors of each interval of the champion's reference that is new to both."""
    rows, until = reference.rows, both.other.learned_to
    if until is not None:
        rows = rows[rows[EVENT] > until] if EVENT in rows else rows.head(0)
    whole = Reference(both.spec, rows)
    parts = [part for _, part in rows.groupby(whole.groups) if len(part) >= _FEWEST]
    return [error for error in map(both.error, parts) if error is not None]


def _as_asked(spec: ModelSpec, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows with all that a baseline may name; the reference has no keys."""
    moments = frame[EVENT] if EVENT in frame else frame.reindex(columns=[AS_OF])[AS_OF]
    named: pd.DataFrame = frame.reindex(columns=[*spec.keys, *spec.feature_types]).assign(**{EVENT: moments})
    return named


def _saying(spec: ModelSpec, frame: pd.DataFrame, answers: Floats) -> pd.DataFrame:
    said: pd.DataFrame = frame.assign(**spec.problem.columns(answers))
    return said
