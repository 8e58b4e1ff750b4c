"""`evergreen bootstrap`: the days of a dataset side by side, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from evergreen import cli
from evergreen.lake import catalogue
from evergreen.lake.schema import RAW
from evergreen.loops import inline
from evergreen.settings import settings
from evergreen_simulator.landing import write_days

from .conftest import DAYS, FIRST, WORLD, Json, batch_of, churn, everything, ingest, run_of
from .test_ingest_idempotent import same


def _from_to(days: int) -> str:
    return f"{FIRST}..{FIRST + timedelta(days=days - 1)}"


def test_it_leaves_what_single_runs_leave(landing: Path, reference: Json, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bootstrap", "churn", "--day", _from_to(DAYS), "--side-by-side", "3"]) == 0
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(results) == DAYS and all(set(result["views"]) == set(churn().features) for result in results)
    inline.run(inline.of(churn(), run_of(DAYS - 1).interval), "train", last="labels")  # the model's own loops do that
    same(everything(churn()), reference)


@pytest.mark.long
def test_thirty_days_end_as_single_runs_of_them(
    home: object, landed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    from evergreen.local import postgres

    landing, last = tmp_path / "landing", FIRST + timedelta(days=29)
    list(write_days(WORLD, FIRST, last, str(landing)))
    monkeypatch.setenv("EVERGREEN_LANDING", str(landing))
    ends = []
    for way in ("single", "side_by_side"):
        prefix = f"t{os.getpid()}_{way}_"
        postgres.create_databases(postgres_url, [f"{prefix}{name}" for name in ("evergreen", "feast")])
        monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / way))
        monkeypatch.setenv("EVERGREEN_DATABASE_PREFIX", prefix)
        settings.cache_clear()
        if way == "single":
            for day in range(30):
                ingest(run_of(day))
        else:
            assert cli.main(["bootstrap", "churn", "--day", _from_to(30)]) == 0
            inline.run(inline.of(churn(), run_of(DAYS - 1).interval), "train", last="labels")
        ends.append(everything(churn()))
    same(ends[1], ends[0])
    assert len([name for name in ends[0]["lake"] if name.startswith("features/account/")]) == 30


def test_a_bad_day_costs_itself_and_is_named_at_the_end(own_landing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batch_of(own_landing, "usage", 1).write_text("no,such,columns\n")
    assert cli.main(["bootstrap", "churn", "--day", _from_to(3), "--side-by-side", "2"]) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2
    assert "reading the batch of churn/usage of 2026-01-02" in said.err and "Traceback" not in said.err
    assert said.err.splitlines()[-2:] == [
        "1 of 3 days are left. To run them:",
        "  evergreen bootstrap churn --day 2026-01-02 --side-by-side 2",
    ]
    assert set(catalogue.published(RAW.of("churn", "usage"))) == {"2026-01-01", "2026-01-03"}


def test_where_every_day_would_need_the_same_no_other_begins(
    landing: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_DATABASE", "postgresql://nobody@127.0.0.1:1")
    settings.cache_clear()
    assert cli.main(["bootstrap", "churn", "--day", _from_to(DAYS), "--side-by-side", "1"]) == 1
    said = capsys.readouterr().err
    assert said.count("Failed while") == 1
    assert said.splitlines()[-1] == f"  evergreen bootstrap churn --day {_from_to(DAYS)} --side-by-side 1"


@pytest.mark.long  # a process of its own, with all imports
def test_an_interrupt_ends_all_of_it_and_tells_what_is_left(landing: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "evergreen", "bootstrap", "churn", "--day", _from_to(DAYS), "--side-by-side", "2"]
    errors = tmp_path / "errors"
    with errors.open("w") as stderr:
        process = subprocess.Popen(command, stderr=stderr, stdout=subprocess.DEVNULL, start_new_session=True)
        while "ingest churn" not in errors.read_text():  # somebody works
            assert process.poll() is None, errors.read_text()
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.wait(30) == 130
    said = errors.read_text()
    assert "Traceback" not in said, said
    assert f"of {DAYS} days are left" in said
    end = time.monotonic() + 10
    while _is_there(process.pid):  # the process that the others were forked from sees it, and ends too
        assert time.monotonic() < end, "somebody of the group is there still"
        time.sleep(0.05)


def _is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
