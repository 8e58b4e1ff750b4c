"""The simulated business on a stack of the benchmark's own, below a temporary
folder; all of it goes when the block ends."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import pairwise

from evergreen.addresses import free_port
from evergreen.interval import Interval
from evergreen.local import services as local_services
from evergreen.local import stack
from evergreen.local.processes import Processes, Service
from evergreen.loops.wire import LoopName
from evergreen.loops.wiring import LOOPS
from evergreen.run import AnyRun, DatasetRun, Run
from evergreen.settings import PROJECT, Settings, settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from evergreen_simulator import landing
from evergreen_simulator.delivery import World

FIRST = date(2026, 1, 1)
_BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"


@contextmanager
def empty_home() -> Iterator[Settings]:
    """Settings on a fresh folder and free ports; what is started there is stopped."""
    with _settings() as here:
        here.models.mkdir()
        try:
            yield here
        finally:
            stack.reset(ours=True)  # a command that fails at once leaves a home that no stack wrote


@contextmanager
def home() -> Iterator[Settings]:
    """Settings on a fresh folder, free ports and a Postgres that runs."""
    with _settings() as here:
        try:
            yield stack.up_database(here)
        finally:
            stack.reset(ours=True)


@contextmanager
def whole_stack(*models: str) -> Iterator[Settings]:
    """Everything that `make up` starts, on free ports, with the DAGs of this folder too.

    Args:
        models: churn under these names, whose folders are there before anything starts, as a team's are.
    """
    with _settings() as here:
        for name in models:
            model(here, name)
        bundles = [
            {"name": name, "classpath": _BUNDLE, "kwargs": {"path": str(PROJECT / folder)}}
            for name, folder in (("dags-folder", "dags"), ("benchmarks", "benchmarks/dags"))
        ]
        os.environ["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = json.dumps(bundles)
        os.environ["BENCHMARK_TASKS"] = str(len(LOOPS["ingest"].steps))  # of the chain in that folder
        try:
            yield stack.up(lambda text: print(f"  {text}", flush=True), replay=True)
        finally:
            stack.reset(ours=True)


@contextmanager
def _settings() -> Iterator[Settings]:
    with tempfile.TemporaryDirectory(prefix="evergreen-bench-") as folder:
        os.environ |= {
            "EVERGREEN_HOME": folder,
            "EVERGREEN_MODELS": f"{folder}/models",
            "EVERGREEN_POSTGRES_PORT": str(free_port()),
            "EVERGREEN_CLIENT_ENTITIES_PER_SECOND": "1000000",  # one client is all the load
            **{
                f"EVERGREEN_{name}_URL": f"http://127.0.0.1:{free_port()}"
                for name in ("AIRFLOW", "MLFLOW", "SERVER", "REPORTS")
            },
        }
        settings.cache_clear()
        yield settings()


@contextmanager
def service(here: Settings, wanted: Service) -> Iterator[None]:
    """A process that answers, until the end of the block."""
    processes = Processes(here.home)
    processes.start(wanted)
    try:
        processes.wait(wanted)
        yield
    finally:
        processes.stop(wanted.name)


def services(here: Settings) -> dict[str, Service]:
    """The services of the local stack, not yet started."""
    return local_services.services(here)


def model(here: Settings, name: str = "churn") -> ModelSpec:
    """The churn model, also under another name: the same work on tables of its own."""
    for kind, place, file in (("data", here.data, "data.yaml"), ("models", here.models, "model.yaml")):
        folder = shutil.copytree(PROJECT / "include" / kind / "churn", place / name)
        text = (folder / file).read_text()
        for key in ("dataset: churn\n", "model: churn\n", "  churn: ["):  # what the model uses is of that name too
            text = text.replace(key, key.replace("churn", name))
        (folder / file).write_text(text)
    return declared(here, name)


def declared(here: Settings, name: str) -> ModelSpec:
    """A model whose folders are there."""
    return load_spec(here.models / name, here.data)


def deliver(here: Settings, customers: int, first: date, days: int) -> list[Interval]:
    """Write days of batches into the landing zone; returns their intervals."""
    last = first + timedelta(days=days - 1)
    return [Interval.of_day(day) for day in landing.write_days(World(1, customers), first, last, here.landing)]


def deliver_elsewhere(customers: int, first: date, days: int) -> list[Interval]:
    """The same in a process of its own, whose memory is not ours; it finds the landing zone by its environment."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as upstream:
        return upstream.submit(_deliver, customers, first, days).result()


def _deliver(customers: int, first: date, days: int) -> list[Interval]:
    return deliver(settings(), customers, first, days)


def ingest(spec: ModelSpec, interval: Interval) -> dict[str, float]:
    """The tasks of a day in every dataset that a model uses: how long each took."""
    spent: dict[str, float] = {}
    for dataset in spec.datasets.values():
        for name, took in seconds(DatasetRun(dataset, interval), "ingest").items():
            spent[name] = spent.get(name, 0.0) + took
    return spent


def labels(run: Run) -> None:
    """Compute the labels that a training as of the run's moment uses."""
    from evergreen.loops import inline

    inline.run(run, "train", last="labels")


def seconds(run: AnyRun, loop: LoopName) -> dict[str, float]:
    """The tasks of a loop, one after the other in this process: how long each took."""
    from evergreen.loops import inline

    ended = [time.perf_counter()]
    names: list[str] = []

    def done(name: str) -> None:
        names.append(name)
        ended.append(time.perf_counter())

    inline.run(run, loop, done=done)
    return {name: after - before for name, (before, after) in zip(names, pairwise(ended), strict=True)}


def quiet() -> None:
    """The stages tell what they do: nobody listens."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
