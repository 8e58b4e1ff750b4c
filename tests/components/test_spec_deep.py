"""`evergreen check` asks DuckDB what each query returns and Great Expectations what each expectation is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from evergreen import cli
from evergreen.errors import SpecError
from evergreen.settings import PROJECT
from evergreen.spec.load import folders, load_spec

SPECS = Path(__file__).parents[1] / "specs"
READING = "features/reading.sql"
VISITS = "contracts/visits.yaml"

CASES: dict[str, tuple[str, str, str, list[str]]] = {
    "a feature that no view computes": (
        READING,
        "AS pages_7d",
        "AS pages",
        [
            "model.yaml:",
            "features.reading.features.pages_7d",
            "pages_7d, which features/reading.sql does not return",
            "write pages",
        ],
    ),
    "an undeclared column": (
        READING,
        "avg(pages) AS pages_per_visit",
        "avg(pages) AS pages_per_visit, 1 AS one",
        [READING, "returns one, which is not declared", "declare one in model.yaml under features.reading.features"],
    ),
    "no key": (READING, "reader_id,\n", "", [READING, "reader_id, which features/reading.sql does not return"]),
    "another type": (
        READING,
        "avg(pages) AS",
        "max(visit_id) AS",
        [READING, "pages_per_visit is VARCHAR", "float, as model.yaml declares it"],
    ),
    "an unknown column": (
        READING,
        "avg(pages)",
        "avg(page)",
        [READING, '"page" not found', "readers(reader_id, snapshot_at, plan) or visits(", "$as_of"],
    ),
    "an undeclared source": (
        READING,
        "LEFT JOIN visits",
        "LEFT JOIN payments",
        [READING, "the table payments", "readers or visits"],
    ),
    "a file": (READING, "LEFT JOIN visits", "LEFT JOIN '/etc/passwd'", [READING, "/etc/passwd"]),
    "no SQL": (READING, "SELECT", "SELEC", [READING, "syntax error", "one SELECT over"]),
    "another parameter": (READING, "$as_of", "$as_off", [READING, "unknown parameters $as_off", "with $as_of"]),
    "two statements": (READING, "SELECT", "SELECT 1; SELECT", [READING, "the file holds SELECT, SELECT"]),
    "a clock": (
        READING,
        "$as_of",
        "CURRENT_DATE",
        [f"{READING}:", "current_date, which is another at each run", "write $as_of in place of current_date"],
    ),
    "a sample": (
        READING,
        "LEFT JOIN visits",
        "LEFT JOIN visits TABLESAMPLE 10%",
        [READING, "a sample of rows", "remove the sample"],
    ),
    "no query": (READING, "SELECT", "CREATE TABLE x AS SELECT", [READING, "the file holds CREATE", "one SELECT"]),
    "another label": (
        "label.sql",
        "AS renewed",
        "AS renew",
        ["label.name", "renewed, which label.sql does not return", "write renew"],
    ),
    "a label that is text": (
        "label.sql",
        "count(visit_id) > 0",
        "max(visit_id)",
        ["label.sql", "renewed is VARCHAR", "binary"],
    ),
    "a label that knows as_of": (
        "label.sql",
        "$cutoff AND",
        "$as_of AND",
        ["label.sql", "unknown parameters $as_of", "$cutoff or $horizon_end"],
    ),
    "an unknown expectation": (
        VISITS,
        "expect_column_values_to_be_between",
        "expect_column_values_to_be_betwen",
        [
            VISITS,
            "expectations.1.type",
            "expect_column_values_to_be_betwen",
            "write expect_column_values_to_be_between",
        ],
    ),
    "an unknown argument": (
        VISITS,
        "min_value: 0",
        "minimum: 0",
        [VISITS, "expectations.1", "minimum: 0", "correct the arguments of expect_column_values_to_be_between"],
    ),
    "an argument's type": (
        VISITS,
        "min_value: 0",
        "min_value: 0\n    mostly: 2",
        [VISITS, "expectations.1", "mostly: 2"],
    ),
}


PARCELS: dict[str, tuple[str, str, str, list[str]]] = {
    "an outcome": (
        "request.sql",
        "parcels.weight,",
        "parcels.hours AS weight,",
        [
            "request.sql",
            "hours, an outcome of parcels",
            "what is known when the prediction is asked for",
            "leave hours out of request.sql",
        ],
    ),
    "a misspelt input": (
        "request.sql",
        "roads.congestion",
        "roads.congestion AS crowded",
        [
            "model.yaml:",
            "request.inputs.congestion",
            "congestion, which request.sql does not return",
            "compute congestion in request.sql",
        ],
    ),
    "no moment": (
        "request.sql",
        "parcels.ordered_at AS event_timestamp,",
        "",
        ["request", "event_timestamp, which request.sql does not return"],
    ),
    "another parameter": (
        "request.sql",
        "$start",
        "$cutoff",
        ["request.sql", "unknown parameters $cutoff", "$start or $end"],
    ),
    "no key of a reference": (
        "features/depot_load.sql",
        "SELECT depot_id, ",
        "SELECT ",
        ["features.depot_load.features", "depot_id, which features/depot_load.sql does not return"],
    ),
    "a label that is text": (
        "label.sql",
        "hours AS",
        "shop_id AS",
        ["label.sql", "hours_to_delivery is VARCHAR", "numeric"],
    ),
}


@pytest.mark.parametrize(
    ("model", "name"), [*(("renewals", name) for name in CASES), *(("parcels", name) for name in PARCELS)]
)
def test_what_only_the_real_libraries_know_is_told(model: str, name: str, tmp_path: Path) -> None:
    file, old, new, said = (CASES if model == "renewals" else PARCELS)[name]
    folder = shutil.copytree(SPECS / "valid" / model, tmp_path / model)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    load_spec(folder)  # the quick pass, which runs at every parse of the DAGs, does not look so deep
    with pytest.raises(SpecError) as caught:
        load_spec(folder, deep=True)
    message = str(caught.value)
    assert any(all(part in block for part in said) for block in re.split(r"\n   \d+\. ", message)), message


@pytest.mark.parametrize("column", ["status", "departed_at", "arrived", "departure_delay", "arrival_delay", "air_time"])
def test_how_a_flight_went_is_out_of_reach_of_its_prediction(column: str, tmp_path: Path) -> None:
    folder = shutil.copytree(PROJECT / "include" / "models" / "flight_delay", tmp_path / "flight_delay")
    model, request = (folder / "model.yaml").read_text(), (folder / "request.sql").read_text()
    (folder / "model.yaml").write_text(
        model.replace("sources: [departures, weather]", "sources: [departures, weather, reports]")
    )
    (folder / "request.sql").write_text(
        request.replace("    flights.distance,", f"    reports.{column} AS distance,")
        + "LEFT JOIN reports ON reports.carrier = flights.carrier AND reports.flight = flights.flight\n"
    )
    with pytest.raises(SpecError, match=f"{column}, an outcome of reports"):
        load_spec(folder, deep=True)


def test_when_a_flight_was_reported_is_out_of_reach_too(tmp_path: Path) -> None:
    """That moment says how late it was, and it is no column that could be declared an outcome:
    it is the event's time."""
    folder = shutil.copytree(PROJECT / "include" / "models" / "flight_delay", tmp_path / "flight_delay")
    model = (folder / "model.yaml").read_text()
    (folder / "model.yaml").write_text(
        model.replace("sources: [departures, weather]", "sources: [reports, departures, weather]")
    )
    with pytest.raises(SpecError, match="reports first, whose rows come with their outcome"):
        load_spec(folder)


