"""`evergreen run` on real parts, command after command as the jobs of a workflow: ingest, train to the gates, and what follows from them."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from evergreen import cli
from evergreen.errors import EvergreenError
from evergreen.registry import store
from evergreen.settings import PROJECT, Settings, settings
from evergreen_simulator import landing
from evergreen_simulator.delivery import World

FIRST, DAYS, CUSTOMERS = date(2026, 1, 1), 18, 250
LAST = FIRST + timedelta(days=DAYS - 1)


class Command:
    """The command line on a model whose spec a test may change between commands."""

    def __init__(self, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file, self.capsys = file, capsys

    def change(self, **sections: dict[str, Any]) -> None:
        spec = yaml.safe_load(self.file.read_text())
        for name, values in sections.items():
            spec[name] |= values
        self.file.write_text(yaml.safe_dump(spec))

    def __call__(self, *arguments: str) -> tuple[int, Any, str]:
        """(exit status, the last line of stdout as JSON, stderr)"""
        self.capsys.readouterr()
        status = cli.main(["run", "churn", *arguments])
        told = self.capsys.readouterr()
        return status, json.loads(told.out.splitlines()[-1]) if told.out else None, told.err


@pytest.fixture
def command(
    home: Settings, mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """A small churn model whose days lie in the landing zone."""
    models = shutil.copytree(PROJECT / "include" / "models", tmp_path / "models")
    monkeypatch.setenv("EVERGREEN_MODELS", str(models))
    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", mlflow_url)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)  # pytest's own stays
    settings.cache_clear()
    found = Command(models / "churn" / "model.yaml", capsys)
    spec = yaml.safe_load(found.file.read_text()) | {"families": {"logistic_regression": {}}}
    found.file.write_text(yaml.safe_dump(spec))
    gates = {"minimum_rows": 100, "minimum_positives": 5, "floor": {"roc_auc": 0.5}, "better_than_baseline": 0.0001}
    found.change(split={"evaluation": "2d", "folds": 2, "minimum_rows": 300}, search={"trials": 1}, gates=gates)
    for _ in landing.write_days(World(1, CUSTOMERS), FIRST, LAST, home.landing):
        pass
    yield found
    settings.cache_clear()


@pytest.mark.timeout(300)
def test_jobs_in_turn_to_a_verdict_and_what_follows_from_it(command: Command) -> None:
    when = ("--day", LAST.isoformat())
    status, materialized, told = command("ingest", "--day", f"{FIRST}..{LAST}")
    assert status == 0 and materialized, told
    status, sound, _ = command("train", *when, "--until", "validate_training")
    assert status == 0 and sound["rows"] > 300
    status, candidates, _ = command("train", *when, "--from", "tune", "--until", "tune")
    assert status == 0 and [one["family"] for one in candidates] == ["logistic_regression"]
    judge = ("train", *when, "--from", "evaluate", "--until", "gates")
    status, gated, _ = command(*judge)
    assert status == 0 and gated["passed"] is True, gated

    command.change(gates={"minimum_positives": 10_000})
    status, nothing, told = command(*judge)
    assert status == 1 and nothing is None and "deciding the gates" in told, "missing evidence is red"
    status, nothing, told = command("train", *when, "--from", "register")
    assert status == 1 and "no result of gates" in told, "and nothing can be registered on an older verdict"

    command.change(gates={"minimum_positives": 5, "floor": {"roc_auc": 0.999}})
    status, gated, _ = command(*judge)
    assert status == 0 and gated["passed"] is False, "not better is a good run"
    status, last, _ = command("train", *when, "--from", "register")
    assert status == 0 and last["skipped"].startswith("not promoted"), "which deploys nothing"
    with pytest.raises(EvergreenError):
        store.version("churn", 1)
