"""A backtest trains as the loop does, on what was known then, says what retraining was worth, and records nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evergreen import cli
from evergreen.backtest import backtesting
from evergreen.errors import EvidenceMissing
from evergreen.history import ledger
from evergreen.model import rows
from evergreen.registry import pipelines
from evergreen.settings import Settings, settings
from evergreen.spec.schema import ModelSpec
from evergreen.train import dataset

from .conftest import DAYS, at, spec_in
from .history import Row, feature, label, publish
from .recorded import FAMILY, trained

CHANGE = 10  # the day from which customers leave for the opposite reason
SPLIT = {"window": "8d", "evaluation": "2d", "minimum_rows": 40, "folds": 2}


def turning() -> tuple[list[Row], list[Row]]:
    """Customers who leave when they use it little, and after a change when they use it much."""
    random = np.random.default_rng(3)
    features, labels = [], []
    for day in range(DAYS):
        for number in range(30):
            minutes = float(random.normal(30, 10))
            features.append(feature(f"c{number}", at(day), minutes))
            leaves = (minutes < 30) == (day < CHANGE)
            labels.append(label(f"c{number}", at(day), int(leaves != (random.random() < 0.1))))
    return features, labels


@pytest.fixture
def model(home: Settings, mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", mlflow_url)
    settings.cache_clear()
    spec = spec_in(
        tmp_path / "models" / "turning",
        model=f"m_{home.database_prefix}turning".replace("__", "_"),
        split=SPLIT,
        families={FAMILY: {}},
        search={"trials": 2, "seed": 7},
    )
    publish(spec, *turning())
    return spec


def test_retraining_is_worth_what_it_is_when_the_world_turns(model: ModelSpec) -> None:
    made = backtesting.run(model, most=20)
    first, last = made.windows[0], made.windows[-1]
    assert first.window.start < at(CHANGE) < last.window.start
    assert (first.retrained, first.gain.gain) == (first.kept, 0.0)
    assert first.retrained > 0.8, "it learned what was so then"
    assert last.retrained > 0.8 > 0.2 > last.kept, "and the first training never learned of the change"
    assert made.gain.low > 0
    assert made.gain.rows == sum(each.rows for each in made.windows[1:])
    assert made.over_baseline.rows == sum(each.rows for each in made.windows)
    for each in made.windows:
        assert each.rows == 60 and each.trained is not None
        assert each.trained.rows.frame["event_timestamp"].max() <= each.window.start - model.label.horizon


def test_each_training_is_that_of_the_loop_and_nothing_is_recorded(
    model: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, run_id = trained(model, 12)
    before = (ledger.entries(model.model), dataset.pins(model))
    with monkeypatch.context() as patch:
        patch.setenv("EVERGREEN_MLFLOW_URL", "http://127.0.0.1:9")  # nobody answers there
        settings.cache_clear()
        made = backtesting.run(model, most=20)
    settings.cache_clear()
    assert (ledger.entries(model.model), dataset.pins(model)) == before
    (same,) = [each.trained for each in made.windows if each.window.start == at(12)]
    assert same is not None
    assert same.learned == data.learn.rows
    pipeline, asked = pipelines.pipeline(run_id), made.windows[-1].trained
    assert asked is not None
    assert rows.predict(pipeline, asked.rows.inputs).tolist() == rows.predict(same.pipeline, asked.rows.inputs).tolist()


def test_a_training_that_was_not_possible_then_is_told_and_the_one_before_goes_on(model: ModelSpec) -> None:
    made = backtesting.run(
        model.model_copy(update={"split": model.split.model_copy(update={"minimum_rows": 61})}), most=20
    )
    assert made.windows[0].trained is not None, "windows begin with the first training that was possible"
    with pytest.raises(EvidenceMissing) as refused:
        backtesting.run(
            model.model_copy(update={"split": model.split.model_copy(update={"minimum_rows": 9999})}), most=20
        )
    assert "--length" in refused.value.next_step and "minimum_rows" in refused.value.expected


def test_the_command_says_it_and_prints_all_of_it(
    model: ModelSpec, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("evergreen.spec.load.load_spec", lambda folder, data: model)
    assert cli.main(["backtest", model.model, "--windows", "4", "--trials", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{model.model}: 4 windows") and "retraining is better: roc_auc by" in out
    assert cli.main(["backtest", model.model, "--length", "3d", "--windows", "2", "--trials", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["rows"] for each in told["windows"]] == [90, 90]
    assert told["windows"][1]["trained"]["family"] == FAMILY and told["gain_of_retraining"]["low"] is not None
    assert set(told["versions"]) == {"features/activity", "labels/left"}
    with pytest.raises(SystemExit):
        cli.main(["backtest", model.model, "--length", "3 days"])
    assert "a whole number and a unit" in capsys.readouterr().err
