"""A label of several classes through the whole loop:
a folder is ingested, trained, served and watched, with real components."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient

from evergreen.errors import PermanentError
from evergreen.features import computing, rules
from evergreen.interval import Interval
from evergreen.lake import tables
from evergreen.lake.schema import LABELS, PREDICTIONS
from evergreen.local.processes import Processes
from evergreen.loops import inline
from evergreen.model.rows import inputs
from evergreen.registry import artifacts, loading, records
from evergreen.registry.contents import Evaluation, Explanations, Reference, Sample
from evergreen.registry.papers import CardText
from evergreen.settings import settings
from evergreen.spec.columns import PROBABILITIES
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from tests.channels import CHANNELS, CUSTOMERS, Day
from tests.components.served_folder import day_run, served_folder, until_it_answers

FIRST = date(2026, 1, 1)
TRAINED, LIVE = 8, 3  # days that the training knows, and that follow


@pytest.fixture(scope="module")
def channels(
    postgres_url: str, mlflow_url: str, services: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelSpec]:
    """The folder, its days in the landing zone, and a running model server; what a test does, the next one finds."""

    def write_days(landing: Path) -> None:
        for number in range(TRAINED + LIVE):
            Day(FIRST + timedelta(days=number), moved=number > TRAINED).write(landing)

    home = tmp_path_factory.mktemp("channels")
    with served_folder("channels", write_days, home, postgres_url, mlflow_url, services) as spec:
        yield spec


@pytest.fixture(scope="module")
def trained(channels: ModelSpec) -> dict[str, Any]:
    """Days ingested, a model trained and deployed: what each stage handed on."""
    for number in range(TRAINED):
        inline.ingest(channels, day_run(channels, number).interval)
    until_it_answers()
    return dict(inline.run(day_run(channels, TRAINED - 1), "train"))


def ask(*customers: int, at: datetime | None = None) -> httpx.Response:
    body = {"entities": [{"customer_id": customer} for customer in customers]}
    if at is not None:
        body["as_of"] = at.isoformat()  # type: ignore[assignment]
    return httpx.post(f"{settings().server_url}/models/channels/predict", json=body, timeout=60)


def test_labels_are_stored_by_the_names_of_their_classes(channels: ModelSpec, trained: dict[str, Any]) -> None:
    table = tables.read(LABELS.of("channels", "next_channel"))
    assert table is not None and set(table["next_channel"].to_pylist()) == set(CHANNELS)
    labels = table.to_pandas().set_index(["partition", "customer_id"])["next_channel"]
    orders = Day(FIRST + timedelta(days=3)).orders().sort_values("ordered_at").drop_duplicates("customer_id")
    for order in orders.iloc[::13].itertuples():
        assert labels["2026-01-03", order.customer_id] == order.channel


def test_the_card_explains_an_answer_by_the_class_that_it_decides_on(
    channels: ModelSpec, trained: dict[str, Any]
) -> None:
    candidate = records.candidate(records.version("channels", trained["register"].version).run_id)
    found, text = artifacts.load(candidate, Explanations), artifacts.load(candidate, CardText).text
    surest = []
    for each in found.rows:
        assert isinstance(each.answer, dict)
        likeliest = max(each.answer, key=each.answer.__getitem__)
        made = each.explanation
        assert each.scale == f"probability of {likeliest}" and made is not None, each.reason
        assert made.score == pytest.approx(each.answer[likeliest])
        assert made.usual + sum(part.contribution for part in made.parts) == pytest.approx(made.score, abs=1e-6)
        assert f"| {each.which} | {likeliest} {made.score:.4f}".rstrip("0") in text
        surest.append(made.score)
    assert len(surest) == 3 and surest == sorted(surest, reverse=True)


def test_the_curves_of_every_class_are_files_of_the_judged_fit(trained: dict[str, Any]) -> None:
    files = {each.path for each in MlflowClient().list_artifacts(trained["evaluate"].best.run.id, "evaluation")}
    assert files >= {f"evaluation/{name}.png" for name in ("roc", "precision_recall", "calibration", "gain")}


def test_every_family_learns_the_classes_and_the_best_one_passes_its_gates(
    channels: ModelSpec, trained: dict[str, Any]
) -> None:
    evaluated, gated = trained["evaluate"], trained["gates"]
    assert {candidate.family for candidate in evaluated.candidates} == set(channels.families)
    for candidate in evaluated.candidates:
        assert tuple(candidate.scores) == channels.problem.metrics
        assert candidate.scores["roc_auc"] > 0.7, candidate
    assert evaluated.rows == sum(evaluated.rows_of_class.values()) == 2 * CUSTOMERS
    assert set(evaluated.rows_of_class) == set(CHANNELS)
    assert gated.passed, gated.reason
    names = {gate.name: gate for gate in gated.gates}
    rarest = names["rows of the rarest class"]
    assert rarest.observed == min(evaluated.rows_of_class.values()) and rarest.reason.startswith("class phone")
    assert {"log_loss at most", "accuracy at least", "macro_f1 at least", "better than the baseline"} <= names.keys()
    assert trained["deploy"].version == 1


def test_the_version_says_what_it_was_trained_on(channels: ModelSpec, trained: dict[str, Any]) -> None:
    candidate = records.candidate(records.version("channels", 1).run_id)
    assert all(set(row.prediction) == set(CHANNELS) for row in artifacts.load(candidate, Sample).rows)
    assert artifacts.load(candidate, Evaluation).rows_of_class == trained["evaluate"].rows_of_class
    reference = artifacts.load(candidate, Reference).rows
    beside = [name for name in reference if name not in channels.feature_types]
    assert beside == [*channels.problem.outputs, "event_timestamp", "label"]
    mlflow.set_tracking_uri(settings().mlflow_url)
    model = mlflow.models.get_model_info(f"models:/{candidate.model_id}")
    assert json.loads(model.signature.outputs.to_json())[0]["tensor-spec"]["shape"] == [-1, 3]


def test_the_server_answers_a_probability_of_each_class_by_its_name(trained: dict[str, Any]) -> None:
    customers = [0, 8, 16, 999_999]
    response = ask(*customers)
    assert response.status_code == 200, response.text
    *known, unknown = response.json()["predictions"]
    for answer, favourite in zip(known, CHANNELS, strict=True):
        assert list(answer["prediction"]) == list(CHANNELS)
        assert sum(answer["prediction"].values()) == pytest.approx(1)
        assert max(answer["prediction"], key=answer["prediction"].__getitem__) == favourite
    assert unknown["prediction"] is None and "unknown customer_id" in unknown["error"]


def test_the_documentation_names_the_classes(trained: dict[str, Any]) -> None:
    document = httpx.get(f"{settings().server_url}/openapi.json", timeout=60).json()
    (named, _) = document["components"]["schemas"]["ChannelsPrediction"]["properties"]["prediction"]["anyOf"]
    assert named["required"] == list(CHANNELS) and list(named["properties"]) == list(CHANNELS)
    page = httpx.get(f"{settings().server_url}/docs", timeout=60).text
    assert "&quot;in store&quot;" in page


def answered_at(number: int) -> datetime:
    """The morning of a day: what is asked then is answered from the features of the day before."""
    day = FIRST + timedelta(days=number)
    return datetime(day.year, day.month, day.day, 8, tzinfo=UTC)


def test_live_predictions_are_watched_class_by_class(channels: ModelSpec, trained: dict[str, Any]) -> None:
    """One day as before. Then everybody turns to the phone:
    at first the outcomes are others than was predicted, then the predictions."""
    watched = []
    for number in range(TRAINED, TRAINED + LIVE):
        assert ask(*range(CUSTOMERS), at=answered_at(number)).status_code == 200
        inline.ingest(channels, day_run(channels, number).interval)
        watched.append(inline.run(day_run(channels, number), "monitor"))
    before, outcomes, predictions = watched
    assert set(before["drift"].classes) == set(CHANNELS)
    assert before["drift"].prediction == max(before["drift"].classes.values())
    for day in watched:
        assert (day["performance"].metric, day["performance"].rows) == ("log_loss", CUSTOMERS)
    assert not before["performance"].significant and before["performance"].drop < 0.2
    assert outcomes["performance"].significant and outcomes["performance"].drop > 0.3
    phone = [day["drift"].classes["phone"] for day in watched]
    assert phone[2] > 3 * max(phone[:2]), phone
    assert any("the probabilities of" in each.said and "phone" in each.said for each in predictions["drift"].findings)
    live = tables.read(PREDICTIONS.of("channels"))
    assert live is not None and live["prediction"].null_count == live.num_rows == LIVE * CUSTOMERS
    assert set(json.loads(live[PROBABILITIES][0].as_py())) == set(CHANNELS)


def test_what_was_served_is_what_the_artifact_answers(channels: ModelSpec, trained: dict[str, Any]) -> None:
    live = tables.read(PREDICTIONS.of("channels"))
    assert live is not None
    frame = live.to_pandas()
    predictions = loading.load("channels", 1).predict(inputs(channels.feature_types, frame))
    stored = channels.problem.predictions([json.loads(text) for text in frame[PROBABILITIES]])
    assert np.abs(predictions - stored).max() < 1e-9


def test_a_label_that_is_no_class_is_stopped(channels: ModelSpec, trained: dict[str, Any], tmp_path: Path) -> None:
    folder = shutil.copytree(channels.folder, tmp_path / "channels")
    text = (folder / "label.sql").read_text()
    (folder / "label.sql").write_text(
        text.replace("arg_min(channel, ordered_at)", "upper(arg_min(channel, ordered_at))")
    )
    day = Interval.of_day(FIRST + timedelta(days=3))
    span = next(iter(rules.label_spans(channels, day)))
    with pytest.raises(PermanentError, match="one of the classes web, in store, phone"):
        computing.labels(load_spec(folder), span)
