"""The executor of deploy/compose.yaml: what the lock holds of Celery must fit its provider,
which nothing else here imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_celery_executor_loads(tmp_path: Path) -> None:
    code = (
        "from airflow.executors.executor_loader import ExecutorLoader\n"
        "print(ExecutorLoader.get_default_executor().__class__.__name__)"
    )
    environment = {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.split()[-1] == "CeleryExecutor", done.stderr
