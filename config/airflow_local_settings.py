"""Airflow imports this module in every one of its processes; it loads the heavy libraries into the scheduler only.

LocalExecutor forks its workers from the scheduler and tasks from the workers, so what is imported here costs each task nothing:
a task that uses all of these libraries would otherwise spend 16 s and more on importing. No other process pays for it.
EVERGREEN_PRELOAD=0 turns it off (less memory, slower tasks).
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings

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
    "evergreen.features.store",
    "evergreen.monitor.drift",
    "evergreen.monitor.stages",
    "evergreen.orchestration.retrain",
    "evergreen.registry.store",
    "evergreen.serve.stages",
    "evergreen.train.tracking",
    "evergreen.train.tuning",
    "evergreen.validate.data_docs",
    "evergreen.validate.expectations",
)


def in_scheduler() -> bool:
    """Whether this process is `airflow scheduler`."""
    return os.environ.get("EVERGREEN_PRELOAD", "1") == "1" and "scheduler" in sys.argv[1:2]


if in_scheduler():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries' own imports; tasks' warnings stay
        for name in PRELOADED:
            importlib.import_module(name)
