"""A day whose disk fills up at any instant, and values from the ends of the calendar,
on their whole way through the ingest loop."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from evergreen.errors import DiskFull
from evergreen.loops import inline
from evergreen.settings import settings

from .conftest import Json, batch_of, churn, everything, ingest, lake, run_of
from .test_ingest_bad_input import arrive, column

PAST = ["0001-01-01T00:00:00Z", "1677-09-20T00:00:00Z", "1969-12-31T23:59:59Z"]
ENDS = [*PAST, "9999-12-31T23:59:59Z", "2262-04-12T00:00:00Z"]


@pytest.mark.parametrize(("source", "ends"), [("usage", ENDS), ("customers", PAST)])
def test_moments_from_the_ends_of_the_calendar_pass(own_landing: Path, source: str, ends: list[str]) -> None:
    """(A customer who signs up in the year 9999 breaks the contract: the tenure is negative.)"""
    name = {"usage": "started_at", "customers": "signed_up_at"}[source]
    arrive(own_landing, source, column(name, lambda n, text: ends[n] if n < len(ends) else text))
    rows = ingest(run_of(0))["publish"].sources[source]
    assert rows.rows + rows.quarantined == len(batch_of(own_landing, source).read_text().splitlines()) - 1
    ingest(run_of(1))


@pytest.mark.long
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="only root mounts a small disk")
def test_a_disk_that_fills_up_at_any_instant_and_is_given_room_ends_the_same(
    own_landing: Path, reference: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Staging, lake, reports and results lie on a disk of a few pages more each time."""
    disk = Path(tempfile.mkdtemp(prefix="evergreen-disk-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)], check=True)
    try:
        monkeypatch.setenv("EVERGREEN_HOME", str(disk))
        settings.cache_clear()
        stages, size = set(), 16
        while True:
            try:
                inline.run(run_of(0), "ingest")
                break
            except DiskFull as error:
                stages.add(error.doing.split()[1])
                assert f"on the disk of {disk}" in error.found, error
            size = int(size * 1.15) + 4
            subprocess.run(["mount", "-o", f"remount,size={size}k", str(disk)], check=True)
        assert {"extract", "validate", "publish"} <= stages, f"it was never full in every one: {stages}"
        of_the_day = {
            name: rows
            for name, rows in reference["lake"].items()
            if name.endswith("/2026-01-01") and not name.startswith("labels/")
        }
        assert lake(churn()) == of_the_day
        for day in range(1, 6):
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            ingest(run_of(day))
        assert everything(churn())["lake"] == reference["lake"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
        disk.rmdir()
