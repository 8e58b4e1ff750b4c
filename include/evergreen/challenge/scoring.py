"""From answers to tallies: how each answer of champion and challenger scores, by measure, from 0 to 1; less is better.

Where the challenger answers its share of the entities, an answer that the champion gave in its place is nobody's: it is
told by the challenger's failure. Where it is a shadow, its answers stand beside the champion's to the same requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.history.rollouts import RolloutOpened
from evergreen.rollout.sequential import MEASURES, Measure, Way
from evergreen.rollout.tallies import Sums, Tally, cell
from evergreen.spec.columns import AS_OF, KNOWN_AT, LABEL, REQUEST_ID
from evergreen.spec.problem import Problem
from evergreen.spec.schema import ModelSpec

Floats = npt.NDArray[np.float64]

ENOUGH = 200  # answers of the champion, before which nobody knows where its answers lie
FIRST = 1_000  # of the rollout that are looked at in place of those before it
TOLD = 3_000  # answers of each version about one entity alone, before slow ones are told from chance
SLOWEST = 0.99  # a slow answer takes longer than so many of the champion's
_ARM, _CELL = "arm", "cell"
_REQUEST, _ANSWER = "request", "wanted"  # numbers of requests, and of answers that were wanted
_OF_REQUEST = [AS_OF, REQUEST_ID]
_ASKED = [*_OF_REQUEST, "position"]  # what tells one answer that was wanted from another


@dataclass(frozen=True)
class Known:
    """What the champion's answers were before: what later ones are compared by.

    Attributes:
        ranked: where its answers lay, sorted; empty: too few are known.
        slow: seconds that nearly all answers took at most; None: not known, or too few are asked for one by one.
        spread: of a number, what is a whole loss.
        place: of several classes, the one whose probability is looked at.
    """

    ranked: Floats
    slow: float | None
    spread: float
    place: int


def known(spec: ModelSpec, opened: RolloutOpened, before: pd.DataFrame, answers: pd.DataFrame) -> Known:
    """By the champion's answers before the rollout; where they are too few, by its first ones in it.

    Args:
        opened: the rollout.
        before: its champion's newest answers before it.
        answers: of the rollout.
    """
    ours = before[~before["failed"]]
    if len(ours) < ENOUGH:
        ours = answers[(answers["role"] == "champion") & ~answers["failed"]].sort_values(_ASKED).head(FIRST)
    if len(ours) < (ENOUGH if len(before) >= ENOUGH else FIRST):
        return Known(np.empty(0), None, 1.0, 0)
    answered = _answered(spec.problem, ours)
    place = int(np.bincount(answered.argmax(axis=1)).argmax()) if spec.problem.by_class else 0
    level = np.sort(_level(answered, place))
    low, high = np.quantile(level, [0.01, 0.99])
    alone = ours[_alone(_numbered(ours))]["seconds"].dropna()
    told = len(alone) >= ENOUGH and _to_come(opened, ours, len(alone)) >= TOLD
    return Known(level, float(alone.quantile(SLOWEST)) if told else None, float(high - low) or 1.0, place)


def _to_come(opened: RolloutOpened, before: pd.DataFrame, alone: int) -> float:
    """How many answers about one entity alone the version with fewer of them will have given, at most."""
    past = (before[AS_OF].max() - before[AS_OF].min()).total_seconds() or 1.0
    share = max(min(step.share, 100 - step.share) for step in opened.steps) / 100
    return alone / past * opened.at_most.total_seconds() * share


def measures(opened: RolloutOpened, known: Known) -> tuple[Measure, ...]:
    """What a rollout is compared in, from its first look to its last.

    An answer that is no number is a failure, as the log has it. How long a shadow takes beside other work tells nothing
    of how long its clients would wait; nor does a part of a request that was dealt to a version. So only answers about
    one entity alone are compared, and where too few of them will come, it is left to the guards of the model server.
    """
    without = {"non-finite answers"}
    if "dealt" not in ways(opened) or (known.slow is None and len(known.ranked) > 0):
        without.add("slow answers")
    return tuple(each for each in MEASURES if each.name not in without)


def ways(opened: RolloutOpened) -> tuple[Way, ...]:
    """In which a rollout compares, by its steps."""
    roles = {step.role for step in opened.steps}
    both: tuple[tuple[str, Way], ...] = (("shadow", "paired"), ("challenger", "dealt"))
    return tuple(way for role, way in both if role in roles)


def tallies(spec: ModelSpec, known: Known, answers: pd.DataFrame, labels: pd.DataFrame | None) -> dict[str, Tally]:
    """By measure, all that was seen of a rollout.

    Args:
        answers: of both versions: as `answers.read` has them.
        labels: those that are known; None: none are.
    """
    cells = {entity: cell(entity) for entity in answers["entity"].unique()}
    rows = _numbered(answers.assign(**{_CELL: answers["entity"].map(cells)}).sort_values(_ASKED))
    paired, dealt = _paired(rows[rows["share"] == 0]), _dealt(rows[rows["share"] > 0])
    scored: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
        "errors": _errors,
        "slow answers": lambda frame: _slow(known, frame),
        "answers": lambda frame: _moved(spec, known, frame),
        "outcomes": lambda frame: _lost(spec, known, frame, labels),
    }
    return {name: Tally(_by_share(score(dealt)), _whole(score(paired))) for name, score in scored.items()}


def _numbered(rows: pd.DataFrame) -> pd.DataFrame:
    """With the numbers by which rows are grouped: once, as moments and texts take long to compare."""
    groups = {_REQUEST: _OF_REQUEST, _ANSWER: _ASKED}
    return rows.assign(**{name: rows.groupby(by, sort=False).ngroup() for name, by in groups.items()})


def _paired(rows: pd.DataFrame) -> pd.DataFrame:
    """The requests that both answered, or in which the shadow failed: a row for each of the two."""
    both = rows.assign(**{_ARM: (rows["role"] == "shadow").astype(int)})
    return both[both.groupby(_ANSWER)[_ARM].transform("nunique") == 2] if len(both) else both


def _dealt(rows: pd.DataFrame) -> pd.DataFrame:
    """What each of the two was asked, without what the champion answered in the other's place."""
    theirs = (rows["role"] == "challenger").astype(int)
    both = rows.assign(**{_ARM: theirs})
    if both.empty:
        return both
    return both[(both[_ARM] == 1) | (both.groupby(_ANSWER)[_ARM].transform("max") == 0)]


