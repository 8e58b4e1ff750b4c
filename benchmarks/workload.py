"""A real Postgres, a lake and a server of the benchmark's own, below a temporary folder; all of it goes when the run ends."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from evergreen.interval import Interval
from evergreen.local import postgres
from evergreen.local.processes import Processes, Service
from evergreen.run import Run
from evergreen.settings import PROJECT, Settings, settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from evergreen_simulator import landing
from evergreen_simulator.delivery import World

FIRST = date(2026, 1, 1)


@contextmanager
def home() -> Iterator[Settings]:
    """Settings on a fresh folder and a fresh Postgres."""
    with tempfile.TemporaryDirectory(prefix="evergreen-bench-") as folder:
        processes = Processes(Path(folder))
        cluster = postgres.cluster(Path(folder) / "postgres", postgres.free_port(), secrets.token_hex(8))
        postgres.prepare(cluster)
        service = Service(
            "postgres", cluster.command(), dict(os.environ), lambda: postgres.answers(cluster.url), 30, cluster.user
        )
        processes.start(service)
        try:
            processes.wait(service)
            postgres.create_databases(cluster.url, ["evergreen", "feast", "optuna"])
            os.environ |= {"EVERGREEN_HOME": folder, "EVERGREEN_DATABASE": cluster.url}
            settings.cache_clear()
            yield settings()
        finally:
            processes.stop(*processes.names())
            postgres.remove(cluster)


def ingest(here: Settings, customers: int, days: int) -> tuple[ModelSpec, list[Run]]:
    """The churn model with days ingested by its stages, in this process."""
    from evergreen.local import loops

    spec = load_spec(PROJECT / "include" / "models" / "churn")
    last = FIRST + timedelta(days=days - 1)
    for _ in landing.write_days(World(1, customers), FIRST, last, here.landing):
        pass
    runs = [loops.of(spec, Interval.of_day(FIRST + timedelta(days=number))) for number in range(days)]
    for run in runs:
        loops.run(run, "ingest")
    return spec, runs
