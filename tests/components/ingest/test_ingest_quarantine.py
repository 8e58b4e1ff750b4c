"""Nothing is lost: every row of a batch is published or in quarantine, with the reason,
until a corrected batch replaces both."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from evergreen.errors import RowsUnaccounted
from evergreen.handovers.ingest import Published
from evergreen.ingest import stages as ingestion
from evergreen.lake import catalogue, staging, tables
from evergreen.lake.schema import QUARANTINE, RAW, Layer
from evergreen.run import Run
from evergreen.validate import stages as validation

from .conftest import DAYS, batch_of, catalogued, churn, lake, run_of

NEGATIVE, UNREADABLE, REPEATED = "-7.5", "ages", "s-260101-repeated"


def publish(run: Run) -> Published:
    """The stages up to the lake."""
    return ingestion.publish(run, validation.validate(run, ingestion.extract(run)))


def rows(layer: Layer, name: str, day: int = 0) -> list[dict[str, Any]]:
    table = tables.read(layer.of("churn", name), partitions=[run_of(day).interval.partition])
    return [] if table is None else table.to_pylist()


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


def damage(landing: Path) -> Path:
    """A usage batch with one row too short to be, one whose length is no number, and one twice."""
    file = batch_of(landing, "usage")
    header = lines(file)[0].split(",")
    more = [
        {"session_id": "s-260101-negative", "minutes": NEGATIVE},
        {"session_id": "s-260101-unreadable", "minutes": UNREADABLE},
        {"session_id": REPEATED, "minutes": "1"},
        {"session_id": REPEATED, "minutes": "2"},
    ]
    common = {"customer_id": "c-251231-001", "started_at": "2026-01-01T10:00:00Z", "device": "mobile"}
    cells = [",".join((common | row)[name] for name in header) for row in more]
    file.write_text("\n".join([*lines(file), *cells]) + "\n")
    return file


def test_every_row_of_every_batch_is_published_or_in_quarantine(landing: Path) -> None:
    run = run_of(0)
    extracted = ingestion.extract(run)
    validated = validation.validate(run, extracted)
    published = ingestion.publish(run, validated)
    for source in churn().datasets["churn"].sources:
        landed = len(lines(batch_of(landing, source))) - 1
        said = published.sources[source]
        assert landed == extracted.sources[source].staged.rows == said.rows + said.quarantined, source
        assert (len(rows(RAW, source)), len(rows(QUARANTINE, source))) == (said.rows, said.quarantined), source
    assert published.sources["usage"].quarantined > 0, "no row went to quarantine: nothing was tested"


def test_a_quarantined_row_says_why_from_which_batch_and_when_it_was_known(own_landing: Path) -> None:
    file = damage(own_landing)
    run = run_of(0)
    publish(run)
    quarantined = {(row["session_id"], row["_reasons"]): row for row in rows(QUARANTINE, "usage")}
    too_short = quarantined["s-260101-negative", "expect_column_values_to_be_between(minutes)"]
    line = 1 + next(number for number, text in enumerate(lines(file)) if "s-260101-unreadable" in text)
    reason = f"unparsable: line {line}: minutes={UNREADABLE} (minutes is a float, such as 1299.5)"
    unreadable = quarantined["s-260101-unreadable", reason]
    assert unreadable["_place"] == f"line {line}" and too_short["_place"] is None
    repeated = quarantined[REPEATED, "duplicate key"]
    assert (too_short["minutes"], too_short["_unparsed"]) == (float(NEGATIVE), None)
    assert (unreadable["minutes"], unreadable["_unparsed"]) == (None, f"minutes={UNREADABLE}")
    assert repeated["minutes"] == 2, "the first row of a key is the one that is published"
    for row in rows(QUARANTINE, "usage"):
        assert row["batch"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert row["known_at"] == run.as_of
        assert row["partition"] == run.interval.partition
        assert row["session_id"] in lines(file)[1 + row["_row"]], "_row is the row's place in the file"
    assert [row["minutes"] for row in rows(RAW, "usage") if row["session_id"] == REPEATED] == [1]
    entry = catalogue.published(QUARANTINE.of("churn", "usage"))[run.interval.partition]
    assert entry.rows == len(quarantined)


def test_the_same_batch_again_leaves_the_same_quarantine(own_landing: Path) -> None:
    damage(own_landing)
    publish(run_of(0))
    before = lake(churn()), catalogued(churn())
    publish(run_of(0))
    assert (lake(churn()), catalogued(churn())) == before


def correct(landing: Path, landed: Path) -> None:
    """Send the usage batch again, without a bad row."""
    file = batch_of(landing, "usage")
    position = lines(file)[0].split(",").index("minutes")
    sound = [line for line in lines(batch_of(landed, "usage")) if not line.split(",")[position].startswith("-")]
    file.write_text("\n".join(dict.fromkeys(sound)) + "\n")


def test_a_corrected_batch_clears_its_old_quarantine_and_no_other(own_landing: Path, landed: Path) -> None:
    damage(own_landing)
    for day in (0, 1):
        publish(run_of(day))
    other = rows(QUARANTINE, "usage", day=1)
    assert rows(QUARANTINE, "usage") and other
    correct(own_landing, landed)
    publish(run_of(0))
    assert rows(QUARANTINE, "usage") == []
    assert rows(QUARANTINE, "usage", day=1) == other
    assert not any(row["session_id"] == REPEATED for row in rows(RAW, "usage")), "the old raw rows are gone too"
    assert catalogue.published(QUARANTINE.of("churn", "usage"))[run_of(0).interval.partition].rows == 0


def test_a_corrected_batch_also_clears_what_a_killed_run_left(
    own_landing: Path, landed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the quarantine was written and before the catalogue said so;
    then the batch was corrected upstream."""
    damage(own_landing)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(catalogue, "record", killed)
        publish(run_of(0))
    assert rows(QUARANTINE, "usage") and not catalogue.published(QUARANTINE.of("churn", "usage"))
    correct(own_landing, landed)
    publish(run_of(0))
    assert rows(QUARANTINE, "usage") == []


@pytest.mark.parametrize("kind", ["accepted", "rejected"])
def test_a_lost_row_stops_the_run_before_anything_is_written(landing: Path, kind: str) -> None:
    run = run_of(0)
    validated = validation.validate(run, ingestion.extract(run))
    staged = getattr(validated.sources["usage"], kind)
    file = staging.WorkingFile(of="churn", run="2026-01-01", name=f"usage.{kind}")
    assert file.path == staged.path
    staging.write(file, staging.read(staged).slice(1), task="validate")
    with pytest.raises(RowsUnaccounted, match=r"churn/usage of 2026-01-01\n.*\d+ in, \d+ published, \d+ quarantined"):
        ingestion.publish(run, validated)
    assert (lake(churn()), catalogued(churn())) == ({}, {})


def test_a_day_ingested_late_was_known_when_its_batch_was(landing: Path) -> None:
    """A backfill of an old day: the wall clock, and the days ingested before it, do not matter."""
    for day in (DAYS - 1, 0):
        publish(run_of(day))
    for day in (DAYS - 1, 0):
        assert {row["known_at"] for row in rows(RAW, "usage", day=day)} == {run_of(day).as_of}
