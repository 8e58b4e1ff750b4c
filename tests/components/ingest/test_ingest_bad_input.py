"""What upstream may send instead of a sound batch:
each stops the run with an error that says what, where and what to do.

And each leaves the lake, the catalogue and the landing zone as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from evergreen.errors import BatchMissing, BatchUnreadable, ContractBroken, PermanentError

from .conftest import batch_of, catalogued, churn, ingest, lake, run_of, says

# The lines of a sound batch → those that arrive, or bytes, or nothing.
Change = Callable[[list[str]], list[str] | bytes | None]
UPSTREAM = "ask the upstream system for a corrected file, or declare "
CORRECT = "correct the batch upstream, or the contract if the world has changed, then clear `extract` and what follows"


def column(name: str, value: Callable[[int, str], str]) -> Change:
    """Every cell of a column by its row number and its text."""

    def change(lines: list[str]) -> list[str]:
        position = lines[0].split(",").index(name)
        rows = [line.split(",") for line in lines[1:]]
        return [
            lines[0],
            *(",".join([*r[:position], value(n, r[position]), *r[position + 1 :]]) for n, r in enumerate(rows)),
        ]

    return change


def without(name: str) -> Change:
    def change(lines: list[str]) -> list[str]:
        position = lines[0].split(",").index(name)
        return [",".join(cell for n, cell in enumerate(line.split(",")) if n != position) for line in lines]

    return change


UNREADABLE: dict[str, tuple[str, Change, str, str]] = {
    "an empty file": ("usage", lambda lines: b"", "an empty file", "a header line: session_id,customer_id,"),
    "a renamed column": (
        "usage",
        lambda lines: [lines[0].replace("minutes", "length"), *lines[1:]],
        "columns missing: minutes; unexpected: 'length'",
        "columns session_id, customer_id, started_at, minutes, device",
    ),
    "a missing column": ("usage", without("device"), "columns missing: device", "columns session_id,"),
    "an extra column": (
        "usage",
        lambda lines: [lines[0] + ",city", *(f"{line},Rome" for line in lines[1:])],
        "columns unexpected: 'city'",
        "columns session_id,",
    ),
    "not UTF-8": (
        "customers",
        lambda lines: "\n".join(
            [lines[0], lines[1].replace("basic", "café").replace("plus", "café").replace("premium", "café")]
        ).encode("latin-1"),
        "byte 0xe9 at offset",
        "UTF-8",
    ),
    "a row cut short": (
        "usage",
        lambda lines: [*lines[:-1], lines[-1].rsplit(",", 2)[0]],
        "3 cells, where the header has 5",
        "rows of 5 cells",
    ),
}
BROKEN: dict[str, tuple[str, Change, str]] = {
    "a header and no customers": (
        "customers",
        lambda lines: lines[:1],
        "expect_table_row_count_to_be_between(), min_value=1",
    ),
    "a column of nulls": (
        "customers",
        column("customer_id", lambda n, text: ""),
        "expect_column_values_to_not_be_null(customer_id)",
    ),
    "the same key again and again": ("usage", column("session_id", lambda n, text: "s-1"), " duplicate key"),
    "cells of another type": ("usage", column("minutes", lambda n, text: "ages"), " unparsable"),
    "most rows out of range": (
        "payments",
        lambda lines: [lines[0], *(f"p-{n},c-1,2026-01-01T06:00:00Z,-5,paid" for n in range(30))],
        "30 of 30 rows would go to quarantine",
    ),
}


def arrive(landing: Path, source: str, change: Change) -> bytes:
    file = batch_of(landing, source)
    changed = change(file.read_text().splitlines())
    assert changed is not None
    file.write_bytes(changed if isinstance(changed, bytes) else ("\n".join(changed) + "\n").encode())
    return file.read_bytes()


def stops(error: type[PermanentError]) -> PermanentError:
    """Ingesting the first day raises the error, and leaves nothing."""
    with pytest.raises(error) as caught:
        ingest(run_of(0))
    assert (lake(churn()), catalogued(churn())) == ({}, {}), "something of the broken day was published"
    return caught.value


@pytest.mark.parametrize("source", ["customers", "cancellations"])
def test_a_missing_batch(own_landing: Path, source: str) -> None:
    file = batch_of(own_landing, source)
    file.unlink()
    says(
        stops(BatchMissing),
        doing=f"reading the batch of churn/{source} of 2026-01-01",
        found="no such file",
        expected=str(file),
        next_step="ask the upstream system for the file, then clear this task;"
        " a day without rows is a file with only its header",
    )


def test_a_folder_where_the_file_should_be(own_landing: Path) -> None:
    file = batch_of(own_landing, "usage")
    file.unlink()
    file.mkdir()
    says(
        stops(BatchUnreadable),
        doing="reading the batch of churn/usage of 2026-01-01",
        found="a folder",
        expected=str(file),
        next_step="remove it, ask the upstream system for the day's file, then clear this task",
    )


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_batch_that_cannot_be_read_as_declared(own_landing: Path, name: str) -> None:
    source, change, found, expected = UNREADABLE[name]
    arrived = arrive(own_landing, source, change)
    file = batch_of(own_landing, source)
    says(
        stops(BatchUnreadable),
        doing=f"reading the batch of churn/{source} of 2026-01-01 from {file}",
        found=found,
        expected=expected,
        next_step=UPSTREAM,
    )
    assert file.read_bytes() == arrived, "what arrived stays where it is"


@pytest.mark.parametrize("name", BROKEN)
def test_a_batch_that_breaks_its_contract(own_landing: Path, name: str) -> None:
    source, change, found = BROKEN[name]
    arrive(own_landing, source, change)
    error = stops(ContractBroken)
    says(
        error,
        doing="validating the sources of churn 2026-01-01",
        found=f"{source}: ",
        next_step=CORRECT,
        expected="every critical expectation met; nothing was published. Data Docs: http",
    )
    assert found in error.found


def test_a_header_alone_is_a_quiet_day_where_the_contract_allows_it(own_landing: Path) -> None:
    arrive(own_landing, "tickets", lambda lines: lines[:1])
    done = ingest(run_of(0))
    assert done["publish"].sources["tickets"].rows == 0
    assert sorted(done["publish_features"].views["payments_support"]) == ["2026-01-01"], (
        "a day without rows is a published day"
    )


def test_a_few_bad_rows_cost_only_themselves(own_landing: Path) -> None:
    sound = len(batch_of(own_landing, "usage").read_text().splitlines()) - 1
    arrive(own_landing, "usage", column("minutes", lambda n, text: {3: "ages", 5: "-1"}.get(n, text)))
    arrive(own_landing, "payments", lambda lines: [*lines, lines[1]])
    sources = ingest(run_of(0))["publish"].sources
    assert sources["usage"].quarantined >= 2
    assert sources["usage"].rows + sources["usage"].quarantined == sound
    assert sources["payments"].quarantined == 1


def test_a_broken_day_is_mended_by_a_corrected_batch_and_a_rerun(
    own_landing: Path, landed: Path, reference: dict
) -> None:
    sound = batch_of(own_landing, "usage").read_bytes()
    arrive(own_landing, "usage", without("minutes"))
    stops(BatchUnreadable)
    batch_of(own_landing, "usage").write_bytes(sound)
    ingest(run_of(0))
    of_the_day = {name: value for name, value in reference["lake"].items() if name.endswith("/2026-01-01")}
    labels = {name for name in of_the_day if name.startswith("labels/")}  # those need the days after it
    assert lake(churn()) == {name: value for name, value in of_the_day.items() if name not in labels}
