"""A version of a table that was recorded can be read for years, and one that is gone is not taken for one that never
was."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, Schema, write_deltalake

from evergreen.errors import PermanentError, VersionGone
from evergreen.lake import tables
from evergreen.lake.schema import RAW
from tests.delta_log import age

pytestmark = pytest.mark.usefixtures("lake")
TABLE = RAW.of("shop", "visits")
YEAR = timedelta(days=365)


def folder() -> Path:
    return Path(tables.table_path(TABLE))


def write(commits: range) -> dict[int, list[tuple[str, int]]]:
    """One commit each, on seven days in turn; returns the rows of each version."""
    history, current = {}, dict(values(tables.read(TABLE)) if folder().exists() else [])
    for commit in commits:
        day = f"2026-01-0{1 + commit % 7}"
        version = tables.replace(TABLE.at(day), pa.table({"value": [commit]}))
        current[day] = commit
        history[version] = sorted(current.items())
    return history


def values(table: pa.Table | None) -> list[tuple[str, int]]:
    assert table is not None
    return sorted(zip(table["partition"].to_pylist(), table["value"].to_pylist(), strict=True))


def of_before(commits: range) -> None:
    """The table as the release before made it, and wrote to it."""
    data = pa.table({"value": [0], "partition": ["2026-01-01"]})
    DeltaTable.create(
        str(folder()),
        Schema.from_arrow(data.schema),
        partition_by=["partition"],
        configuration={"delta.checkpointInterval": "10"},
    )
    for commit in commits:
        day = f"2026-01-0{1 + commit % 7}"
        write_deltalake(
            DeltaTable(str(folder())),
            pa.table({"value": [commit], "partition": [day]}),
            mode="overwrite",
            predicate=f"partition = '{day}'",
        )


def versions_gone(versions: range) -> list[int]:
    gone = []
    for version in versions:
        try:
            tables.read(TABLE, version=version)
        except VersionGone:
            gone.append(version)
    return gone


@pytest.mark.parametrize("commits", [25, pytest.param(400, marks=pytest.mark.long)])
def test_every_version_of_a_table_is_there_after_a_year_of_commits(commits: int) -> None:
    history = write(range(commits))
    age(folder(), YEAR)
    history |= write(range(commits, commits + 25))  # two checkpoints, each of which cleans up
    looked_at = {1, 9, 10, 11, commits // 2, commits, commits + 1, commits + 24}
    assert {version: values(tables.read(TABLE, version=version)) for version in looked_at} == {
        version: history[version] for version in looked_at
    }
    assert DeltaTable(str(folder())).vacuum() == [], "nobody's clean-up with Delta's own limits takes a file"


def test_a_table_of_the_release_before_keeps_what_it_has_from_the_first_write_on() -> None:
    of_before(range(28))
    age(folder(), YEAR)
    before = values(tables.read(TABLE, version=3))
    write(range(28, 30))
    assert values(tables.read(TABLE, version=3)) == before
    settled = DeltaTable(str(folder())).version()
    assert settled == 28 + 1 + 2, "one commit more, once"
    write(range(30, 55))
    assert versions_gone(range(56)) == []


def test_a_retention_that_somebody_set_is_left_as_it_is() -> None:
    write(range(1))
    DeltaTable(str(folder())).alter.set_table_properties({"delta.logRetentionDuration": "interval 3 days"})
    write(range(1, 3))
    assert DeltaTable(str(folder())).metadata().configuration["delta.logRetentionDuration"] == "interval 3 days"


def test_a_version_whose_log_was_cleaned_up_is_gone_and_says_what_is_left() -> None:
    of_before(range(25))
    age(folder(), YEAR)
    of_before_continued = DeltaTable(str(folder()))
    for commit in range(25, 37):
        write_deltalake(
            of_before_continued,
            pa.table({"value": [commit], "partition": ["2026-01-01"]}),
            mode="overwrite",
            predicate="partition = '2026-01-01'",
        )
    with pytest.raises(VersionGone) as raised:
        tables.read(TABLE, version=5)
    assert isinstance(raised.value, PermanentError)
    assert "version 5" in raised.value.doing and str(folder()) in raised.value.doing
    assert "37" in raised.value.found, "the newest version"
    assert tables.read(TABLE, version=37) is not None


def test_a_version_whose_files_were_removed_is_gone_and_says_which() -> None:
    write(range(8))  # day 1 is written twice
    (old,) = [
        file
        for file in DeltaTable(str(folder()), version=1).file_uris()
        if file not in DeltaTable(str(folder())).file_uris()
    ]
    Path(old).unlink()
    with pytest.raises(VersionGone) as raised:
        tables.read(TABLE, version=1)
    assert Path(old).name in raised.value.found
    assert tables.read(TABLE) is not None
    assert tables.missing(TABLE, 1) == [Path(old).name] and tables.missing(TABLE, 8) == []


def test_a_version_that_the_table_never_had_is_not_one_that_was_removed() -> None:
    write(range(3))
    with pytest.raises(VersionGone, match="3 is the newest"):
        tables.read(TABLE, version=99)


@pytest.mark.parametrize("version", [None, 0, 7])
def test_a_table_that_never_was_is_none(version: int | None) -> None:
    assert tables.read(TABLE, version=version) is None


def test_a_table_that_was_made_anew_has_none_of_the_old_versions() -> None:
    write(range(5))
    shutil.rmtree(folder())
    write(range(2))
    with pytest.raises(VersionGone, match="2 is the newest"):
        tables.read(TABLE, version=5)


def test_who_reads_a_dataset_of_a_pinned_table_reads_the_pinned_version() -> None:
    history = write(range(9))
    path = str(folder())

    def now() -> Any:
        return values(tables.dataset(path).to_table())

    with tables.pinned({TABLE: 4}):
        assert now() == history[4]
        write(range(9, 10))
        assert now() == history[4]
    assert now() != history[9]
