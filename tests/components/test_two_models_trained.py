"""The two models of the shipped dataset `churn`, as they ship, trained on one ingestion of its simulated business."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from evergreen.interval import Interval
from evergreen.local.postgres import create_databases
from evergreen.loops import inline
from evergreen.settings import PROJECT, settings
from evergreen.spec.load import Declared, load
from evergreen.spec.schema import ModelSpec
from evergreen_simulator import landing
from evergreen_simulator.delivery import World

FIRST, DAYS, CUSTOMERS = date(2026, 1, 1), 31, 1000
LAST = FIRST + timedelta(days=DAYS - 1)


@pytest.fixture(scope="module")
def ingested(postgres_url: str, mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Declared]:
    """A month of the business, as many customers as the demo has."""
    prefix = f"t{os.getpid()}_two_"
    create_databases(postgres_url, [f"{prefix}{name}" for name in ("evergreen", "optuna", "feast")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_HOME", str(tmp_path_factory.mktemp("two")))
        patch.setenv("EVERGREEN_DATABASE", postgres_url)
        patch.setenv("EVERGREEN_DATABASE_PREFIX", prefix)
        patch.setenv("EVERGREEN_MLFLOW_URL", mlflow_url)
        settings.cache_clear()
        list(landing.write_days(World(1, CUSTOMERS), FIRST, LAST, settings().landing))
        declared = load(PROJECT / "include" / "models")
        (churn,) = (each for each in declared.valid_datasets if each.name == "churn")
        for number in range(DAYS):
            inline.run(inline.of(churn, Interval.of_day(FIRST + timedelta(days=number))), "ingest")
        yield declared
    settings.cache_clear()


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", ["churn", "tickets"])
def test_a_shipped_model_passes_its_own_gates(ingested: Declared, name: str) -> None:
    spec = ingested.models[name]
    assert isinstance(spec, ModelSpec)
    done = inline.run(inline.of(spec, Interval.of_day(LAST)), "train", last="gates")
    assert {candidate.family for candidate in done["evaluate"].candidates} == set(spec.families)
    assert done["gates"].passed, done["gates"].reason
    assert "better than the baseline" in {gate.name for gate in done["gates"].gates}
