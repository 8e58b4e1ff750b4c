"""One Optuna study a family, in Postgres: resumed after a kill, pruned on time folds, with the same best trial whatever the timing.

Trials run one after the other. What trial `n` tries is a function of the seed, `n`, and the results of the trials before it; a trial
that a killed process left behind is marked failed and does not count, so trial `n` is tried again as it would have been.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from functools import cache

import optuna
from optuna.trial import TrialState

from evergreen.lake import postgres
from evergreen.settings import settings

log = logging.getLogger(__name__)

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# A trial yields the score of each fold in turn; after each one it may be pruned.
Scores = Callable[[optuna.Trial], Iterator[float]]


def tune(name: str, scores: Scores, *, trials: int, seed: int, maximize: bool) -> optuna.Study:
    """Run a study until it has `trials` finished trials; a finished one runs none."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=name,
        storage=_storage(settings().database_url("optuna", "postgresql+psycopg2")),
        direction="maximize" if maximize else "minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
        load_if_exists=True,
    )
    for orphan in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        log.info("Trial %d was left behind by an attempt that was killed; it is tried again", orphan.number)
        study.tell(orphan.number, state=TrialState.FAIL)
    for number in range(len(study.get_trials(deepcopy=False, states=FINISHED)), trials):
        study.sampler = optuna.samplers.TPESampler(seed=_seed(seed, number), n_startup_trials=5)
        trial = study.ask()
        try:
            study.tell(trial, _mean(trial, scores))
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
        except Exception:
            study.tell(trial, state=TrialState.FAIL)
            raise
    return study


def _mean(trial: optuna.Trial, scores: Scores) -> float:
    seen = []
    for step, score in enumerate(scores(trial)):
        seen.append(score)
        trial.report(sum(seen) / len(seen), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return sum(seen) / len(seen)


def _seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")


@cache
def _storage(url: str) -> optuna.storages.RDBStorage:
    # The first storage creates the tables; families that start at the same time would collide.
    with postgres.connect("optuna") as connection:
        connection.execute("select pg_advisory_xact_lock(hashtext('optuna tables'))")
        return optuna.storages.RDBStorage(url)
