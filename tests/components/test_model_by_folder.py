"""A model whose authors wrote a folder and nothing else:
several sources and entities, request-time inputs, a number to predict."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from evergreen import database
from evergreen.errors import PermanentError
from evergreen.features import computing, rules
from evergreen.handovers.train import SoundTrainingSet
from evergreen.interval import Interval
from evergreen.lake import staging
from evergreen.local.processes import Processes
from evergreen.loops import inline
from evergreen.settings import settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from tests.components.served_folder import day_run, served_folder, until_it_answers
from tests.parcels import A_DAY, Day

FIRST, DAYS = date(2026, 1, 1), 9
TRAINED = 7  # days that the first training knows


@pytest.fixture(scope="module")
def parcels(
    postgres_url: str, mlflow_url: str, services: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelSpec]:
    """The folder, its days in the landing zone, and a running model server; what a test does, the next one finds."""

    def write_days(landing: Path) -> None:
        for number in range(DAYS):
            Day(FIRST + timedelta(days=number)).write(landing)

    home = tmp_path_factory.mktemp("parcels")
    with served_folder("parcels", write_days, home, postgres_url, mlflow_url, services) as spec:
        yield spec


@pytest.fixture(scope="module")
def trained(parcels: ModelSpec) -> dict[str, Any]:
    """Days ingested, a model trained and deployed: the training set and what the gates said."""
    for number in range(TRAINED):
        inline.ingest(parcels, day_run(parcels, number).interval)
    until_it_answers()
    done = inline.run(day_run(parcels, TRAINED - 1), "train")
    return {
        "labelled": done["labels"],
        "data": done["validate_training"],
        "gated": done["gates"],
        "deployed": done["deploy"],
    }


def rows_of(data: SoundTrainingSet) -> pd.DataFrame:
    frame: pd.DataFrame = staging.read(data.staged).to_pandas()
    return frame


def test_what_has_no_outcome_is_counted_and_has_no_row(trained: dict[str, Any]) -> None:
    *_, partition = trained["labelled"].partitions.values()
    lost = int(Day(FIRST + timedelta(days=TRAINED - 2)).parcels()["hours"].isna().sum())
    assert (partition.rows, partition.without_outcome) == (A_DAY - lost, lost) and lost > 0


def test_history_is_replayed_as_clients_ask(trained: dict[str, Any]) -> None:
    """The training set's keys and inputs by SQL are what the shops' own code sends:
    no skew between training and serving."""
    frame = rows_of(trained["data"])
    days = [Day(FIRST + timedelta(days=number)) for number in range(TRAINED)]
    requests = pd.DataFrame(
        [request["entity"] | {"at": request["as_of"]} for day in days for request in day.requests()]
    )
    joined = frame.merge(requests, on="parcel_id", suffixes=("", "_asked"))
    assert len(joined) == len(frame) > 4 * A_DAY
    for name in ("shop_id", "depot_id", "weight", "express", "hour", "congestion"):
        assert (joined[name] == joined[f"{name}_asked"]).all(), name
    assert (joined["event_timestamp"] == pd.to_datetime(joined["at"], utc=True)).all()


def test_features_of_each_entity_are_those_known_when_it_was_asked(trained: dict[str, Any]) -> None:
    frame = rows_of(trained["data"])
    history = pd.concat([Day(FIRST + timedelta(days=n)).parcels() for n in range(TRAINED)])
    for _, row in frame[frame["event_timestamp"] > pd.Timestamp("2026-01-04T00:00Z")].iloc[::97].iterrows():
        midnight = row["event_timestamp"].floor("D")
        past = history[(history["ordered_at"] < midnight) & (history["ordered_at"] >= midnight - pd.Timedelta(days=3))]
        of_shop = past[past["shop_id"] == row["shop_id"]]
        assert row["shop_parcels_3d"] == len(of_shop)
        known = of_shop[of_shop["ordered_at"] <= midnight - pd.Timedelta(days=1)]
        assert row["shop_hours_3d"] == pytest.approx(known["hours"].mean()), "of yesterday's nothing is known yet"
        yesterday = past[past["ordered_at"] >= midnight - pd.Timedelta(days=1)]
        assert row["depot_parcels_1d"] == (yesterday["depot_id"] == row["depot_id"]).sum()


def test_a_number_is_learned_gated_and_deployed(trained: dict[str, Any]) -> None:
    gated = trained["gated"]
    assert gated.passed, gated.reason
    assert set(gated.scores) == {"rmse", "mae", "r2", "median_absolute_error", "bias", "wape"}
    assert gated.scores["rmse"] < 1.5, "it has learned what the hours depend on: their noise is 0.7"
    names = {gate.name for gate in gated.gates}
    assert names >= {"evaluation rows", "rmse at most", "r2 at least", "better than the baseline"}
    assert not any("class" in name for name in names)
    assert trained["deployed"].version == 1


def ask(body: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{settings().server_url}/models/parcels/predict", json=body, timeout=60)


def test_the_server_answers_with_what_the_request_says(trained: dict[str, Any]) -> None:
    request = Day(FIRST + timedelta(days=TRAINED)).requests()[100]
    response = ask(request)
    assert response.status_code == 200, response.text
    (first,) = response.json()["predictions"]
    entity = request["entity"]
    assert 1 < first["prediction"] < 30 and first["parcel_id"] == entity["parcel_id"]
    (other,) = ask({"entity": entity | {"express": not entity["express"]}}).json()["predictions"]
    assert abs(other["prediction"] - first["prediction"]) > 2.5, "express or not is worth five hours"
    unknown = entity | {"shop_id": "never seen", "depot_id": None, "congestion": None}
    (nobody,) = ask({"entity": unknown}).json()["predictions"]
    assert nobody["features_at"] is None and nobody["prediction"] > 0, (
        "what is not known is missing, and it is answered"
    )


WRONG: dict[str, Any] = {
    "weight": "heavy",
    "express": 1,
    "hour": 7.5,
    "shop_id": 5,
    "colour": "red",
    "parcel_id": None,
    "congestion": ...,
    "depot_id": ...,
}


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_or_missing_input_is_refused_with_its_name(trained: dict[str, Any], field: str) -> None:
    entity = Day(FIRST).requests()[0]["entity"] | {field: WRONG[field]}
    response = ask({"entity": {name: value for name, value in entity.items() if value is not ...}})
    assert response.status_code == 422, response.text
    assert field in {part for error in response.json()["detail"] for part in error["loc"]}, response.text


def test_live_predictions_are_joined_with_their_outcomes(parcels: ModelSpec, trained: dict[str, Any]) -> None:
    """Two days of requests, ingested and watched: with the second come the outcomes of the first."""
    first = Day(FIRST + timedelta(days=TRAINED))
    for number in (TRAINED, TRAINED + 1):
        for request in Day(FIRST + timedelta(days=number)).requests():
            assert ask(request).status_code == 200
        inline.ingest(parcels, day_run(parcels, number).interval)
        watched = inline.run(day_run(parcels, number), "monitor")
    performance, decision = watched["performance"], watched["decide"]
    assert performance.rows == first.parcels()["hours"].notna().sum(), "every parcel with a known outcome, once"
    assert performance.metric == "rmse" and performance.value < 1.5
    assert decision.action in ("none", "alert"), decision


def test_neither_the_ledger_nor_a_hand_over_holds_a_key(parcels: ModelSpec, trained: dict[str, Any]) -> None:
    """Of all loops until here; an asset event carries values of a hand-over and nothing else."""
    days = [Day(FIRST + timedelta(days=number)).parcels() for number in range(DAYS)]
    keys = {str(key) for day in days for name in ("parcel_id", "shop_id") for key in day[name] if len(str(key)) > 3}
    assert len(keys) > A_DAY
    with database.connect() as connection:
        told = [body for (body,) in connection.execute("select body from ledger").fetchall()]
    told += [file.read_text() for file in (settings().home / "runs").rglob("*.json")]
    assert len(told) > 50
    words = {word for text in told for word in re.findall(r"[\w.-]+", text)}
    assert not words & keys


LEAKS = {
    "a later row": (
        "roads.measured_at <= parcels.ordered_at",
        "roads.measured_at <= parcels.ordered_at + INTERVAL 6 HOUR",
        "change when rows after it are taken away from roads",
    ),
    "another day": (
        "parcels.ordered_at < $end",
        "parcels.ordered_at < $end + INTERVAL 1 DAY",
        "requests from .* of this interval",
    ),
    "two rows a request": (
        "    parcels.parcel_id,",
        "    parcels.parcel_id[:9] || (parcels.depot_id % 2) AS parcel_id,",
        "more than once",
    ),
    "no moment": (
        "parcels.ordered_at AS event_timestamp",
        "NULL::TIMESTAMP AS event_timestamp",
        "rows without event_timestamp",
    ),
}


def span_of(spec: ModelSpec, partition: str) -> rules.Span:
    day = Interval.of_day(date.fromisoformat(partition))
    return next(span for span in rules.label_spans(spec, day) if span.partition == partition)


@pytest.mark.parametrize("name", LEAKS)
def test_a_query_that_knows_more_than_its_requests_is_stopped(
    parcels: ModelSpec, trained: dict[str, Any], name: str, tmp_path: Path
) -> None:
    old, new, said = LEAKS[name]
    folder = shutil.copytree(parcels.folder, tmp_path / "parcels")
    text = (folder / "request.sql").read_text()
    assert old in text
    (folder / "request.sql").write_text(text.replace(old, new))
    with pytest.raises(PermanentError, match=said):
        computing.requests(load_spec(folder, deep=True).asking, span_of(parcels, "2026-01-04"))


def test_an_outcome_without_a_request_is_stopped(parcels: ModelSpec, trained: dict[str, Any], tmp_path: Path) -> None:
    folder = shutil.copytree(parcels.folder, tmp_path / "parcels")
    (folder / "request.sql").write_text((folder / "request.sql").read_text() + "    AND parcels.express\n")
    with pytest.raises(PermanentError, match="outcomes without a request"):
        computing.labels(load_spec(folder), span_of(parcels, "2026-01-04"))
