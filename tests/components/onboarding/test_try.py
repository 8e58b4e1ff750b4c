"""`evergreen try`: from a file to a page with the gates, on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import first_model
from evergreen import cli
from evergreen.settings import Settings, settings
from evergreen.spec.load import load_spec
from tests import hotel_file
from tests.components.onboarding.test_new import visits


@pytest.fixture
def here(home: Settings, mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("EVERGREEN_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", mlflow_url)
    settings.cache_clear()
    yield settings()
    settings.cache_clear()


def clients(rows: int = 1_500) -> pd.DataFrame:
    """Clients as one table, without a time; what they pay decides who leaves, their hair does not."""
    random = np.random.default_rng(3)
    pays = random.gamma(3, 10, rows).round(2)
    leaves = random.random(rows) < 1 / (1 + np.exp((pays - 30) / 5))
    return pd.DataFrame(
        {
            "clientID": [f"c{number:05}" for number in range(rows)],
            "Pays": pd.Series(pays).map("{:.2f}".format).where(random.random(rows) > 0.02, " "),
            "Hair": random.choice(["brown", "fair", "none"], rows),
            "Left": np.where(leaves, "Yes", "No"),
        }
    )


def test_a_file_without_time_is_judged_and_its_report_says_so(
    here: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "clients.csv"
    clients().to_csv(file, index=False)
    assert cli.main(["new", "clients", "--from", str(file), "--label", "Left"]) == 0
    model = here.models / "clients" / "model.yaml"
    model.write_text(model.read_text().replace("families:", "refit: true\n\nfamilies:", 1))
    assert cli.main(["try", "clients"]) == 0
    said = capsys.readouterr().out
    page = Path(said.rpartition("gate report: ")[2].strip())
    assert page == here.reports / "clients" / "gates" / "2026-01-21.html"
    text = page.read_text()
    assert "Time was not tested" in text and "Time was not tested" in said
    assert "1 of 2 features helped" in said and "pays (columns)" in said, said
    assert "better than the baseline" in text and "hair" in text
    assert "refit: the refit on 1,500 rows up to 2026-01-21" in said and "<h2>Refit</h2>" in text
    assert "refit: answers near the gated fit" in text
    beside = first_model.compared(load_spec(here.models / "clients", here.data))
    assert beside.verdict == "pass" and beside.rows[0] > 1_000 and abs(beside.gain.gain) < 0.1
    assert beside.scores[0] == pytest.approx(float(said.partition("roc_auc at least")[2].split()[0]), abs=1e-4)
    assert cli.main(["try", "clients"]) == 0, "again: what is there is not made anew"
    assert "ingesting" not in capsys.readouterr().err


@pytest.mark.long
def test_rows_with_a_time_are_split_by_it(here: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "visits.csv.gz"
    visits().to_csv(file, index=False)
    assert cli.main(["new", "visits", "--from", str(file), "--label", "ordered", "--label-time", "decided"]) == 0
    assert cli.main(["try", "visits"]) == 0
    said = capsys.readouterr().out
    assert "roc_auc at least" in said and "pages (request)" in said and "Time was not tested" not in said


@pytest.mark.long
def test_outcomes_that_are_known_up_to_two_years_later_are_judged_with_no_line_edited(
    here: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "Hotel Bookings.csv"
    hotel_file.bookings(1_000, per_day=3).to_csv(file, index=False)
    command = ["new", "hotel", "--from", str(file), "--label", "Is Cancelled"]
    assert cli.main([*command, "--label-time", "Status Date"]) == 0
    said = capsys.readouterr().out
    assert "left out: status: it comes with the outcome" in said
    assert cli.main(["check", "hotel"]) == 0
    known = load_spec(here.models / "hotel", here.data).label.known
    assert known is not None and known.column == "status_date" and known.within.days > 600
    capsys.readouterr()
    assert cli.main(["try", "hotel"]) == 0
    told = capsys.readouterr()
    assert float(told.out.partition("roc_auc at least")[2].split()[0]) > 0.65, "lead, agent and deposit say a lot"
    assert Path(told.out.rpartition("gate report: ")[2].strip()).is_file()
