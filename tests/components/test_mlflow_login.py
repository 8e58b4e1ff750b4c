"""MLflow's login on a database that has nothing yet, as in a first start with several workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evergreen.local import postgres

# All that takes long is loaded before they begin together.
WORKER = """
import sys, mlflow.server.fastapi_app, mlflow.server.auth.sqlalchemy_store as store
from evergreen.registry import login
print("ready", flush=True)
sys.stdin.readline()
login.create_app()
"""


@pytest.mark.long
def test_workers_that_start_at_once_make_the_logins_tables_once(postgres_url: str, tmp_path: Path) -> None:
    name = f"t{os.getpid()}_workers_mlflow_auth"
    postgres.create_databases(postgres_url, [name])
    environment = os.environ | {
        "EVERGREEN_HOME": str(tmp_path),
        "EVERGREEN_SERVICE": "mlflow",
        "EVERGREEN_DATABASE_MLFLOW_AUTH": f"{postgres_url}/{name}",
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": "of the administrator",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of the forms",
        "MLFLOW_BACKEND_STORE_URI": f"{postgres_url}/{name}",
        "_MLFLOW_SGI_NAME": "uvicorn",
    }
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
        for worker in workers:
            _, output = worker.communicate(timeout=120)
            assert worker.returncode == 0, output[-2000:]
    finally:
        for worker in workers:
            worker.kill()
