"""How many rows a comparison needs, by a lake that has history and no training: what `evergreen check` says."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import pytest

from evergreen import cli
from evergreen.evaluate import foreseeing
from evergreen.interval import Interval
from evergreen.lake import tables
from evergreen.lake.schema import LABELS
from evergreen.loops import inline
from evergreen.settings import Settings, settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from evergreen_simulator import landing
from evergreen_simulator.delivery import World
from tests import churn

FIRST, DAYS, CUSTOMERS = date(2026, 1, 1), 9, 250


@pytest.fixture
def model(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """Churn, of which nothing has been ingested yet."""
    folder = churn.one_folder(tmp_path / "models" / "churn_foreseen")
    monkeypatch.setenv("EVERGREEN_MODELS", str(folder.parent))
    settings.cache_clear()
    return load_spec(folder, deep=True)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["check", "churn_foreseen"]) == 0
    (line,) = [each for each in capsys.readouterr().out.splitlines() if "better than the champion" in each]
    return line


def test_a_lake_with_history_says_it_before_any_training(model: ModelSpec, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is told once outcomes of an evaluation are there" in said(capsys)
    for _ in landing.write_days(World(7, CUSTOMERS, ()), FIRST, FIRST + timedelta(days=DAYS - 1), settings().landing):
        pass
    for number in range(DAYS):
        inline.ingest(model, Interval.of_day(FIRST + timedelta(days=number)))
    line = said(capsys)
    found = re.search(r"margin of ([\d.]+) in roc_auc needs about ([\d,]+) rows; .* would have ([\d,]+)", line)
    assert found is not None, line
    margin, enough, rows = found.groups()
    assert 0.02 < float(margin) < 0.04, "a tenth of what a model of ROC AUC 0.80 gains over 0.50"
    evaluated = int(rows.replace(",", ""))
    assert 0.8 * 4 * CUSTOMERS < evaluated <= 4 * CUSTOMERS * 1.2, "four days of customers, as split.evaluation says"
    assert line.startswith("churn_foreseen: WARNING") == (int(enough.replace(",", "")) > evaluated)
    assert "two models that do not exist yet" in line
    assert tables.version(LABELS.of(model.model, model.label.name)) is None, "a look leaves nothing behind"


def test_an_evaluation_of_a_day_of_requests_can_never_tell(models: Path) -> None:
    spec = load_spec(models / "parcels")
    assert spec.split.evaluation == timedelta(days=1) and foreseeing.groups_of_spec(spec) == 1
    assert "Of one group there is no interval" in str(foreseeing.of_spec(spec))
    longer = spec.model_copy(update={"split": spec.split.model_copy(update={"evaluation": timedelta(days=5)})})
    assert foreseeing.groups_of_spec(longer.at(spec.folder)) == 5
    assert foreseeing.of_spec(longer.at(spec.folder)) is None
