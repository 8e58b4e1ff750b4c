"""A model without any view, which learns from what a request says alone: all its loops, with a real server."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sklearn import metrics

from evergreen import cli, status_report
from evergreen.lake import staging
from evergreen.local.processes import Processes
from evergreen.loops import inline
from evergreen.model import rows
from evergreen.registry import artifacts, loading, records
from evergreen.registry.contents import Evaluation
from evergreen.serve import predictions
from evergreen.settings import settings
from evergreen.spec.schema import ModelSpec
from tests import spot
from tests.components.served_folder import day_run, served_folder, trained_after

FIRST, DAYS, TRAINED = date(2026, 1, 1), 12, 10


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


@pytest.fixture(scope="module")
def model(
    postgres_url: str, mlflow_url: str, services: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelSpec]:
    """The folder, its days in the landing zone, and a running model server; what a test does, the next one finds."""

    def write_days(landing: Path) -> None:
        for number in range(DAYS):
            spot.write(day(number), landing)

    home = tmp_path_factory.mktemp("spot")
    with served_folder("spot", write_days, home, postgres_url, mlflow_url, services) as spec:
        yield spec


@pytest.fixture(scope="module")
def trained(model: ModelSpec) -> dict[str, Any]:
    return trained_after(model, TRAINED)


def ask(body: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{settings().server_url}/models/spot/predict", json=body, timeout=60)


def test_it_learns_from_the_requests_and_serves(model: ModelSpec, trained: dict[str, Any]) -> None:
    assert not model.features
    frame = staging.read(trained["validate_training"].staged).to_pandas()
    assert len(frame) == (TRAINED - 2) * spot.A_DAY, "without the days between those that learn and those that evaluate"
    assert [*frame] == ["offer_id", "event_timestamp", *model.feature_types, "price_later", "volume"]
    assert "volume" not in model.feature_types, "a weight is no input"
    assert trained["gates"].passed, trained["gates"].reason
    assert trained["deploy"].version == 1
    body = spot.requests(day(TRAINED))[0]
    response = ask(body)
    assert response.status_code == 200, response.text
    (answer,) = response.json()["predictions"]
    assert answer["prediction"] == pytest.approx(spot.offers(day(TRAINED))["price_later"][0], abs=2)
    assert answer["features_at"] is None
    unsaid = {**body["entity"], "price": None, "region": None, "contract_from": None}
    (answer,) = ask({"entity": unsaid}).json()["predictions"]
    assert answer["prediction"] > 0, "what is not known is missing, and it is answered"


def test_dates_are_days_before_the_request_in_training_and_in_serving(
    model: ModelSpec, trained: dict[str, Any]
) -> None:
    """What is logged of an answer is what a training has of the same request."""
    frame = staging.read(trained["validate_training"].staged).to_pandas().set_index("offer_id")
    bodies = {body["entity"]["offer_id"]: body for body in spot.requests(day(5))}
    for body in bodies.values():
        assert ask(body).status_code == 200
    start = datetime.combine(day(5), time(), UTC)
    logged = predictions.between("spot", start, start + timedelta(days=1))
    assert {row.entity for row in logged} == bodies.keys()
    for row in logged:
        learned = frame.loc[row.entity]
        for name in ("contract_from", "metered_at"):
            assert row.features[name] == learned[name] or (row.features[name] is None and math.isnan(learned[name]))
    assert frame["contract_from"].min() < 0 < frame["contract_from"].max(), "also days until"
    assert frame["metered_at"].between(0, 2).sum() == frame["metered_at"].notna().sum()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("contract_from", "31.12.2025"),
        ("contract_from", "2026-02-30"),
        ("contract_from", 20000),
        ("contract_from", "2026-01-01T10:00:00Z"),
        ("metered_at", "2026-01-01"),
        ("metered_at", "2026-01-01T10:00:00"),
        ("metered_at", 1767225600),
    ],
)
def test_what_is_no_date_is_refused_with_its_name(trained: dict[str, Any], field: str, value: Any) -> None:
    response = ask({"entity": {**spot.requests(day(1))[0]["entity"], field: value}})
    assert response.status_code == 422, response.text
    (error,) = response.json()["detail"]
    assert field in error["loc"] and "such as 2026-01-31" in error["msg"], error


def test_every_metric_counts_rows_by_their_weight(model: ModelSpec, trained: dict[str, Any]) -> None:
    """By scikit-learn's own: of the candidate and of the baseline, which is the spec's."""
    frame = staging.read(trained["validate_training"].staged).to_pandas()
    part = trained["validate_training"].evaluate
    later = frame[frame["event_timestamp"].between(part.start, part.end)]
    evaluated = trained["evaluate"]
    stated = metrics.root_mean_squared_error(later["price_later"], 0.9 * later["price"], sample_weight=later["volume"])
    assert evaluated.baseline["rmse"] == pytest.approx(stated)
    assert evaluated.baseline_is == "0.9 * price"
    answers = loading.load("spot", 1).predict(rows.inputs(model.feature_types, later))
    ours = metrics.root_mean_squared_error(later["price_later"], answers, sample_weight=later["volume"])
    assert evaluated.best.scores["rmse"] == pytest.approx(ours)
    record = artifacts.load(records.candidate(records.version("spot", 1).run_id), Evaluation)
    assert (record.baseline_is, record.baseline["rmse"]) == ("0.9 * price", pytest.approx(stated))


def test_it_is_watched_with_the_outcomes_of_what_it_answered(model: ModelSpec, trained: dict[str, Any]) -> None:
    for number in (TRAINED, TRAINED + 1):
        for body in spot.requests(day(number)):
            assert ask(body).status_code == 200
        inline.ingest(model, day_run(model, number).interval)
        watched = inline.run(day_run(model, number), "monitor")
    assert watched["performance"].rows == spot.A_DAY and watched["performance"].value < 1.0
    assert set(watched["drift"].distances) == {"region", "demand", "price", "contract_from", "metered_at"}
    assert max(watched["drift"].distances.values()) < 0.6, "days since, which do not go on with the calendar"
    assert watched["decide"].action in ("none", "alert"), watched["decide"]


def test_status_and_lineage_know_it(
    model: ModelSpec, trained: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    text = "\n".join(status_report.of(model.own_data(), model, day_run(model, DAYS - 1).as_of).lines())
    assert "spot" in text
    assert cli.main(["lineage", "spot", "1"]) == 0
    assert "offers" in capsys.readouterr().out
    assert cli.main(["rebuild", "spot", "1"]) == 0
