"""A model of what stores sell of products, which two columns name together: all its loops, with a real server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from evergreen.erasure.erasing import erase
from evergreen.errors import ErasureRefused
from evergreen.features import online_rows
from evergreen.features.repository import feature_store
from evergreen.lake import staging, tables
from evergreen.lake.schema import FEATURES, PREDICTIONS, RAW
from evergreen.local.processes import Processes
from evergreen.loops import inline
from evergreen.serve import predictions
from evergreen.settings import settings
from evergreen.spec.load import load
from evergreen.spec.schema import ModelSpec
from tests import shelves
from tests.components.served_folder import day_run, served_folder, trained_after
from tests.shelves import PRODUCTS, STORES

FIRST, DAYS, TRAINED = date(2026, 1, 1), 9, 7
PAIRS = [(store, product) for store in STORES for product in PRODUCTS]


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


@pytest.fixture(scope="module")
def model(
    postgres_url: str, mlflow_url: str, services: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelSpec]:
    """The folder, its days in the landing zone, and a running model server; what a test does, the next one finds."""

    def write_days(landing: Path) -> None:
        for number in range(DAYS):
            shelves.write(day(number), landing)

    home = tmp_path_factory.mktemp("shelves")
    with served_folder("shelves", write_days, home, postgres_url, mlflow_url, services) as spec:
        yield spec


@pytest.fixture(scope="module")
def trained(model: ModelSpec) -> dict[str, Any]:
    return trained_after(model, TRAINED)


def test_each_pair_is_joined_with_its_own_features_and_outcome(trained: dict[str, Any]) -> None:
    frame = staging.read(trained["validate_training"].staged).to_pandas()
    assert len(frame) == (TRAINED - 1) * len(PAIRS)
    sold = pd.concat([shelves.sales(day(number)) for number in range(TRAINED)])
    sold["day"] = sold["sold_at"].dt.date
    units = sold.set_index(["store", "product", "day"])["units"]
    for _, row in frame.iloc[::17].iterrows():
        cutoff = row["event_timestamp"].date()
        pair = (row["store"], row["product"])
        assert row["units_next"] == units[*pair, cutoff]
        assert row["units_1d"] == units[*pair, cutoff - timedelta(days=1)]
        past = [cutoff - timedelta(days=back) for back in (1, 2, 3)]
        assert row["units_3d"] == pytest.approx(sum(units.get((*pair, each), 0) for each in past))
        of_product = sold[(sold["product"] == row["product"]) & sold["day"].isin(past)]
        assert row["product_units_3d"] == pytest.approx(of_product["units"].sum()), "the features of one of the keys"


def test_dates_of_a_view_are_days_in_training_and_in_serving(model: ModelSpec, trained: dict[str, Any]) -> None:
    """What is logged of an answer is what a training had of features as old."""
    frame = staging.read(trained["validate_training"].staged).to_pandas()
    noon = frame[frame["event_timestamp"] == frame["event_timestamp"].max()].set_index(["store", "product"])
    assert noon["last_sold"].between(14 / 24, 15 / 24).all() and set(noon["first_day_sold"]) == {3.0}
    assert ask(TRAINED, {"store": "é", "product": 20}).status_code == 200
    moment = datetime.combine(day(TRAINED), time(1), UTC)
    (row,) = predictions.between("shelves", moment, moment + timedelta(seconds=1))
    learned = noon.loc[("é", 20)]
    assert row.features["first_day_sold"] == learned["first_day_sold"]
    assert row.features["last_sold"] == pytest.approx(learned["last_sold"] + 1 / 24, abs=1e-12)


def test_the_gates_pass_and_the_model_serves(trained: dict[str, Any]) -> None:
    assert trained["gates"].passed, trained["gates"].reason
    assert trained["deploy"].version == 1


def ask(number: int, *entities: dict[str, Any]) -> httpx.Response:
    moment = datetime.combine(day(number), time(1)).isoformat() + "+00:00"
    body = {"entities": list(entities), "as_of": moment}
    return httpx.post(f"{settings().server_url}/models/shelves/predict", json=body, timeout=60)


def test_the_server_answers_for_each_pair(trained: dict[str, Any]) -> None:
    response = ask(TRAINED, *({"store": store, "product": product} for store, product in PAIRS))
    assert response.status_code == 200, response.text
    answers = response.json()["predictions"]
    assert [(each["store"], each["product"]) for each in answers] == PAIRS
    sold = shelves.sales(day(TRAINED))["units"].tolist()
    assert [each["prediction"] for each in answers] == pytest.approx(sold, abs=1.5)
    (nobody,) = ask(TRAINED, {"store": "never seen", "product": 4}).json()["predictions"]
    assert nobody["prediction"] is None and nobody["features_at"] is None
    assert "unknown store 'never seen', product 4" in nobody["error"]


@pytest.mark.parametrize(
    ("entity", "field"),
    [
        ({"store": "1"}, "product"),
        ({"store": "1", "product": None}, "product"),
        ({"store": None, "product": 1}, "store"),
        ({"store": "1", "product": "1"}, "product"),
        ({"store": "1", "product": 1, "aisle": 2}, "aisle"),
    ],
)
def test_a_request_without_a_whole_key_is_refused_with_its_name(
    trained: dict[str, Any], entity: dict[str, Any], field: str
) -> None:
    response = ask(TRAINED, entity)
    assert response.status_code == 422, response.text
    assert field in {part for error in response.json()["detail"] for part in error["loc"]}, response.text


def test_feast_answers_the_same(model: ModelSpec, trained: dict[str, Any]) -> None:
    (ours,) = online_rows.read(model, [{"store": "1", "product": 11}])
    theirs = feature_store().get_online_features(
        [f"shelves__pace:{name}" for name in ("units_1d", "units_3d")], [{"store": "1", "product": 11}]
    )
    assert theirs.to_dict()["units_1d"] == [ours["features"]["units_1d"]] != [None]


def test_live_predictions_find_their_outcomes(model: ModelSpec, trained: dict[str, Any]) -> None:
    for number in (TRAINED, TRAINED + 1):
        assert ask(number, *({"store": store, "product": product} for store, product in PAIRS)).status_code == 200
        inline.ingest(model, day_run(model, number).interval)
        watched = inline.run(day_run(model, number), "monitor")
    assert watched["performance"].rows >= len(PAIRS), watched["performance"]
    assert watched["performance"].value < 1.0
    stored = tables.read(PREDICTIONS.of("shelves"))
    assert stored is not None and {*zip(stored["store"].to_pylist(), stored["product"].to_pylist(), strict=True)} >= {
        *PAIRS
    }


def test_a_correction_counts_pairs_and_withdraws_those_that_it_no_longer_has(
    model: ModelSpec, trained: dict[str, Any]
) -> None:
    """A pair that is sold on one day alone goes again, and no other of the same store or product."""
    number = DAYS - 1
    file = Path(settings().landing) / "sales" / f"{day(number)}.csv"
    rows = pd.read_csv(file)
    extra = rows.iloc[[0]].assign(sale_id="extra", store="11", product=12, units=40.0)
    pd.concat([rows, extra]).to_csv(file, index=False)
    inline.ingest(model, day_run(model, number).interval)
    pairs = [{"store": "11", "product": 12}, {"store": "11", "product": 1}, {"store": "1", "product": 11}]
    before = online_rows.read(model, pairs)
    assert before[0]["features"]["units_3d"] == 40.0
    rows.loc[(rows["store"] == "11") & (rows["product"] == 1), "units"] += 5
    rows.to_csv(file, index=False)
    this = inline.of(model.own_data(), day_run(model, number).interval)
    listed: Any = inline.run(this, "correct", last="plan")["plan"]
    assert (listed.online["pace"].entities, listed.online["demand"].entities) == (2, 2)
    inline.ingest(model, this.interval)
    after = online_rows.read(model, pairs)
    assert after[0]["views_at"]["pace"] is None
    assert after[1]["features"]["units_3d"] == pytest.approx(before[1]["features"]["units_3d"] + 5)
    assert after[2]["features"]["units_3d"] == before[2]["features"]["units_3d"]


def test_erasing_asks_for_one_of_the_keys_and_takes_every_row_that_has_it(
    model: ModelSpec, trained: dict[str, Any]
) -> None:
    declared = load(settings().models, settings().data)
    with pytest.raises(ErasureRefused, match="store=<value> or product=<value>"):
        erase(declared, "shelf", "111", actor="me", reason="asked to", apply=False)
    feature_rows = tables.read(FEATURES.of("shelves", "pace"))
    assert feature_rows is not None
    report = erase(declared, "shelf", "store=111", actor="me", reason="asked to", apply=True)
    assert report.places["rows in the online store"] == len(PRODUCTS)
    assert report.places["predictions in the log of shelves"] >= 2 * len(PRODUCTS)
    assert report.learned and not report.unsearched
    for table in (RAW.of("shelves", "sales"), FEATURES.of("shelves", "pace"), PREDICTIONS.of("shelves")):
        left = tables.read(table)
        assert left is not None and set(left["store"].to_pylist()) == set(STORES) - {"111"}, table
    products = tables.read(FEATURES.of("shelves", "demand"))
    assert products is not None and set(products["product"].to_pylist()) == set(PRODUCTS), "111 is a product too"
    online = online_rows.read(model, [{"store": store, "product": 111} for store in STORES])
    assert [each["views_at"]["pace"] is None for each in online] == [store == "111" for store in STORES]
    logged = predictions.between("shelves", datetime.fromisoformat("2026-01-01T00:00Z"), datetime.now().astimezone())
    assert {model.entity.of_text(row.entity)["store"] for row in logged} == set(STORES) - {"111"}