def _errors(rows: pd.DataFrame) -> pd.DataFrame:
    """1 for the first failure of an entity with a version."""
    failed = rows[rows["failed"]].drop_duplicates(["entity", _ARM]).index
    return rows.assign(score=rows.index.isin(failed).astype(float))


def _slow(known: Known, rows: pd.DataFrame) -> pd.DataFrame:
    if known.slow is None:
        return rows.head(0)
    ours = rows[~rows["failed"] & rows["seconds"].notna() & _alone(rows)]
    return ours.assign(score=(ours["seconds"] > known.slow).astype(float))


def _moved(spec: ModelSpec, known: Known, rows: pd.DataFrame) -> pd.DataFrame:
    """Where an answer lies among the champion's."""
    ours = _complete(rows[~rows["failed"]])
    if not len(known.ranked) or ours.empty:
        return ours.head(0)
    level = _level(_answered(spec.problem, ours), known.place)
    below, upto = (np.searchsorted(known.ranked, level, side) for side in ("left", "right"))
    return ours.assign(score=(below + upto) / 2 / len(known.ranked))


def _lost(spec: ModelSpec, known: Known, rows: pd.DataFrame, labels: pd.DataFrame | None) -> pd.DataFrame:
    """The loss of each outcome's first answer by a version."""
    ours = _complete(rows[~rows["failed"]])
    if labels is None or ours.empty:
        return ours.head(0)
    on = [*spec.asking.outcome_keys]
    first = ours.drop_duplicates([*on, _ARM])
    outcomes = labels[labels[KNOWN_AT].notna()][[*on, LABEL]].drop_duplicates(on)
    labelled = _complete(first.merge(outcomes, on=on))
    if labelled.empty:
        return labelled
    said = spec.problem.labels(labelled[LABEL])
    return labelled.assign(score=losses(spec.problem, said, _answered(spec.problem, labelled), known.spread))


def losses(problem: Problem, labels: npt.NDArray[np.generic], answers: Floats, spread: float) -> Floats:
    """Of each answer from 0 to 1: the squared error of probabilities, of several classes half its sum; of a number the
    error, where the spread of the champion's answers is a whole loss."""
    lost: Floats
    if problem.by_class:
        right = np.zeros_like(answers)
        right[np.arange(len(answers)), labels.astype(np.int64)] = 1
        lost = ((answers - right) ** 2).sum(axis=1) / 2
    elif problem.kind == "numeric":
        lost = np.abs(answers - labels.astype(np.float64)) / spread
    else:
        lost = (answers - labels.astype(np.float64)) ** 2
    return np.clip(lost, 0.0, 1.0)


def _complete(rows: pd.DataFrame) -> pd.DataFrame:
    """Of pairs those of which both are left."""
    pairs = rows["share"] == 0
    if not pairs.any():
        return rows
    return rows[~pairs | (rows.groupby(_ANSWER)[_ARM].transform("nunique") == 2)]


def _alone(rows: pd.DataFrame) -> pd.Series[bool]:
    """Whether a request is about one entity."""
    return rows.groupby(_REQUEST)["entity"].transform("size") == 1


def _answered(problem: Problem, rows: pd.DataFrame) -> Floats:
    return problem.predictions([*rows["answer"]])


def _level(answered: Floats, place: int) -> Floats:
    """One number for each answer."""
    return answered[:, place] if answered.ndim > 1 else answered


def _by_share(scored: pd.DataFrame) -> dict[float, Sums]:
    return {share / 100: _whole(scored[scored["share"] == share]) for share in scored["share"].unique().tolist()}


def _whole(scored: pd.DataFrame) -> Sums:
    if scored.empty:
        return Sums()
    columns: Sequence[str] = (_ARM, _CELL, "score")
    return Sums.of(*(scored[column].to_numpy() for column in columns))
