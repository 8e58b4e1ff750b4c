"""Rows in quarantine are counted, shown, released by a person, and sent back; a release survives every rerun."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from evergreen import cli
from evergreen.history import ledger
from evergreen.history.events import Corrected
from evergreen.lake import catalogue
from evergreen.lake.schema import QUARANTINE, RAW
from evergreen.loops import inline
from evergreen.settings import PROJECT, settings
from evergreen.validate import exemptions
from evergreen.validate.rules import kind_of

from .conftest import FIRST, churn, everything, run_of
from .test_ingest_quarantine import damage, rows

DAY, WHERE = FIRST.isoformat(), "churn/usage"
LENGTH = "expect_column_values_to_be_between(minutes)"
HOSTILE = "\x1b[31m<script>alert(1)</script>\u202e"


def run(*arguments: str) -> int:
    return cli.main(["quarantine", *arguments])


def sessions() -> dict[str, float | None]:
    return {row["session_id"]: row["minutes"] for row in rows(RAW, "usage")}


@pytest.fixture
def damaged(own_landing: Path) -> Path:
    """A landing zone whose first day is ingested: rows too short to be, one that cannot be read, one twice."""
    file = damage(own_landing)
    header, first = file.read_text().splitlines()[:2]
    cells = dict(zip(header.split(","), first.split(","), strict=True))
    hostile = cells | {"session_id": HOSTILE, "minutes": "-1.5"}
    file.write_text(f"{file.read_text()}{','.join(hostile.values())}\n")
    inline.run(run_of(0), "ingest")
    return own_landing


def test_rows_are_counted_and_shown_with_their_reasons_and_cells(
    damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("list") == 0
    (listed,) = [text for text in capsys.readouterr().out.splitlines() if "churn/usage" in text]
    there = len(rows(QUARANTINE, "usage"))
    assert listed.startswith(f"churn/usage of {DAY}: {there} rows ")
    assert f"({there - 3} {LENGTH}, 2 duplicate key, 1 unparsable)" in listed
    assert run("show", WHERE, "--day", DAY) == 0
    shown = capsys.readouterr().out
    assert ": minutes=ages (minutes is a float, such as 1299.5)" in shown and f"    {LENGTH}; minutes -7.5" in shown
    assert r"session_id '\x1b[31m<script>alert(1)</script>\u202e'" in shown
    assert not {"\x1b", "\u202e"} & set(shown)
    assert run("show", WHERE, "--day", DAY, "--limit", "1") == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"  and {there - 1} more (--limit)"
    assert run("show", "churn/nothing", "--day", DAY) == 1
    assert "one of customers, usage" in capsys.readouterr().err


def test_released_rows_are_published_by_every_run_until_they_are_sent_back(
    damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = everything(churn())
    release = ["release", WHERE, "--day", DAY, "--because", LENGTH]
    assert run(*release) == 0
    said = capsys.readouterr().out
    assert "Nothing was changed" in said and "of them released" in said and everything(churn()) == before
    assert run(*release, "--apply") == 1
    assert "without --reason" in capsys.readouterr().err and everything(churn()) == before

    assert run(*release, "--apply", "--reason", "refunds", "--actor", "ada") == 0
    assert sessions()["s-260101-negative"] == -7.5 and HOSTILE in sessions()
    assert {row["known_at"] for row in rows(RAW, "usage")} == {run_of(0).as_of}, "known when their batch was"
    assert {kind_of(row["_reasons"]) for row in rows(QUARANTINE, "usage")} == {"unparsable", "duplicate key"}
    (event,) = [entry.event for entry in ledger.entries("churn", "corrected")]
    assert isinstance(event, Corrected) and (event.reason, event.sources["usage"].released) == ("refunds", 3)
    granted = exemptions.of(QUARANTINE.of("churn", "usage").at(DAY))
    assert {(each.actor, each.reason, tuple(each.reasons)) for each in granted} == {("ada", "refunds", (LENGTH,))}
    after = everything(churn())
    inline.run(run_of(0), "ingest")
    assert everything(churn()) == after, "a rerun leaves them published"

    assert run("release", WHERE, "--day", DAY) == 0
    said = capsys.readouterr().out
    assert "0 rows to release" in said
    assert "unparsable, 1 row, cannot be released" in said and "duplicate key, 2 rows, cannot be released" in said
    assert run("list") == 0
    assert "3 released" in capsys.readouterr().out

    assert run("release", WHERE, "--day", DAY, "--undo") == 0
    assert everything(churn()) == after
    assert run("release", WHERE, "--day", DAY, "--undo", "--apply", "--reason", "a mistake") == 0
    assert everything(churn()) == before
    inline.run(run_of(0), "ingest")
    assert everything(churn()) == before


def test_a_row_with_other_values_is_judged_anew(damaged: Path) -> None:
    release = ["release", WHERE, "--day", DAY, "--because", LENGTH, "--apply", "--reason", "refunds"]
    assert run(*release) == 0
    file = damaged / "churn" / "usage" / f"{DAY}.csv"
    file.write_text(file.read_text().replace("-7.5", "-8.5"))
    inline.run(run_of(0), "ingest")
    assert "s-260101-negative" not in sessions() and HOSTILE in sessions()


def test_after_a_contract_was_loosened_nothing_needs_to_be_waived(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(PROJECT / "include" / "models", tmp_path / "include" / "models")
    shutil.copytree(PROJECT / "include" / "data", tmp_path / "include" / "data")
    contract = tmp_path / "include" / "data" / "churn" / "contracts" / "usage.yaml"
    content = yaml.safe_load(contract.read_text())
    for each in content["expectations"]:
        if "min_value" in each and each.get("column") == "minutes":
            each["min_value"] = -60
    contract.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("EVERGREEN_MODELS", str(tmp_path / "include" / "models"))
    settings.cache_clear()
    release = ["release", WHERE, "--day", DAY, "--because", LENGTH, "--apply", "--reason", "refunds are sessions"]
    assert run(*release) == 0
    said = capsys.readouterr().out
    assert "0 rows to release" in said and "3 more rows are not rejected any more" in said
    assert sessions()["s-260101-negative"] == -7.5
    assert not exemptions.of(QUARANTINE.of("churn", "usage").at(DAY))
    day = (FIRST + timedelta(days=1)).isoformat()
    assert day not in catalogue.published(RAW.of("churn", "usage")), "and nothing else was ingested"
