"""A model's folder of tests/specs/valid in settings of its own,
with its days in the landing zone and a running model server."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from evergreen.addresses import free_port
from evergreen.interval import Interval
from evergreen.local.postgres import create_databases
from evergreen.local.processes import Processes, Service
from evergreen.loops import inline
from evergreen.run import Run
from evergreen.settings import PROJECT, settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec


def day_run(spec: ModelSpec, number: int) -> Run:
    """The run of a day, the model's first being 0."""
    return inline.of(spec, Interval.of_day(spec.first_day + timedelta(days=number)))


def trained_after(spec: ModelSpec, days: int) -> dict[str, Any]:
    """Ingest the first days, and train as of the last of them; the results of the training, by stage."""
    for number in range(days):
        inline.ingest(spec, day_run(spec, number).interval)
    until_it_answers()
    return dict(inline.run(day_run(spec, days - 1), "train"))


@contextmanager
def served_folder(
    model: str,
    write_days: Callable[[Path], None],
    home: Path,
    postgres_url: str,
    mlflow_url: str,
    services: Processes,
    *,
    name: str | None = None,
    make: Callable[[Path], Path] | None = None,
) -> Iterator[ModelSpec]:
    """The folder's spec, in the settings of this process while the block runs; what a test does, the next one finds.

    Args:
        write_days: gets the landing zone.
        home: an empty folder.
        name: what the model is called, where others have tests of the same one: databases and MLflow are shared.
        make: makes the folder, which has that name already; None: it is a copy of the model's in tests/specs/valid.
    """
    name = name or model
    prefix, port, server = f"t{os.getpid()}_{name}_", free_port(), f"server-of-{name}"
    if make is not None:
        folder = make(home / "models" / name)
    else:
        folder = shutil.copytree(PROJECT / "tests" / "specs" / "valid" / model, home / "models" / name)
        declared = (folder / "model.yaml").read_text()
        (folder / "model.yaml").write_text(declared.replace(f"model: {model}\n", f"model: {name}\n", 1))
    create_databases(postgres_url, [f"{prefix}{name}" for name in ("evergreen", "optuna", "feast")])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "HOME": str(home),
            "MODELS": str(folder.parent),
            "DATABASE": postgres_url,
            "DATABASE_PREFIX": prefix,
            "MLFLOW_URL": mlflow_url,
            "SERVER_URL": f"http://127.0.0.1:{port}",
            "REPLAY": "1",
        }.items():
            patch.setenv(f"EVERGREEN_{name}", value)
        patch.setenv("PYTHONPATH", str(PROJECT / "include"))
        settings.cache_clear()
        write_days(Path(settings().landing))
        command = [sys.executable, "-m", "evergreen.serve", "--port", str(port)]
        services.start(Service(server, command, dict(os.environ), lambda: True))
        yield load_spec(folder, deep=True)
        services.stop(server)
    settings.cache_clear()


def until_it_answers() -> None:
    """Wait for the server; it imports while days are ingested."""
    url, deadline = f"{settings().server_url}/healthz", time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(url)
            return
        time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")