def test_deep_and_other_mistakes_are_told_together(tmp_path: Path) -> None:
    folder = shutil.copytree(SPECS / "valid" / "renewals", tmp_path / "renewals")
    model = (folder / "model.yaml").read_text()
    (folder / "model.yaml").write_text(
        model.replace("cooldown: 1w", "cooldown: 1d")
        .replace("    sources: [readers]", "    sources: [reader]")
        .replace("trials: ", "trials: about ")
    )
    contract = (folder / VISITS).read_text()
    (folder / VISITS).write_text(contract.replace("expect_column_values_to_be_between", "expect_column_to_be_good"))
    (folder / "features" / "reading.sql").write_text("SELECT reader_id, 1 AS pages_7d, 0.5 AS pages FROM readers")
    with pytest.raises(SpecError) as caught:
        load_spec(folder, deep=True)
    message = str(caught.value)
    assert "6 mistakes" in message, message
    for said in (
        "monitoring.cooldown",
        "features.plan_today.sources",
        "pages_per_visit, which",
        "returns pages, which",
        "search.trials",
        "expect_column_to_be_good",
    ):
        assert said in message


def test_every_model_of_the_repository_is_valid() -> None:
    specs = folders(PROJECT / "include" / "models")
    assert "churn" in [folder.name for folder in specs]
    for folder in specs:
        load_spec(folder, deep=True)


def test_check_tells_all_models_and_fails_for_one(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check"]) == 0
    *valid, never = capsys.readouterr().out.splitlines()
    assert never.startswith("parcels: WARNING") and "Of one group there is no interval" in never, "by its spec alone"
    assert valid == [
        "channels: valid (1 sources, 5 features, 3 families)",
        "meters: valid (1 sources, 3 features, 1 families)",
        "parcels: valid (2 sources, 7 features, 3 families)",
        "refunds: valid (1 sources, 4 features, 1 families)",
        "renewals: valid (2 sources, 3 features, 2 families)",
        "shelves: valid (1 sources, 6 features, 1 families)",
        "spot: valid (1 sources, 5 features, 1 families)",
    ]
    shutil.copytree(SPECS / "invalid" / "five_mistakes", models / "five_mistakes")
    assert cli.main(["check"]) == 1
    output = capsys.readouterr()
    assert "5 mistakes" in output.err and "renewals: valid" in output.out
    assert cli.main(["check", "renewals"]) == 0
    assert capsys.readouterr().err == ""
    assert cli.main(["check", "five_mistakes"]) == 1
