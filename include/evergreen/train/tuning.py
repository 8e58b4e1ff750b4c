"""One Optuna study per family, in Postgres: resumed after a kill, pruned on time folds, with the same best trial whatever the timing.

Trials run one after the other. What trial `n` tries is a function of the seed, `n` and the finished trials before it. A trial that a
killed process left behind is marked failed, which neither sampler nor pruner looks at, so its successor tries the same.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from evergreen import database
from evergreen.answers import of_postgres
from evergreen.settings import settings

log = logging.getLogger(__name__)

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_RANDOM_TRIALS = 4  # before the sampler learns from them
_UNPRUNED_TRIALS = 3  # before a trial is compared with the median of those before it

# The score of each fold in turn, for the parameters that it asks of the trial. NaN: the model diverged.
Scores = Callable[[optuna.Trial], Iterator[float]]


def alone(name: str) -> AbstractContextManager[None]:
    """Only one process at a time works on a study: a trial that is still running must not be taken for one left behind."""
    return database.locked(name, "optuna")


def study(model: str, key: str, family: str) -> str:
    """The name of the study of a training key and family."""
    return f"{model}/{key}/{family}"


def is_idle(name: str) -> bool:
    """Whether no process works on a study."""
    return database.is_free(name, "optuna")


def search(name: str, scores: Scores, *, trials: int, seed: int, maximize: bool) -> list[optuna.trial.FrozenTrial]:
    """Run a study until it has `trials` finished trials; one that has them runs none.

    Returns:
        The finished trials, in order; pruned ones have the score at which they were pruned.

    Raises:
        ServiceUnavailable: the database went away; what was interrupted goes on when the task is retried.
        RequestRefused: it does not let our login in.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with _storage() as storage:
            study = optuna.create_study(
                study_name=name, storage=storage, load_if_exists=True, direction="maximize" if maximize else "minimize",
                pruner=optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED_TRIALS),
            )  # fmt: skip
            for left in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                log.info("Trial %d was left behind by an attempt that was killed; it is tried again", left.number)
                study.tell(left.number, state=TrialState.FAIL)
            for number in range(len(study.get_trials(deepcopy=False, states=FINISHED)), trials):
                _run(study, _seed(seed, number), scores)
            finished: list[optuna.trial.FrozenTrial] = study.get_trials(states=FINISHED)
            return finished
    except (StorageInternalError, OperationalError) as error:
        said = error.__cause__ if isinstance(error, StorageInternalError) else error  # Optuna's own words guess
        raise of_postgres(f"searching {name}", said or error, database.remote("optuna")) from error


def _run(study: optuna.Study, seed: int, scores: Scores) -> None:
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM_TRIALS)
    trial = study.ask()
    try:
        total = 0.0
        for step, score in enumerate(scores(trial)):
            if not math.isfinite(score):
                raise optuna.TrialPruned
            total += score
            trial.report(total / (step + 1), step)
            if trial.should_prune():
                raise optuna.TrialPruned
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except Exception:
        study.tell(trial, state=TrialState.FAIL)
        raise
    else:
        study.tell(trial, total / (step + 1))


def _seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")


@contextmanager
def _storage() -> Iterator[optuna.storages.RDBStorage]:
    # The first storage creates the tables; families that start at the same time would collide.
    with database.locked("optuna tables", "optuna"):
        storage = optuna.storages.RDBStorage(settings().database_url("optuna", "postgresql+psycopg2"))
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()
