"""A server whose versions have graphs loads no library of training: it starts in seconds and stays small."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from evergreen.settings import PROJECT

from .conftest import ServedModel, customer

TRAINING = {"duckdb", "deltalake", "feast", "mlflow", "onnx", "pandas", "pyarrow", "scipy", "sklearn", "skops"}
TRAINING |= {"sqlalchemy", "tensorflow"}
SERVING = """
import json, sys, time
from fastapi.testclient import TestClient
from evergreen.serve.app import create_serving_app
from evergreen.serve.hosts import Hosts
from evergreen.serve.models import Models

name, customer = sys.argv[1:]
models = Models([name])
hot = create_serving_app(models, Hosts())
with TestClient(hot) as client:
    deadline = time.monotonic() + 60
    while not (models.slots[name].looked and hot.app.state.server.data.standings) and time.monotonic() < deadline:
        time.sleep(0.05)
    answers = [client.post(f"/models/{name}/predict", json={"entity": {"customer_id": customer}})]
    answers += [client.get(path) for path in ("/readyz", "/metrics", "/docs", f"/models/{name}")]
    print(json.dumps([[each.status_code for each in answers], answers[0].json(), answers[-1].json(), [*sys.modules]]))
"""


def test_a_version_with_a_graph_is_served_without_the_libraries_of_training(alone: ServedModel) -> None:
    alone.graphs = True
    server = alone.serve()
    number = alone.champion(3)
    server.stop()
    done = subprocess.run(
        [sys.executable, "-c", SERVING, alone.name, customer(1)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT / "include")},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    statuses, answered, described, modules = json.loads(done.stdout)
    assert statuses == [200] * 5, done.stdout
    assert (answered["version"], described["problem"]) == (number, None)
    # One row may be added up in another order than many.
    assert answered["predictions"][0]["prediction"] == pytest.approx(alone.answers(number)[1], abs=1e-12)
    assert not {module.partition(".")[0] for module in modules} & TRAINING
