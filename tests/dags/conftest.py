"""One parse of the real DAG folder by the real DagBag, without a database."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

PROJECT = Path(__file__).resolve().parents[2]

# Airflow reads its configuration once, at its first import.
os.environ.setdefault("AIRFLOW_HOME", str(PROJECT / ".evergreen" / "airflow-tests"))
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"
os.environ["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] = "False"

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag


@pytest.fixture(scope="session")
def dag_bag() -> Iterator[DagBag]:
    from airflow.dag_processing.dagbag import DagBag

    yield DagBag(PROJECT / "dags")


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `code`."""
    import json
    import subprocess

    script = f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "include")}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment, cwd=PROJECT
    )
    return set(json.loads(done.stdout.splitlines()[-1]))
