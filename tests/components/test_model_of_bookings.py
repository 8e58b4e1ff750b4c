"""A model whose outcomes are known each at a moment of its own, over tables for all intervals: all its loops, with a
real server, held against the truth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from evergreen.lake import catalogue, staging
from evergreen.lake.schema import RAW
from evergreen.local.processes import Processes
from evergreen.loops import inline
from evergreen.settings import settings
from evergreen.spec.schema import ModelSpec
from evergreen.train import rules
from tests import hotel
from tests.components.served_folder import day_run, served_folder, until_it_answers

pytestmark = pytest.mark.long
TRAINED, TRUTH = 17, hotel.truth()


@pytest.fixture(scope="module")
def model(
    postgres_url: str, mlflow_url: str, services: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelSpec]:
    """The folder, its days in the landing zone, and a running model server; what a test does, the next one finds."""

    def write_days(landing: Path) -> None:
        hotel.deliver(landing, TRUTH, range(hotel.DAYS))

    home = tmp_path_factory.mktemp("hotel")
    with served_folder("hotel", write_days, home, postgres_url, mlflow_url, services, make=hotel.write) as spec:
        yield spec


def ingest(spec: ModelSpec, day: int) -> None:
    hotel.agents(Path(settings().landing), day)
    inline.ingest(spec, hotel.interval(day))


@pytest.fixture(scope="module")
def trained(model: ModelSpec) -> dict[str, Any]:
    for day in range(TRAINED):
        ingest(model, day)
    until_it_answers()
    return dict(inline.run(day_run(model, TRAINED - 1), "train"))


def test_a_training_learns_what_was_known_and_is_deployed(model: ModelSpec, trained: dict[str, Any]) -> None:
    assert [*catalogue.published(RAW.of("hotel", "agents"))] == [hotel.interval(day).partition for day in (0, 9)]
    data, split = trained["validate_training"], rules.split(day_run(model, TRAINED - 1).as_of, model)
    frame = staging.read(data.staged).to_pandas().set_index("booking_id")
    still_open = 0
    for each in TRUTH:
        for first, last, by in (
            (split.learn_from, split.learn_to, split.evaluate_from),
            (split.evaluate_from, split.evaluate_to, split.as_of),
        ):
            if not first <= each.booked_at <= last:
                continue
            known = each.known_at is not None and each.known_at <= by
            still_open += not known
            assert (each.booking_id in frame.index) == known, each
            if known:
                row = frame.loc[each.booking_id]
                assert (row["cancelled"], row["known_at"], row["kind"]) == (each.cancelled, each.known_at, each.kind())
                assert row["rate"] == each.rate() or (each.rate() is None and math.isnan(row["rate"]))
    assert data.learn.still_open + data.evaluate.still_open == still_open > 0
    assert trained["gates"].passed, trained["gates"].reason
    assert trained["deploy"].version == 1


def ask(each: hotel.Booking) -> dict[str, Any]:
    response = httpx.post(f"{settings().server_url}/models/hotel/predict", json=each.request(), timeout=60)
    assert response.status_code == 200, response.text
    (answer,) = response.json()["predictions"]
    return dict(answer)


def test_each_answer_is_scored_when_its_outcome_is_known_and_what_is_open_is_counted(
    model: ModelSpec, trained: dict[str, Any]
) -> None:
    asked: list[hotel.Booking] = []
    for day in range(TRAINED, hotel.DAYS):
        today = [each for each in TRUTH if each.day == day]
        answers = [ask(each)["prediction"] for each in today]
        assert len(set(answers)) > 5
        asked += today
        ingest(model, day)
        watched: Any = inline.run(day_run(model, day), "monitor", last="alert")
        now = hotel.interval(day)
        known = [each for each in asked if each.known_at == now.end]
        waiting = [each for each in asked if each.known_at is None or each.known_at > now.end]
        performance = watched["performance"]
        assert (performance.rows, performance.still_open) == (len(known), len(waiting)), day
        assert watched["decide"].action in ("none", "alert", "wait for labels"), watched["decide"].reasons
    assert [*catalogue.published(RAW.of("hotel", "agents"))] == [hotel.interval(day).partition for day in (0, 9, 19)]
