"""A model whose intervals are hours of Berlin, with a row every half hour, in the night in which the clock is put back:
all its loops, with a real server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from evergreen import cli, status_report
from evergreen.errors import CalendarChanged
from evergreen.explain import explaining
from evergreen.history import ledger
from evergreen.lake import catalogue, staging, tables
from evergreen.lake.schema import FEATURES, LABELS, RAW
from evergreen.local.processes import Processes
from evergreen.loops import inline
from evergreen.registry import artifacts, loading, records
from evergreen.registry.contents import Reference
from evergreen.registry.papers import CardText
from evergreen.serve import predictions
from evergreen.settings import settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from tests import meters
from tests.components.served_folder import served_folder, until_it_answers
from tests.meters import HOURS, IDS, METERS, TRAINED

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def model(
    postgres_url: str, mlflow_url: str, services: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelSpec]:
    """The folder, its hours in the landing zone, and a running model server; what a test does, the next one finds."""

    def write_hours(landing: Path) -> None:
        for hour in HOURS:
            meters.write(hour, landing)

    home = tmp_path_factory.mktemp("meters")
    with served_folder("meters", write_hours, home, postgres_url, mlflow_url, services) as spec:
        yield spec


@pytest.fixture(scope="module")
def trained(model: ModelSpec) -> dict[str, Any]:
    """Hours ingested, a model trained and deployed."""
    assert HOURS[:TRAINED][0].partition == "2026-10-24T2200Z" and HOURS[2].partition == "2026-10-25T0000Z"
    first = f"{HOURS[0].partition}..{HOURS[1].partition}"
    assert cli.main(["run", "meters", "ingest", "--interval", first]) == 0
    for hour in HOURS[2:TRAINED]:
        inline.ingest(model, hour)
    until_it_answers()
    return dict(inline.run(inline.of(model, HOURS[TRAINED - 1]), "train"))


def test_each_hour_has_its_partition_also_the_one_that_the_clock_shows_twice(trained: dict[str, Any]) -> None:
    published = catalogue.published(RAW.of("meters", "readings"))
    assert list(published) == [hour.partition for hour in HOURS[:TRAINED]]
    assert {entry.rows for entry in published.values()} == {2 * METERS}
    local = [f"{hour.start.astimezone(meters.ZoneInfo('Europe/Berlin')):%H:%M%z}" for hour in HOURS[2:4]]
    assert local == ["02:00+0200", "02:00+0100"]


def test_features_see_every_row_of_their_hours_once(model: ModelSpec, trained: dict[str, Any]) -> None:
    for hour in HOURS[2:TRAINED]:
        stored = tables.read(FEATURES.of("meters", "usage"), [hour.partition])
        assert stored is not None
        frame = stored.to_pandas().set_index("meter_id").loc[IDS]
        assert (frame["event_timestamp"] == hour.end).all() and (frame["readings_3h"] == 6).all()
        for name, hours in (("kwh_1h", 1), ("kwh_3h", 3)):
            pd.testing.assert_series_equal(
                frame[name], meters.counted(hour.end - hours * HOUR, hour.end), check_names=False
            )


def test_labels_are_of_hours_and_known_when_two_more_are_over(model: ModelSpec, trained: dict[str, Any]) -> None:
    stored = tables.read(LABELS.of("meters", "kwh_next"))
    assert stored is not None
    labels = stored.to_pandas()
    assert sorted(labels["partition"].unique()) == [hour.partition for hour in HOURS[: TRAINED - 2]]
    assert (labels["known_at"] == labels["event_timestamp"] + 2 * HOUR).all()
    for cutoff, rows in labels.groupby("event_timestamp"):
        expected = meters.counted(cutoff.to_pydatetime(), cutoff.to_pydatetime() + 2 * HOUR)
        pd.testing.assert_series_equal(rows.set_index("meter_id")["kwh_next"].loc[IDS], expected, check_names=False)


def test_a_training_learns_from_hours_evaluates_later_ones_and_is_deployed(trained: dict[str, Any]) -> None:
    data, as_of = trained["validate_training"], HOURS[TRAINED - 1].end
    frame = staging.read(data.staged).to_pandas()
    assert data.evaluate.rows == 2 * METERS and data.evaluate.end == as_of - 2 * HOUR
    learned = frame.loc[frame["event_timestamp"] <= data.learn.end, "event_timestamp"]
    assert learned.max() == data.evaluate.start - 2 * HOUR, "a label that the evaluation's first hour knew"
    assert trained["gates"].passed, trained["gates"].reason
    assert trained["deploy"].version == 1


def test_a_feature_that_says_nothing_is_left_out_and_every_record_says_why(
    model: ModelSpec, trained: dict[str, Any]
) -> None:
    selected = trained["evaluate"].best.selection
    told = {each.input: each for each in selected.inputs}
    assert selected.dropped == ("readings_3h",), selected
    assert (told["readings_3h"].loss, told["readings_3h"].high) == (0.0, 0.0)
    assert told["kwh_3h"].reason == "the spec keeps it (selection.keep)"
    assert told["kwh_1h"].low > 0 and selected.after <= selected.before * 1.01
    version = records.version("meters", 1)
    assert list(loading.spec("meters", version).feature_types) == ["kwh_1h", "kwh_3h"]
    assert loading.declared("meters", version) == model.with_datasets({}).at(Path())
    (event,) = (each.event for each in ledger.entries("meters", "trained"))
    assert "2 of 3 inputs are taken" in event.selected and event.selected.endswith("left out: readings_3h")
    card = artifacts.load(records.candidate(version.run_id), CardText).text
    assert "Feature selection" in card and "its importance is not surely above 0" in card
    assert "Feature selection" in gate_report(model)
    reference = artifacts.load(records.candidate(version.run_id), Reference).rows
    assert "readings_3h" not in reference and "kwh_1h" in reference


def gate_report(model: ModelSpec) -> str:
    (page,) = Path(settings().reports, "meters", "gates").glob("*.html")
    return page.read_text()


def ask(meter: str, moment: Any) -> httpx.Response:
    body = {"entity": {"meter_id": meter}, "as_of": moment.isoformat()}
    return httpx.post(f"{settings().server_url}/models/meters/predict", json=body, timeout=60)


def test_the_server_answers_and_refuses_what_is_hours_old(model: ModelSpec, trained: dict[str, Any]) -> None:
    newest = HOURS[TRAINED - 1].end
    answer = ask("m05", newest + timedelta(minutes=10))
    assert answer.status_code == 200, answer.text
    (made,) = answer.json()["predictions"]
    assert made["features_at"] == newest.isoformat()
    assert made["prediction"] == pytest.approx(meters.counted(newest, newest + 2 * HOUR)["m05"], abs=0.5)
    refused = ask("m05", newest + 5 * HOUR)
    assert (refused.status_code, "features too old" in refused.json()["detail"]) == (503, True)


def test_the_monitor_watches_every_hour_and_scores_what_matured(model: ModelSpec, trained: dict[str, Any]) -> None:
    for hour in HOURS[TRAINED : TRAINED + 2]:
        for meter in IDS:
            assert ask(meter, hour.start + timedelta(minutes=20)).status_code == 200
        inline.ingest(model, hour)
        watched = inline.run(inline.of(model, hour), "monitor")
    # Asked for in the tenth hour by features of the ninth's end; two hours later the outcome is known.
    assert watched["collect"].partition == HOURS[TRAINED + 1].partition
    assert watched["performance"].rows == METERS, watched["performance"]
    assert watched["performance"].value < 0.5
    # What the version does without is not served, not logged, and not watched.
    logged = predictions.between("meters", HOURS[TRAINED + 1].start, HOURS[TRAINED + 1].end)
    assert {frozenset(row.features) for row in logged} == {frozenset(("kwh_1h", "kwh_3h"))}
    assert watched["drift"].distances.keys() == watched["quality"].missing.keys() == {"kwh_1h", "kwh_3h"}
    assert watched["quality"].skew.keys() == {"kwh_1h", "kwh_3h"}
    assert not any(each.different for each in watched["quality"].skew.values())
    explained = explaining.of_request("meters", logged[0].request_id)[0]
    assert explained.explanation is not None, explained.reason
    assert {part.input for part in explained.explanation.parts} == {"kwh_1h", "kwh_3h"}


def test_status_counts_hours(model: ModelSpec, trained: dict[str, Any]) -> None:
    report = status_report.of(model.own_data(), model, HOURS[-1].end + 5 * HOUR)
    text = "\n".join(report.lines())
    assert f"11 of {len(HOURS) + 5} intervals published, the newest {HOURS[10].partition}" in text
    assert f"missing: {HOURS[11].partition}.." in text
    assert "evergreen airflow backfill create --dag-id meters__ingest --from-date 2026-10-25T09:00:00Z" in text


def test_a_correction_lists_and_changes_the_hours_that_see_its_own(
    model: ModelSpec, trained: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The second of the two hours from two o'clock on: three hours look back at it, and two labels ahead. The labels of
    its own end are computed from it too, and stay the same."""
    hour = HOURS[3]
    file = Path(settings().landing) / "meters" / f"{hour.start:%Y-%m-%d}" / f"{hour.start:%H}.csv"
    rows = pd.read_csv(file)
    first, added = rows["meter_id"] == "m00", 5.0
    rows.loc[first.idxmax(), "kwh"] += added
    rows.to_csv(file, index=False)
    listed: Any = inline.run(inline.of(model.own_data(), hour), "correct", last="plan")["plan"]
    assert list(listed.features["usage"]) == [each.partition for each in HOURS[3:6]]
    changed = {partition: not change.same for partition, change in listed.labels["meters"].items()}
    assert changed == {HOURS[1].partition: True, HOURS[2].partition: True, HOURS[3].partition: False}
    command = ["correct", "meters", "--interval", hour.partition, "--apply", "--reason", "read anew"]
    assert cli.main(command) == 0
    for after, name in ((3, "kwh_1h"), (5, "kwh_3h")):
        end, reach = HOURS[after].end, HOUR * int(name[4])
        stored = tables.read(FEATURES.of("meters", "usage"), [HOURS[after].partition])
        assert stored is not None
        expected = meters.counted(end - reach, end)["m00"] + added
        assert stored.to_pandas().set_index("meter_id").loc["m00", name] == pytest.approx(expected)
    capsys.readouterr()
    assert cli.main(command[:4]) == 0 and "nothing to change" in capsys.readouterr().out


def test_another_calendar_is_refused_once_partitions_are_published(
    model: ModelSpec, trained: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(model.folder, tmp_path / "meters")
    text = (folder / "model.yaml").read_text()
    (folder / "model.yaml").write_text(text.replace("zone: Europe/Berlin", "zone: UTC"))
    other = load_spec(folder)
    for loop in ("ingest", "train", "monitor"):
        run = inline.of(other.own_data() if loop == "ingest" else other, HOURS[0])
        with pytest.raises(CalendarChanged, match=r"an hour \(Europe/Berlin\), by which its partitions are published"):
            inline.run(run, loop)
