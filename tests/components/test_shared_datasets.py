"""Models that share datasets, as they ship: what is shared is ingested once, and each model learns its own label."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest

from evergreen.features import replacement
from evergreen.interval import Interval
from evergreen.lake import catalogue, partitions, staging, tables
from evergreen.lake.schema import FEATURES, LABELS, RAW, Partition, online
from evergreen.local.postgres import create_databases
from evergreen.loops import inline
from evergreen.run import Run
from evergreen.settings import PROJECT, settings
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.load import Declared, load
from evergreen.spec.schema import ModelSpec
from evergreen_simulator import landing, outreach
from evergreen_simulator.delivery import World

FIRST, DAYS = date(2026, 1, 1), 13
LAST = FIRST + timedelta(days=DAYS - 1)
WORLD = World(5, 120)


@dataclass
class Shared:
    """The shipped folders, and how often each partition was written while their datasets were ingested."""

    declared: Declared
    written: Counter[str]

    def model(self, name: str) -> ModelSpec:
        """One of the models."""
        spec = self.declared.models[name]
        assert isinstance(spec, ModelSpec), spec
        return spec

    def run(self, spec: ModelSpec) -> Run:
        """A run of a model's own loops, on the last day."""
        return inline.of(spec, Interval.of_day(LAST))


@pytest.fixture(scope="module")
def shared(postgres_url: str, mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Both datasets of customers, ingested; what a test does, the next one finds."""
    prefix = f"t{os.getpid()}_shared_"
    create_databases(postgres_url, [f"{prefix}{name}" for name in ("evergreen", "optuna", "feast")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_HOME", str(tmp_path_factory.mktemp("shared")))
        patch.setenv("EVERGREEN_DATABASE", postgres_url)
        patch.setenv("EVERGREEN_DATABASE_PREFIX", prefix)
        patch.setenv("EVERGREEN_MLFLOW_URL", mlflow_url)
        settings.cache_clear()
        list(landing.write_days(WORLD, FIRST, LAST, settings().landing))
        list(outreach.write_days(WORLD.business, FIRST, LAST, settings().landing))
        written: Counter[str] = Counter()
        replace = partitions.replace

        def counting(partition: Partition, *arguments: Any, **options: Any) -> catalogue.Entry:
            written[str(partition)] += 1
            return replace(partition, *arguments, **options)

        patch.setattr(partitions, "replace", counting)
        put_online = replacement.replace

        def counting_online(spec: DatasetSpec, view: str, partition: str) -> None:
            written[str(online(FEATURES.of(spec.name, view)).at(partition))] += 1
            put_online(spec, view, partition)

        patch.setattr(replacement, "replace", counting_online)
        declared = load(PROJECT / "include" / "models")
        for number in range(DAYS):
            for dataset in declared.valid_datasets:
                if dataset.name in ("churn", "outreach"):
                    inline.run(inline.of(dataset, Interval.of_day(FIRST + timedelta(days=number))), "ingest")
        yield Shared(declared, written)
    settings.cache_clear()


def test_what_several_models_use_is_ingested_computed_and_materialized_once(shared: Shared) -> None:
    using = [spec.model for spec in shared.declared.valid_models if "churn" in spec.datasets]
    assert using == ["churn", "newsletter", "tickets"]
    churn = shared.model("churn").datasets["churn"]
    assert all(shared.model(name).datasets["churn"] == churn for name in using)
    days = [(FIRST + timedelta(days=number)).isoformat() for number in range(DAYS)]
    raw = {str(RAW.of("churn", source).at(day)): 1 for source in churn.sources for day in days}
    views = {str(FEATURES.of("churn", view).at(day)): 1 for view in churn.features for day in days}
    of_churn = {name: times for name, times in shared.written.items() if name.startswith("churn/")}
    stored = {str(online(FEATURES.of("churn", view)).at(day)): 1 for view in churn.features for day in days}
    assert {name: times for name, times in of_churn.items() if "/quarantine/" not in name} == raw | views | stored
    assert {name.partition("/")[0] for name in shared.written} == {"churn", "outreach"}, "no model has tables of data"


def test_labels_are_computed_by_the_loops_of_the_model_that_learns_them(shared: Shared) -> None:
    assert not any("/labels/" in name for name in shared.written)
    for name, label, horizon in (("churn", "churned", 3), ("tickets", "tickets_7d", 7), ("newsletter", "opens", 3)):
        spec = shared.model(name)
        inline.run(shared.run(spec), "train", last="labels")
        matured = [(FIRST + timedelta(days=number)).isoformat() for number in range(DAYS - horizon)]
        assert list(catalogue.published(LABELS.of(name, label))) == matured
        assert not inline.run(shared.run(spec), "train", last="labels")["labels"].partitions, "again: nothing to do"
    table = tables.read(LABELS.of("tickets", "tickets_7d"), columns=["tickets_7d"])
    assert table is not None and max(table["tickets_7d"].to_pylist()) >= 2, "a number, and not only yes or no"


def test_a_model_of_two_datasets_trains_on_the_features_that_it_names(shared: Shared) -> None:
    spec = shared.model("newsletter")
    assert list(spec.datasets) == ["churn", "outreach"]
    split = spec.split.model_copy(update={"minimum_rows": 300, "evaluation": timedelta(days=3)})
    search = spec.search.model_copy(update={"trials": 2})
    gates = spec.gates.model_copy(update={"minimum_rows": 100, "floor": {"roc_auc": 0.55}})
    small = spec.model_copy(update={"split": split, "search": search, "gates": gates})
    done = inline.run(shared.run(small), "train", last="gates")
    frame = staging.read(done["build"].staged).to_pandas()
    used = ["plan", "tenure_days", "sessions_7d", "days_since_last_session"]
    used += ["emails_28d", "opened_share_28d", "opened_last"]
    assert list(frame.columns) == ["customer_id", "event_timestamp", *used, "opens"]
    latest = frame[frame["event_timestamp"] == frame["event_timestamp"].max()]
    assert (latest[["sessions_7d", "emails_28d"]].notna().mean() > 0.8).all(), "both datasets' features are joined"
    assert set(done["build"].versions) == {
        "labels/opens",
        "churn/features/account",
        "churn/features/activity",
        "outreach/features/attention",
    }
    assert done["gates"].passed, done["gates"].reason
