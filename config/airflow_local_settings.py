"""Airflow imports this module in every one of its processes; it loads the heavy libraries
only into those that tasks are forked from.

LocalExecutor forks its workers from the scheduler and tasks from the workers, a Celery worker its pool and tasks from
that: what is imported here costs each task nothing. A task that uses all of these libraries would otherwise spend more
than ten seconds on importing (docs/benchmarks.md). With Celery the scheduler forks nothing: there EVERGREEN_PRELOAD=0
spares it. EVERGREEN_PRELOAD=0 turns it off (less memory, slower tasks).
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings

from evergreen.exposure import UMASK
from evergreen.orchestration.collector import configure

PRELOADED = (
    "deltalake",
    "duckdb",
    "evidently",
    "feast",
    "great_expectations",
    "mlflow.sklearn",
    "optuna",
    "skops.io",
    "sklearn.ensemble",
    "sklearn.pipeline",
    "tensorflow",
    # our own adapters and what a DAG file imports, which every task parses anew: a change of it is seen after a restart
    "evergreen.evaluate.stages",
    "evergreen.features.historical",
    "evergreen.features.replacement",
    "evergreen.monitor.comparison",
    "evergreen.monitor.stages",
    "evergreen.registry.candidates",
    "evergreen.registry.store",
    "evergreen.registry.tracking",
    "evergreen.serve.stages",
    "evergreen.train.tuning",
    "evergreen.validate.data_docs",
    "evergreen.validate.expectations",
    "evergreen.validate.usable",
)


configure(os.environ.get("EVERGREEN_OPENLINEAGE_URL", ""), os.environ)
os.umask(UMASK)  # what Airflow and its tasks write is read by their owner alone


def forks_tasks() -> bool:
    """Whether this process is `airflow scheduler` or `airflow celery worker`."""
    parent = sys.argv[1:2] == ["scheduler"] or sys.argv[1:3] == ["celery", "worker"]
    return parent and os.environ.get("EVERGREEN_PRELOAD", "1") == "1"


if forks_tasks():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries' own imports; tasks' warnings stay
        for name in PRELOADED:
            importlib.import_module(name)
