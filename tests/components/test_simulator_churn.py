"""The churn model's folder fits the business that fills its landing zone, and there is something to learn."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import yaml
from great_expectations import expectations as gxe

from evergreen.settings import PROJECT
from evergreen.spec.load import load_spec
from evergreen_simulator.delivery import World
from evergreen_simulator.events import COLUMNS
from evergreen_simulator.scenarios import story

FIRST = date(2026, 1, 1)
DRIFT = FIRST + timedelta(days=42)


SPEC = load_spec(PROJECT / "include" / "models" / "churn")
DATA = SPEC.datasets["churn"]


def test_the_spec_declares_the_columns_that_are_delivered() -> None:
    assert {source: sorted(table.columns) for source, table in DATA.sources.items()} == {
        source: sorted(columns) for source, columns in COLUMNS.items()
    }
    assert all(table.path == f"churn/{source}/{{partition}}.csv" for source, table in DATA.sources.items())
    assert SPEC.first_day == FIRST


@pytest.mark.parametrize("table", [*DATA.sources, *DATA.features])
def test_contracts_name_real_expectations_and_declared_columns(table: str) -> None:
    contract = yaml.safe_load(DATA.contract_file(table).read_text())["expectations"]
    known = set(DATA.sources[table].columns) if table in DATA.sources else set(DATA.features[table].features)
    assert contract
    for expectation in contract:
        arguments = {name: value for name, value in expectation.items() if name != "type"}
        getattr(gxe, "".join(map(str.capitalize, expectation["type"].split("_"))))(**arguments)
        assert {arguments[name] for name in ("column", "column_A", "column_B") if name in arguments} <= known


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """Features and label of 24 days around a drift, by the folder's SQL over what the business delivered;
    one row a customer and day."""
    world = World(4, 700, story(DRIFT))
    raw: dict[str, list[pd.DataFrame]] = {source: [] for source in DATA.sources}
    for day, batches in world.batches(FIRST, DRIFT + timedelta(days=12)):
        for source, batch in batches.items():
            raw[source].append(batch.assign(known_at=datetime(day.year, day.month, day.day) + timedelta(days=1)))
    with duckdb.connect() as connection:
        for source, declaration in DATA.sources.items():
            delivered = pd.concat(raw[source], ignore_index=True)
            for column, kind in declaration.types.items():
                if kind == "timestamp":
                    delivered[column] = pd.to_datetime(delivered[column]).dt.tz_convert(UTC).dt.tz_localize(None)
                elif kind == "float":
                    delivered[column] = pd.to_numeric(delivered[column], errors="coerce")
            connection.register("delivered", delivered.sort_values("known_at").drop_duplicates(list(declaration.keys)))
            connection.execute(f"create table raw_{source} as from delivered")
        cutoffs = [datetime.combine(FIRST, datetime.min.time()) + timedelta(days=n) for n in range(28, 52)]
        return pd.concat([_as_of(connection, cutoff) for cutoff in cutoffs], ignore_index=True)


def _as_of(connection: duckdb.DuckDBPyConnection, cutoff: datetime) -> pd.DataFrame:
    joined: pd.DataFrame | None = None
    for view, declaration in DATA.features.items():
        table = _query(connection, DATA.view_sql(view), cutoff - declaration.look_back, cutoff, as_of=cutoff)
        assert sorted(table) == sorted([SPEC.entity.key, *declaration.features])
        joined = table if joined is None else joined.merge(table, on=SPEC.entity.key, how="outer", validate="1:1")
    end = cutoff + SPEC.label.horizon
    label = _query(connection, SPEC.label_sql(), cutoff - timedelta(days=1), end, cutoff=cutoff, horizon_end=end)
    assert joined is not None
    assert set(joined[SPEC.entity.key]) == set(label[SPEC.entity.key])
    return joined.merge(label, on=SPEC.entity.key, validate="1:1").assign(cutoff=cutoff)


def _query(
    connection: duckdb.DuckDBPyConnection, sql: Path, start: datetime, end: datetime, **moments: datetime
) -> pd.DataFrame:
    for source, declaration in DATA.sources.items():
        bounds = f"{declaration.event_time} >= timestamp '{start}' and {declaration.event_time} < timestamp '{end}'"
        connection.execute(
            f"create or replace temp view {source} as from raw_{source}"
            f" where known_at <= timestamp '{end}' and {bounds}"
        )
    return connection.execute(sql.read_text(), moments).df()


def test_features_have_no_gaps_but_the_declared_ones(rows: pd.DataFrame) -> None:
    gaps = rows.isna().mean()
    assert set(gaps[gaps > 0].index) <= {"minutes_per_session_7d", "mobile_share_14d"}
    assert gaps.max() < 0.15


def test_late_and_repeated_rows_count_once(rows: pd.DataFrame) -> None:
    assert (rows["sessions_3d"] <= rows["sessions_7d"]).all()
    assert (rows["sessions_7d"] <= rows["sessions_14d"]).all()
    assert rows["active_days_14d"].max() <= 14
    assert not rows.duplicated(["customer_id", "cutoff"]).any()


def test_customers_can_be_told_apart_until_the_world_changes(rows: pd.DataFrame) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    change = pd.Timestamp(DRIFT)
    learn = rows[rows["cutoff"] <= change - timedelta(days=8)]
    before = rows[
        (rows["cutoff"] > change - timedelta(days=8) + SPEC.label.horizon)
        & (rows["cutoff"] <= change - SPEC.label.horizon)
    ]
    after = rows[rows["cutoff"] >= change]
    numbers = [name for name, kind in SPEC.feature_types.items() if kind != "category"]
    model = HistGradientBoostingClassifier(max_depth=3, max_iter=60, random_state=0).fit(
        learn[numbers], learn["churned"]
    )
    scored = {
        name: roc_auc_score(part["churned"], model.predict_proba(part[numbers])[:, 1])
        for name, part in (("before", before), ("after", after))
    }
    assert scored["before"] > 0.75
    assert scored["after"] < 0.55
