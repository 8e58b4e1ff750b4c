"""Feast on a real Postgres and a real lake: who applies, what the online store keeps,
what the point-in-time join may know."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evergreen.errors import EvidenceMissing, PermanentError, ServiceUnavailable
from evergreen.features import historical, objects, offline_store, online_rows, online_store, online_values, repository
from evergreen.lake.schema import FEATURES
from evergreen.settings import PROJECT, Settings
from evergreen.settings import settings as evergreen_settings
from evergreen.spec.schema import ModelSpec

from .conftest import Model, at

SPEND = pa.schema(
    [
        ("customer_id", pa.string()),
        ("spent", pa.float64()),
        ("purchases", pa.int64()),
        ("big", pa.bool_()),
        ("event_timestamp", pa.timestamp("us", "UTC")),
        ("known_at", pa.timestamp("us", "UTC")),
        ("partition", pa.string()),
    ]
)


def spend(customer: str, event: float, spent: float | None, known: float | None = None) -> dict[str, Any]:
    known = event if known is None else known
    return {
        "customer_id": customer,
        "spent": spent,
        "purchases": None if spent is None else int(spent),
        "big": None if spent is None else spent > 5,
        "event_timestamp": at(event),
        "known_at": at(known),
        "partition": at(event - 1).date().isoformat(),
    }


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=SPEND)


def online(model: Model, customer: str = "a") -> tuple[float | None, datetime | None]:
    answer = online_rows.read(model.spec, [{"customer_id": customer}])[0]
    return answer["features"]["spent"], answer["features_at"]


def to_lake(model: Model, rows: Sequence[dict[str, Any]]) -> None:
    from evergreen.lake import tables

    for partition in {row["partition"] for row in rows}:
        own = [row for row in rows if row["partition"] == partition]
        tables.replace(FEATURES.of("tiny", "spend").at(partition), table(own))


class TestApply:
    def test_it_applies_once_and_again_when_the_spec_changes(self, model: Model) -> None:
        assert objects.ensure_applied(model.spec)
        assert not objects.ensure_applied(model.spec)
        views = model.spec.features | {
            "plan": model.spec.features["plan"].model_copy(
                update={"features": {"plan": "category", "region": "category"}}
            )
        }
        assert objects.ensure_applied(model.spec.model_copy(update={"features": views}))
        names = [field.name for field in repository.feature_store().get_feature_view("tiny__plan").features]
        assert names == ["plan", "region"]

    def test_it_leaves_other_models_alone(self, model: Model) -> None:
        other = model.spec.model_copy(update={"model": "other"})
        objects.ensure_applied(other)
        objects.ensure_applied(model.spec)
        assert {view.name for view in repository.feature_store().list_feature_views()} == {
            "tiny__spend",
            "tiny__plan",
            "other__spend",
            "other__plan",
        }

    def test_views_whose_names_differ_after_what_postgres_keeps_of_them_have_a_table_each(self, model: Model) -> None:
        spend_of = model.spec.features["spend"].model_copy(update={"features": {"spent": "float"}})
        last = model.spec.features["spend"].model_copy(update={"features": {"purchases": "int"}})
        views = {"customer_payments_last_28d": spend_of, "customer_payments_last_7d": last}
        spec = model.spec.model_copy(update={"model": "subscription_churn_probability", "features": views})
        objects.ensure_applied(spec)
        for view in views:
            online_values.write(spec.own_data(), view, table([spend("a", 1, 10.0)]))
        assert online_rows.read(spec, [{"customer_id": "a"}])[0]["features"] == {"spent": 10.0, "purchases": 10}

    def test_a_read_does_not_fail_for_connections_from_before_a_restart(self, model: Model) -> None:
        objects.ensure_applied(model.spec)
        online_values.write(model.data, "spend", table([spend("a", 1, 10.0)]))
        assert online(model) == (10.0, at(1))
        ended = (
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        with psycopg.connect(evergreen_settings().database_url("feast")) as other:
            assert other.execute(ended).fetchall(), "there was a connection to end"
        assert online(model) == (10.0, at(1))

    def test_postgres_forgets_what_it_had_noted_of_keys(self, model: Model, home: Settings) -> None:
        """In a table of the release before, when it is applied again, and when somebody is erased who is gone there."""

        def noted() -> str:
            with psycopg.connect(home.database_url("feast"), autocommit=True) as connection:
                connection.execute("analyze")
                query = "select attname, pg_stats::text from pg_stats where tablename = 'evergreen_tiny__spend'"
                return " ".join(text for row in connection.execute(query).fetchall() for text in row)

        def before() -> None:
            with psycopg.connect(home.database_url("feast")) as connection:
                for column in ("entity_key", "features"):
                    connection.execute(f"alter table evergreen_tiny__spend alter {column} set statistics 100")

        person, key = "person-0417", b"person-0417".hex()
        objects.ensure_applied(model.spec)
        rows = [spend(customer, 1, number) for number, customer in enumerate(["a", "b", person])]
        online_values.write(model.data, "spend", table(rows))
        assert "event_ts" in noted() and "entity_key" not in noted()
        before()
        assert key in noted(), "as it was"
        objects.ensure_applied(model.spec.model_copy(update={"description": "another", "features": {}}))
        store = repository.feature_store()
        store.provider.online_store.update(store.config, [], store.list_feature_views(), [], [], partial=False)
        assert key not in noted() and "features" not in noted()
        before()
        assert key in noted()
        with psycopg.connect(home.database_url("feast")) as connection:
            connection.execute("delete from evergreen_tiny__spend")
        assert key in noted(), "of an empty table Postgres takes none anew"
        assert online_values.erase(frozenset({"customer_id"}), person, apply=False) == 0 and key in noted()
        assert online_values.erase(frozenset({"customer_id"}), person, apply=True) == 0
        assert key not in noted()

    def test_a_view_whose_table_is_not_made_yet_is_written(self, model: Model, home: Settings) -> None:
        """Feast records a view before it makes its table: another process may write between, or this one be killed."""
        objects.ensure_applied(model.spec)
        with psycopg.connect(home.database_url("feast")) as connection:
            connection.execute("drop table evergreen_tiny__spend")
        online_values.write(model.data, "spend", table([spend("a", 1, 5)]))
        assert online(model) == (5.0, at(1))

    def test_processes_that_start_at_once_all_succeed(self, model: Model) -> None:
        fork = multiprocessing.get_context("fork")  # as Airflow's executor starts tasks
        processes = [fork.Process(target=_apply_and_write, args=(model.spec, number)) for number in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(timeout=150)
        assert [process.exitcode for process in processes] == [0, 0, 0, 0]
        assert online(model) == (3.0, at(4))
        assert online(model, "c199") == (3.0, at(4))

    @pytest.mark.long
    def test_the_feast_command_line_works_in_the_repository_as_it_is(self, home: Settings) -> None:
        def feast(*arguments: str) -> str:
            command = [str(Path(sys.executable).with_name("feast")), *arguments]
            environment = os.environ | {"PYTHONPATH": str(PROJECT / "include")}  # the package may not be installed here
            folder = PROJECT / "feature_repo"
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "Warning" not in done.stderr
            return done.stdout

        assert "Deploying infrastructure for churn__account" in feast("apply")
        assert "No changes to registry" in feast("plan")
        from evergreen.spec.load import load

        (churn,) = (spec for spec in load(home.models).valid_models if spec.model == "churn")
        assert not objects.ensure_applied(churn)  # the command and the stages apply the same objects


def _apply_and_write(spec: ModelSpec, number: int) -> None:
    objects.ensure_applied(spec)
    customers = ["a", *(f"c{n}" for n in range(200))]
    # in different orders: writers of the same entities must not deadlock
    customers = customers[number * 50 :] + customers[: number * 50]
    online_values.write(
        spec.own_data(), "spend", table([spend(customer, number + 1, float(number)) for customer in customers])
    )


class TestNotReady:
    def test_a_model_that_was_never_applied(self, model: Model) -> None:
        with pytest.raises(PermanentError, match="ingest an interval of tiny"):
            online_rows.read(model.spec, [{"customer_id": "a"}])

    def test_a_model_that_was_never_ingested(self, model: Model) -> None:
        objects.ensure_applied(model.spec)
        with pytest.raises(EvidenceMissing, match="no feature table yet"):
            historical.read(model.spec, pd.DataFrame({"customer_id": ["a"], "event_timestamp": [at(1)]}))

    def test_a_database_that_does_not_answer(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EVERGREEN_DATABASE", "postgresql://evergreen@127.0.0.1:1")
        evergreen_settings.cache_clear()
        with pytest.raises(ServiceUnavailable):
            objects.ensure_applied(model.spec)


class TestOnline:
    @pytest.fixture(autouse=True)
    def _applied(self, model: Model) -> None:
        objects.ensure_applied(model.spec)

    @pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
    def test_an_older_value_never_replaces_a_newer_one(self, model: Model, order: tuple[int, ...]) -> None:
        for day in order:
            online_values.write(model.data, "spend", table([spend("a", day, 10.0 * day)]))
        assert online(model) == (30.0, at(3))

    def test_an_equal_event_is_replaced_unless_it_was_known_earlier(self, model: Model) -> None:
        for spent, known, expected in ((1.0, 2.0, 1.0), (2.0, 2.0, 2.0), (3.0, 3.0, 3.0), (4.0, 2.0, 3.0)):
            online_values.write(model.data, "spend", table([spend("a", 2, spent, known)]))
            assert online(model) == (expected, at(2))

    def test_nulls_replace_values(self, model: Model) -> None:
        online_values.write(model.data, "spend", table([spend("a", 1, 7.0)]))
        online_values.write(model.data, "spend", table([spend("a", 2, None)]))  # every feature of every row: an outage
        assert online(model) == (None, at(2))

    def test_of_two_rows_of_an_entity_the_newest_wins_by_feasts_own_way_to_write_too(self, model: Model) -> None:
        rows = [spend("a", 2, 20.0), spend("a", 3, 30.0), spend("a", 1, 10.0), spend("b", 1, 5.0)]
        repository.feature_store().write_to_online_store("tiny__spend", pd.DataFrame(rows))
        assert (online(model), online(model, "b")) == ((30.0, at(3)), (5.0, at(1)))

    def test_of_two_rows_of_an_entity_in_a_partition_the_newest_wins(self, model: Model) -> None:
        rows = [spend("a", 2, 20.0, 3), spend("b", 1, 5.0), spend("a", 2, 21.0, 4), spend("a", 2, 22.0, 3.5)]
        online_values.write(model.spec, "spend", table(rows))
        assert (online(model), online(model, "b")) == ((21.0, at(2)), (5.0, at(1)))
        online_values.write(model.spec, "spend", table([spend("b", 3, 1.0), spend("b", 3, 2.0)]))
        assert online(model, "b") == (2.0, at(3)), "of equally new ones the last"

    def test_a_partition_that_is_replaced_says_whose_rows_it_does_not_have(self, model: Model) -> None:
        first = [spend(customer, 2, 1.0) for customer in ("a", "b", "c")]
        assert online_values.replace(model.spec, "spend", at(2), table(first)) == []
        online_values.write(model.spec, "spend", table([spend("c", 3, 3.0)]))  # of another partition by now
        assert online_values.replace(model.spec, "spend", at(2), table([spend("a", 2, 2.0)])) == ["b"]
        assert online_values.replace(model.spec, "spend", at(2), table([])) == ["a", "b"]

    def test_rows_of_many_pieces_arrive_whole(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(online_values, "_ROWS_A_PIECE", 7)
        monkeypatch.setattr(online_store, "_ROWS_A_PIECE", 5)
        customers = [f"customer {n}" * (n % 3 + 1) for n in range(50)]
        rows = [spend(customer, 1, None if n % 4 == 0 else float(n)) for n, customer in enumerate(customers)]
        online_values.write(model.spec, "spend", table(rows))
        answers = online_rows.read(model.spec, [{"customer_id": customer} for customer in customers])
        assert [answer["features"]["spent"] for answer in answers] == [row["spent"] for row in rows]

    def test_a_row_keeps_what_it_was_written_with_when_the_view_changes(self, model: Model) -> None:
        online_values.write(model.spec, "spend", table([spend("a", 1, 7.0)]))
        changed = model.spec.features["spend"].model_copy(update={"features": {"fresh": "int", "purchases": "int"}})
        spec = model.spec.model_copy(update={"features": model.spec.features | {"spend": changed}})
        (answer,) = online_rows.read(spec, [{"customer_id": "a"}])
        assert answer["features"] == {"fresh": None, "purchases": 7, "plan": None}

    def test_an_empty_partition_changes_nothing(self, model: Model) -> None:
        online_values.write(model.data, "spend", table([spend("a", 1, 7.0)]))
        online_values.write(model.data, "spend", table([]))
        assert online(model) == (7.0, at(1))

    def test_it_answers_in_the_order_of_the_keys_and_knows_who_is_unknown(self, model: Model) -> None:
        online_values.write(model.data, "spend", table([spend("a", 1, 1.0), spend("b", 1, 9.0)]))
        answers = online_rows.read(model.spec, [{"customer_id": c} for c in ("b", "nobody", "a", "b")])
        assert [answer["features"]["spent"] for answer in answers] == [9.0, None, 1.0, 9.0]
        assert answers[0] == {
            "features": {"spent": 9.0, "purchases": 9, "big": True, "plan": None},
            "features_at": at(1),
            "views_at": {"spend": at(1), "plan": None},
        }
        assert answers[1] == {
            "features": dict.fromkeys(model.spec.feature_types),
            "features_at": None,
            "views_at": {"spend": None, "plan": None},
        }
        assert online_rows.read(model.spec, []) == []

    def test_the_fast_read_is_feasts_own_answer(self, model: Model) -> None:
        online_values.write(
            model.data, "spend", table([spend(f"c{n}", 1, None if n % 3 == 0 else float(n)) for n in range(30)])
        )
        keys = [f"c{n}" for n in range(35)]
        fast = online_rows.read(model.spec, [{"customer_id": key} for key in keys])
        feast = repository.feature_store()
        answer = feast.get_online_features(
            features=feast.get_feature_service("tiny"), entity_rows={"customer_id": keys}
        ).to_dict()
        for name in model.spec.feature_types:
            assert [row["features"][name] for row in fast] == answer[name]

    def test_threads_share_it(self, model: Model) -> None:
        online_values.write(model.data, "spend", table([spend(f"c{n}", 1, float(n)) for n in range(50)]))
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda n: online(model, f"c{n % 50}")[0], range(200)))
        assert answers == [float(n % 50) for n in range(200)]

    def test_feast_materialize_ends_the_same(self, model: Model) -> None:
        to_lake(model, [spend("a", 1, 1.0), spend("a", 2, 2.0)])
        online_values.write(model.data, "spend", table([spend("a", 3, 3.0), spend("b", 1, 5.0)]))
        repository.feature_store().materialize(at(1), at(2), feature_views=["tiny__spend"])
        assert online(model) == (3.0, at(3))
        assert online(model, "b") == (5.0, at(1))


class TestHistory:
    @pytest.fixture(autouse=True)
    def _applied(self, model: Model) -> None:
        from evergreen.lake import tables

        objects.ensure_applied(model.spec)
        empty = pa.schema([("customer_id", pa.string()), ("plan", pa.string()), *list(SPEND)[4:]]).empty_table()
        tables.replace(FEATURES.of("tiny", "plan").at("2026-01-01"), empty)

    def read(self, model: Model, rows: Sequence[tuple[str, float]]) -> list[float | None]:
        entities = pd.DataFrame(
            {
                "customer_id": [c for c, _ in rows],
                "event_timestamp": [at(t) for _, t in rows],
                "label": range(len(rows)),
            }
        )
        history = historical.read(model.spec, entities)
        assert list(history.columns) == ["customer_id", "event_timestamp", "label", *model.spec.feature_types]
        assert list(history["label"]) == list(range(len(rows)))
        return [None if pd.isna(value) else value for value in history["spent"]]

    def test_it_takes_the_newest_row_up_to_the_moment_itself(self, model: Model) -> None:
        to_lake(model, [spend("a", 1, 1.0), spend("a", 2, 2.0), spend("b", 1, 5.0)])
        assert self.read(model, [("a", 2), ("a", 1.99), ("a", 0.5), ("b", 9), ("nobody", 9), ("a", 3)]) == [
            2.0,
            1.0,
            None,
            5.0,
            None,
            2.0,
        ]

    @pytest.mark.parametrize(
        "later",
        [
            pytest.param([spend("a", 4, 99.0)], id="an event later than t"),
            pytest.param([spend("a", 2.5, 99.0, known=4)], id="an earlier event, known later than t"),
            pytest.param([spend("a", 2, 99.0, known=4)], id="a correction, known later than t"),
        ],
    )
    def test_what_is_known_later_changes_nothing_before(self, model: Model, later: list[dict[str, Any]]) -> None:
        known = [spend("a", 1, 1.0), spend("a", 2, 2.0), spend("b", 2, 3.0)]
        requests = [("a", 2.0), ("b", 2.0), ("a", 3.0), ("a", 3.9)]
        to_lake(model, known)
        before = self.read(model, requests)
        to_lake(model, [*known, *later])
        assert self.read(model, requests) == before == [2.0, 3.0, 2.0, 2.0]
        assert self.read(model, [("a", 4.0)]) == [99.0]

    def test_times_are_utc_whatever_the_machines_zone(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        import time

        to_lake(model, [spend("a", 1, 1.0)])
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        try:
            history = historical.read(model.spec, pd.DataFrame({"customer_id": ["a"], "event_timestamp": [at(1)]}))
        finally:
            monkeypatch.undo()
            time.tzset()
        assert str(history["event_timestamp"].dt.tz) == "UTC"
        assert history["spent"].tolist() == [1.0]

    def test_times_without_a_zone_in_a_file_are_utc_too(
        self, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import time

        from feast import FileSource

        file = tmp_path / "spend.parquet"
        moments = pd.to_datetime(["2026-01-01T20:00", "2026-01-02T04:00"]).as_unit("us")
        pd.DataFrame({"customer_id": ["a", "b"], "spent": [1.0, 2.0], "at": moments}).to_parquet(file)
        source = FileSource(path=str(file), timestamp_field="at")
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        try:
            pulled = offline_store.DeltaOfflineStore.pull_all_from_table_or_query(
                repository.feature_store().config, source, ["customer_id"], ["spent"], "at", None, at(0), at(1)
            ).to_df()
        finally:
            monkeypatch.undo()
            time.tzset()
        assert pulled["customer_id"].tolist() == ["a"]
        assert pulled["at"].tolist() == [pd.Timestamp("2026-01-01T20:00Z")]

    EVENTS = st.integers(1, 5) | st.integers(1, 120)  # near each other, and in every stretch that is read in turn
    ROWS = st.lists(st.tuples(st.sampled_from("ab"), EVENTS, st.integers(0, 3)), max_size=12, unique_by=lambda r: r[:3])

    @settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        rows=ROWS,
        requests=st.lists(
            st.tuples(st.sampled_from("abc"), st.integers(0, 9) | st.integers(0, 130)), min_size=1, max_size=8
        ),
        known=st.booleans(),
        ttl=st.sampled_from([0, 1, 2, 5, 62, 90, 10**6]),
    )
    def test_the_join_equals_looking_at_every_row(
        self, model: Model, rows: list[tuple[str, int, int]], requests: list[tuple[str, int]], known: bool, ttl: int
    ) -> None:
        """Of a view whose rows expire after some days, or never (0)."""
        features = table([spend(c, e, float(n), known=e + late) for n, (c, e, late) in enumerate(rows)])
        feast = repository.feature_store()
        entities = pd.DataFrame(
            {"customer_id": [c for c, _ in requests], "event_timestamp": [at(t) for _, t in requests]}
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(offline_store.tables, "dataset", lambda path, within, between: features)
            view = feast.get_feature_view("tiny__spend")
            view.ttl = timedelta(days=ttl)
            answer = offline_store.DeltaOfflineStore.get_historical_features(
                feast.config,
                [view],
                ["tiny__spend:spent"],
                entities,
                feast.registry,
                feast.project,
                filter_by_created_timestamp=known,
            ).to_df()
        for (customer, moment), value in zip(requests, answer["spent"], strict=True):
            candidates = [(e, e + late, n) for n, (c, e, late) in enumerate(rows) if c == customer and e <= moment]
            if known:
                candidates = [row for row in candidates if row[1] <= moment]
            newest = max(candidates, default=None)
            expected = None if newest is None or (ttl and moment - newest[0] > ttl) else newest[2]
            assert (None if pd.isna(value) else value) == expected
