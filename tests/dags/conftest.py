"""One parse of the real DAG folder by the real DagBag, without a database."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

PROJECT = Path(__file__).resolve().parents[2]

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag


@pytest.fixture(scope="session")
def dag_bag() -> Iterator[DagBag]:
    from airflow.dag_processing.dagbag import DagBag

    yield DagBag(PROJECT / "dags")


def alone(code: str, **variables: str) -> str:
    """The last line that `code` prints in a fresh interpreter with these variables in its environment."""
    import subprocess

    environment = os.environ | {"PYTHONPATH": str(PROJECT / "include")} | variables
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment, cwd=PROJECT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


def modules_after(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `code`."""
    import json

    return set(json.loads(alone(f"import sys, json\n{code}\nprint(json.dumps(sorted(sys.modules)))")))
