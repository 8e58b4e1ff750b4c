"""One Optuna study per family, in Postgres: resumed after a kill, pruned on time folds, with
the same best trial whatever the timing.

Trials run one after the other. A study keeps what it tries first, from the moment at which it is created; what trial
`n` tries is a function of that, the seed, `n` and the finished trials before it. A trial that a killed process left
behind is marked failed, which neither sampler nor pruner looks at, so its successor tries the same.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from statistics import fmean
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from evergreen import database
from evergreen.answers import of_postgres
from evergreen.settings import settings
from evergreen.train.rules import Proposal

log = logging.getLogger(__name__)

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_RANDOM_TRIALS = 4  # or proposed ones, before the sampler learns from them
_FIRST = "evergreen.first"  # of a study: what it tries first
_PROPOSED_BY = "proposed_by"  # of a trial
_FOLDS = "folds"  # of a trial that came to its end: the score of each
_UNPRUNED_TRIALS = 3  # before a trial is compared with the median of those before it

# The score of each fold in turn, for the parameters that it asks of the trial. NaN: the model diverged.
Scores = Callable[[optuna.Trial], Iterator[float]]


def alone(name: str) -> AbstractContextManager[None]:
    """Only one process at a time works on a study: a trial that is still running
    must not be taken for one left behind."""
    return database.locked(name, "optuna")


def study(model: str, key: str, family: str) -> str:
    """The name of the study of a training key and family."""
    return f"{model}/{key}/{family}"


def is_idle(name: str) -> bool:
    """Whether no process works on a study."""
    return database.is_free(name, "optuna")


def proposer(trial: optuna.trial.FrozenTrial) -> str:
    """What chose the parameters of a trial: a proposal's `proposed_by`, or `sampler`."""
    return str(trial.user_attrs.get(_PROPOSED_BY, "sampler"))


def of_folds(trial: optuna.trial.FrozenTrial) -> tuple[float, ...]:
    """The score of each fold of a trial that came to its end."""
    return tuple(trial.user_attrs[_FOLDS])


def loaded(name: str) -> optuna.Study | None:
    """A study as it is, apart from its storage; None: there is none."""
    with _storage() as storage:
        try:
            study = optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            return None
        copy = optuna.create_study(direction=study.direction)
        copy.add_trials(study.get_trials(states=FINISHED))
        return copy


def best(name: str, most: int) -> list[dict[str, Any]]:
    """The parameters of a finished study's best trials that came to their ends, the best
    first; empty when there is no such study."""
    with _storage() as storage:
        try:
            study = optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            return []
        ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        sign = -1 if study.direction == StudyDirection.MAXIMIZE else 1
        return [dict(trial.params) for trial in sorted(ended, key=lambda trial: sign * trial.value)[:most]]


def search(
    name: str | None,
    scores: Scores,
    *,
    trials: int,
    seed: int | str,
    maximize: bool,
    first: Callable[[], Sequence[Proposal]] = tuple,
) -> list[optuna.trial.FrozenTrial]:
    """Run a study until it has `trials` finished trials; one that has them runs none.

    Args:
        name: None: the study is kept nowhere.
        first: gives what is tried before the sampler proposes anything; called when the study is new.

    Returns:
        The finished trials, in order; pruned ones have the score at which they were pruned.

    Raises:
        ServiceUnavailable: the database went away; what was interrupted goes on when the task is retried.
        RequestRefused: it does not let our login in.
    """
    try:
        with nullcontext(None) if name is None else _storage() as storage:
            study = optuna.create_study(
                study_name=name,
                storage=storage,
                load_if_exists=True,
                direction="maximize" if maximize else "minimize",
                pruner=optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED_TRIALS),
            )
            if _FIRST not in study.user_attrs:  # before its first trial, so that each attempt goes on with the same
                study.set_user_attr(_FIRST, [asdict(proposal) for proposal in first()])
            proposals = [Proposal(**kept) for kept in study.user_attrs[_FIRST]]
            for left in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                log.info("Trial %d was left behind by an attempt that was killed; it is tried again", left.number)
                study.tell(left.number, state=TrialState.FAIL)
            for number in range(len(study.get_trials(deepcopy=False, states=FINISHED)), trials):
                _run(study, _seed(seed, number), scores, next(iter(proposals[number : number + 1]), None))
            finished: list[optuna.trial.FrozenTrial] = study.get_trials(states=FINISHED)
            return finished
    except (StorageInternalError, OperationalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error  # Optuna's own words guess
        raise of_postgres(f"searching {name}", cause or error, database.remote("optuna")) from error


def _run(study: optuna.Study, seed: int, scores: Scores, proposal: Proposal | None) -> None:
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM_TRIALS)
    # One that waits was left by an attempt that was killed before it began the trial: it is this one.
    if proposal is not None and not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        study.enqueue_trial(proposal.parameters, user_attrs={_PROPOSED_BY: proposal.proposed_by})
    trial = study.ask()
    try:
        folds: list[float] = []
        for step, score in enumerate(scores(trial)):
            if not math.isfinite(score):
                raise optuna.TrialPruned
            folds.append(score)
            trial.report(fmean(folds), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        trial.set_user_attr(_FOLDS, folds)
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except Exception:
        study.tell(trial, state=TrialState.FAIL)
        raise
    else:
        study.tell(trial, fmean(folds))


def _seed(seed: int | str, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")


@contextmanager
def _storage() -> Iterator[optuna.storages.RDBStorage]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # its chatter is no part of a task's log
    # The first storage creates the tables; families that start at the same time would collide.
    with database.locked("optuna tables", "optuna"):
        storage = optuna.storages.RDBStorage(settings().database_url("optuna", "postgresql+psycopg2"))
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()
