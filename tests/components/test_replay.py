"""`evergreen replay`: some days of the past once more, as if they were live, with a real server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from evergreen import cli
from evergreen.lake import tables
from evergreen.lake.schema import PREDICTIONS
from evergreen.local.processes import Processes
from evergreen.spec.schema import ModelSpec
from tests.components.served_folder import served_folder, until_it_answers
from tests.parcels import A_DAY, Day

FIRST, HISTORY, DAYS = date(2026, 1, 1), 7, 12


@pytest.fixture(scope="module")
def parcels(
    postgres_url: str, mlflow_url: str, services: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelSpec]:
    def write_days(landing: Path) -> None:
        for number in range(DAYS):
            Day(FIRST + timedelta(days=number)).write(landing)

    home = tmp_path_factory.mktemp("replayed")
    with served_folder(
        "parcels", write_days, home, postgres_url, mlflow_url, services, name="parcels_replayed"
    ) as spec:
        until_it_answers()
        yield spec


@pytest.mark.long
def test_days_are_lived_through_and_retraining_is_compared(
    parcels: ModelSpec, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = FIRST + timedelta(days=HISTORY), FIRST + timedelta(days=DAYS - 1)
    command = ["replay", "parcels_replayed", "--day", f"{first}..{last}"]
    assert cli.main(command) == 0
    said = capsys.readouterr()
    assert said.err.count(f": {A_DAY} predictions") == DAYS - HISTORY, said.err
    told = {line.partition(":")[0]: line for line in said.err.splitlines() if " predictions" in line}
    assert [day for day, line in told.items() if "scheduled training" in line] == [str(last)], "12 January is a Monday"
    made = tables.read(PREDICTIONS.of("parcels_replayed"))
    assert made is not None
    frame = made.to_pandas()
    assert (frame["features_at"] <= frame["as_of"]).all(), "no answer knows what came later"
    assert (frame["as_of"] - frame["features_at"] <= timedelta(days=1)).all(), (
        "each day's features are those of its eve"
    )
    ways = {line.split(" rmse ")[0].strip(): float(line.split(" rmse ")[1]) for line in said.out.splitlines()[1:4]}
    assert set(ways) == {"as served", "never retrained", "refitted for every interval"}
    assert max(ways.values()) < 2.5, "hours; all three know shops and roads"
    assert "As served against refitted for every interval: rmse" in said.out
    assert cli.main(command) == 1, "the online store knows these days by now"
    assert "ingested already" in capsys.readouterr().err
