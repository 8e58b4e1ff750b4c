"""Airflow imports this module in every one of its processes; it loads the heavy libraries
only into those that tasks are forked from, and what DAG files import into the one that forks their parsers.

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

from evergreen import cores
from evergreen.exposure import UMASK
from evergreen.orchestration import stuck
from evergreen.orchestration.collector import configure

PRELOADED = (
    "deltalake.fs",
    "duckdb",
    "evidently",
    "feast.infra.passthrough_provider",
    "feast.infra.online_stores.helpers",
    "feast.repo_operations",
    "great_expectations",
    "matplotlib.pyplot",
    "mlflow.sklearn",
    "mlflow.tracking.request_header.registry",  # MLflow loads it at its first request, and what Feast adds with it
    "onnx.checker",
    "onnxruntime",
    "optuna",
    "optuna.visualization.matplotlib",
    "skops.io",
    "sklearn.ensemble",
    "sklearn.pipeline",
    "tensorflow",
    # what our stages import, and DAG files, which every task parses anew: a change of it is seen after a restart
    "evergreen.challenge.answers",
    "evergreen.challenge.scoring",
    "evergreen.correct.planning",
    "evergreen.evaluate.describing",
    "evergreen.evaluate.judgements",
    "evergreen.evaluate.scoring",
    "evergreen.evaluate.stages",
    "evergreen.evaluate.telling",
    "evergreen.features.historical",
    "evergreen.features.replacement",
    "evergreen.govern.approvals",
    "evergreen.history.timeline",
    "evergreen.govern.carding",
    "evergreen.labels.writing",
    "evergreen.lake.calendars",
    "evergreen.lake.space",
    "evergreen.model.baseline",
    "evergreen.model.estimators",
    "evergreen.model.metrics",
    "evergreen.monitor.alerting",
    "evergreen.monitor.comparison",
    "evergreen.monitor.decisions",
    "evergreen.monitor.drawing",
    "evergreen.monitor.drift_report",
    "evergreen.monitor.findings",
    "evergreen.monitor.groups",
    "evergreen.monitor.live",
    "evergreen.monitor.origins",
    "evergreen.monitor.performing",
    "evergreen.monitor.recorded",
    "evergreen.monitor.rivals",
    "evergreen.monitor.seeing",
    "evergreen.monitor.skew",
    "evergreen.monitor.stages",
    "evergreen.monitor.windows",
    "evergreen.orchestration.airflow",
    "evergreen.registry.allowing",
    "evergreen.registry.candidates",
    "evergreen.registry.registering",
    "evergreen.registry.store",
    "evergreen.registry.tracking",
    "evergreen.rollout.controller",
    "evergreen.serve.client",
    "evergreen.serve.deployment",
    "evergreen.serve.opening",
    "evergreen.serve.problems",
    "evergreen.serve.probing",
    "evergreen.serve.rollback",
    "evergreen.serve.stages",
    "evergreen.status.facts",
    "evergreen.train.backtesting",
    "evergreen.train.choosing",
    "evergreen.train.costs",
    "evergreen.train.dataset",
    "evergreen.train.folding",
    "evergreen.train.records",
    "evergreen.train.refitting",
    "evergreen.train.searching",
    "evergreen.train.selecting",
    "evergreen.train.tuning",
    "evergreen.validate.data_docs",
    "evergreen.validate.expectations",
    "evergreen.validate.training",
    "evergreen.validate.usable",
)
PARSED = (  # what DAG files import, and what their specs name
    "evergreen.model.estimators",
    "evergreen.orchestration.airflow",
    "evergreen.orchestration.housekeeping",
    "evergreen.orchestration.serving",
)


configure(os.environ.get("EVERGREEN_OPENLINEAGE_URL", ""), os.environ)
stuck.asked_by_signal()
cores.one_for_algebra()
os.umask(UMASK)  # what Airflow and its tasks write is read by their owner alone


def forks_tasks() -> bool:
    """Whether this process is `airflow scheduler` or `airflow celery worker`."""
    parent = sys.argv[1:2] == ["scheduler"] or sys.argv[1:3] == ["celery", "worker"]
    return parent and os.environ.get("EVERGREEN_PRELOAD", "1") == "1"


if sys.argv[1:2] == ["dag-processor"]:
    # It parses each DAG file every half minute, each time in a process that it forks: what they import took most of it.
    for name in PARSED:
        importlib.import_module(name)

if forks_tasks():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries' own imports; tasks' warnings stay
        for name in PRELOADED:
            importlib.import_module(name)
        from evergreen.orchestration.preparing import prepare

        prepare()
