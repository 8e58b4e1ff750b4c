"""The `evergreen` command: exit status, message, never a traceback for an error of ours."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from evergreen import cli
from evergreen.cli import run
from evergreen.errors import RunError
from evergreen.interval import Interval
from evergreen.settings import PROJECT, settings
from evergreen.spec.load import Declared, load_spec

SPECS = Path(__file__).parents[1] / "specs"


def test_check_of_an_unknown_model_names_the_known_ones(
    models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "evergreen.spec.load.load", lambda models, data, deep: Declared({}, {})
    )  # the deep pass has its own tests
    assert cli.main(["check", "renewal"]) == 1
    output = capsys.readouterr().err
    assert "no such folder" in output and "renewals, shelves or spot" in output and "write renewals" in output
    assert cli.main(["check"]) == 1
    assert "no folder of a model in" in capsys.readouterr().err


def test_generated_files_go_where_the_repository_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "include" / "models").mkdir(parents=True)
    (tmp_path / "include" / "data").mkdir()
    (tmp_path / "docs").mkdir()
    monkeypatch.setenv("EVERGREEN_PROJECT", str(tmp_path))
    settings.cache_clear()
    try:
        assert [cli.main([command]) for command in ("schema", "reference", "tables")] == [0, 0, 0]
    finally:
        settings.cache_clear()
    output = capsys.readouterr().out
    for file in ("include/models/model.schema.json", "docs/model-spec.md", "docs/tables.md"):
        assert (tmp_path / file).read_text() == (PROJECT / file).read_text()
        assert str(tmp_path / file) in output


def test_an_error_of_ours_is_its_message_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "churn", "ingest", "--day", "1999-12-31"]) == 1
    output = capsys.readouterr().err
    assert "expected:  a day (UTC), from 2026-01-01" in output and "next step: name another --interval, --day" in output
    assert "Traceback" not in output


def test_a_run_without_a_day_works_on_the_newest_complete_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from evergreen.loops import inline
    from evergreen.spec.dataset import DatasetSpec

    day, worked_on = Interval.of_day(date(2026, 2, 3)), []
    monkeypatch.setattr(DatasetSpec, "newest_complete", lambda spec, now: day)
    monkeypatch.setattr(inline, "run_days", lambda spec, intervals, *_: worked_on.extend(intervals) or [])
    assert cli.main(["run", "churn", "ingest"]) == 1, "nothing has run"
    assert worked_on == [day]


@pytest.mark.parametrize(
    ("named", "first", "count"),
    [
        ("2026-10-25", "2026-10-24T2200Z", 25),  # a day of an hour more
        ("2026-10-25T0000Z", "2026-10-25T0000Z", 1),
        ("2026-10-25T0000Z..2026-10-26", "2026-10-25T0000Z", 47),
    ],
)
def test_a_command_takes_partition_keys_and_a_day_stands_for_all_its_intervals(
    named: str, first: str, count: int
) -> None:
    spec = load_spec(PROJECT / "tests" / "specs" / "valid" / "meters")
    intervals = run.intervals_of(spec, "running", named)
    assert (intervals[0].partition, len(intervals)) == (first, count)


@pytest.mark.parametrize("named", ["soon", "2026-10-25T0030Z", "2026-10", "2026-10-26..2026-10-25"])
def test_a_command_refuses_what_names_no_interval(named: str) -> None:
    spec = load_spec(PROJECT / "tests" / "specs" / "valid" / "meters")
    with pytest.raises(RunError, match=r"an hour|the earlier one first"):
        run.intervals_of(spec, "running", named)


def test_a_rollback_names_its_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["rollback"])
    assert stopped.value.code == 2 and "model" in capsys.readouterr().err


def test_asking_for_help_loads_nothing_heavy() -> None:
    code = (
        "import sys, evergreen.cli\n"
        "try: evergreen.cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'pydantic', 'duckdb', 'pandas', 'feast', 'mlflow', 'airflow'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PROJECT / "include")},
        timeout=60,
    )
    assert done.stderr.strip() == "[]", done.stderr
    for command in ("check", "rollback", "apply", "up", "down", "reset", "airflow", "schema", "reference"):
        assert command in done.stdout


def test_airflows_own_command_gets_its_own_options_and_the_stacks_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path))
    settings.cache_clear()
    became: list[tuple[str, list[str], dict[str, str]]] = []
    monkeypatch.setattr("os.execve", lambda *call: became.append(call))
    with pytest.raises(SystemExit):  # the stand-in returns, which the real one never does
        cli.main(["airflow", "backfill", "create", "--help"])
    ((_, command, environment),) = became
    assert command[1:] == ["-m", "airflow", "backfill", "create", "--help"]
    assert environment["AIRFLOW_HOME"] == str(tmp_path / "airflow")
    settings.cache_clear()


def test_each_command_says_what_it_does_and_what_each_argument_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A line of `--help` with a name and nothing behind it helps nobody."""
    helps = [["check"], ["rollback"], ["retire"], ["history"], ["run"], ["registry", "adopt"], ["audit", "verify"]]
    for command in [[], *helps]:
        with pytest.raises(SystemExit, match="0"):
            cli.main([*command, "--help"])
        printed = capsys.readouterr().out
        assert not re.search(r"^  (?!COMMAND)\S+\n(?! {6,})", printed, re.MULTILINE), printed
        assert re.search(r"\n\n[A-Z](?:.+\n)+\n", printed), f"no sentence: {printed}"
