"""Rows of one key are removed from every version of a table; all else reads as before, and by Delta itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from evergreen import folders
from evergreen.lake import rewriting, tables
from evergreen.lake.rewriting import Key
from evergreen.lake.schema import QUARANTINE, RAW
from evergreen.settings import settings

pytestmark = pytest.mark.usefixtures("lake")
TABLE = RAW.of("shop", "visits")
PERSON = Key(frozenset({"guest"}), "guest-0417")
COMMITS = 24  # over two checkpoints


def day(commit: int) -> pa.Table:
    guests = [PERSON.value, *(f"guest-{number}" for number in range(commit, commit + 5)), None]
    spent = [float(commit * 10 + number) for number in range(len(guests))]
    return pa.table({"guest": pa.array(guests, pa.string()), "spent": spent})


def filled() -> dict[int, list[dict[str, object]]]:
    """The rows of every version of the table, without the person's."""
    for commit in range(COMMITS):
        tables.replace(TABLE.at(f"2026-01-0{1 + commit % 5}"), day(commit))
    return {version: others(version) for version in range(1, COMMITS + 1)}


def others(version: int | None = None) -> list[dict[str, object]]:
    table = tables.read(TABLE, version=version)
    assert table is not None
    rows = [row for row in table.to_pylist() if row["guest"] != PERSON.value]
    return sorted(rows, key=lambda row: (row["partition"], row["spent"]))


def holding(value: str) -> list[str]:
    """Files below the lake whose bytes hold a text, or whose Parquet does."""
    lake = Path(settings().lake)
    return [
        str(file)
        for file in lake.rglob("*")
        if file.is_file() and (value.encode() in file.read_bytes() or in_rows(file))
    ]


def in_rows(file: Path) -> bool:
    """Compressed bytes show no text."""
    return file.suffix == ".parquet" and PERSON.value in str(pq.ParquetFile(file).read().to_pydict())


def test_every_version_reads_as_before_but_for_the_rows_that_are_erased() -> None:
    before = filled()
    assert holding(PERSON.value), "the search finds none"
    assert rewriting.erase(TABLE, PERSON) == COMMITS
    assert holding(PERSON.value) == []
    path = tables.table_path(TABLE)
    for version, rows in before.items():
        assert others(version) == rows
        opened = DeltaTable(path, version)
        assert opened.count() == len(rows) == opened.to_pyarrow_dataset().to_table().num_rows
    assert sum(tables.counts(TABLE).values()) == len(before[COMMITS])
    assert rewriting.erase(TABLE, PERSON) == 0, "a second time does nothing"
    tables.replace(TABLE.at("2026-01-01"), day(0))  # whoever writes on, writes on
    assert DeltaTable(path).optimize.compact() and others(COMMITS) == before[COMMITS]


def test_a_kill_at_any_write_leaves_a_table_that_reads_and_a_second_run_ends_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, write = filled(), folders.write
    for stop in range(0, 60, 7):

        def killed(*given: object, left: list[int] = [stop]) -> None:  # noqa: B006 - counts down
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            write(*given)  # type: ignore[arg-type]

        monkeypatch.setattr(folders, "write", killed)
        with suppress(KeyboardInterrupt):
            rewriting.erase(TABLE, PERSON)
        assert {version: others(version) for version in before} == before
    monkeypatch.setattr(folders, "write", write)
    rewriting.erase(TABLE, PERSON)
    assert holding(PERSON.value) == [] and sum(tables.counts(TABLE).values()) == len(before[COMMITS])


def test_cells_that_did_not_fit_their_type_are_the_persons_too() -> None:
    table = QUARANTINE.of("shop", "visits")
    cells = ["spent=12x; guest=0417 ", "guest=0417; spent=1", "guest=04170", None]
    rows = pa.table({"guest": pa.array([None, None, None, 417], pa.int64()), "_unparsed": cells})
    tables.replace(table.at("2026-01-01"), rows)
    assert rewriting.erase(table, Key(frozenset({"guest"}), "0417")) == 2
    left = tables.read(table)
    assert left is not None and left["_unparsed"].to_pylist() == [cells[0], cells[2]]


@given(
    guests=st.lists(st.sampled_from(["a", "b", "é" * 40, "", "x" * 2000]), min_size=1, max_size=30),
    spent=st.floats(allow_nan=False),
)
@examples(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_of_any_rows_has_room_for_fewer(guests: list[str], spent: float) -> None:
    for victim in {*guests}:
        key, others_of_it = Key(frozenset({"guest"}), victim), [guest for guest in guests if guest != victim]
        tables.replace(TABLE.at("2026-01-01"), pa.table({"guest": guests, "spent": [spent] * len(guests)}))
        assert rewriting.erase(TABLE, key) >= len(guests) - len(others_of_it)
        left = tables.read(TABLE)
        assert left is not None and left["guest"].to_pylist() == others_of_it


def test_a_whole_number_is_a_key_of_any_length_that_a_column_holds() -> None:
    keys = pa.table({"guest": pa.array([2**63 - 1, -(2**63), 1_234_567_890_123_456_789, 7, 0])})
    for number in keys["guest"].to_pylist():
        assert Key(frozenset({"guest"}), str(number)).rows(keys).to_pylist().count(True) == 1, number
    for other in ("8", "+7", "7.0", str(2**63), str(-(2**63) - 1)):
        assert not any(Key(frozenset({"guest"}), other).rows(keys).to_pylist()), other


AWKWARD = {
    "quotes": 'o\'Neil "Ann" \\ 7',
    "a line separator": "guest\u2028of\x85two\x0blines\x1c",
    "line breaks": "guest\r\nof\ttwo",
    "long": "guest-" + "0417" * 40,
    "long, of wide letters": "\u00e9\u6f22\U0001f600" * 30,
    "JSON": '{"guest": "0417"}',
    "a path": "../guest%20of=0417/",
}


@pytest.mark.parametrize("name", AWKWARD)
def test_statistics_quote_nothing_of_a_key_with_any_characters(name: str) -> None:
    """As the smallest and the largest value of a file, in commits and in a checkpoint."""
    key = Key(frozenset({"guest"}), AWKWARD[name])
    for number, others_of in enumerate((["\U0010ffff"] * 2, ["!"] * 2, [None] * 2)):
        guests = pa.array([key.value, *others_of], pa.string())
        rows = pa.table({"guest": guests, "spent": [1.0, 2.0, 3.0]})
        tables.replace(TABLE.at(f"2026-01-0{number + 1}"), rows)
    DeltaTable(tables.table_path(TABLE)).create_checkpoint()
    beginning = key.value[:8]
    assert quoting(beginning), "the search finds none"
    assert rewriting.erase(TABLE, key) == 3
    assert quoting(beginning) == []
    left = tables.read(TABLE)
    assert left is not None and sorted(map(str, left["guest"].to_pylist())) == sorted(
        ["!"] * 2 + ["None"] * 2 + ["\U0010ffff"] * 2
    )
    assert rewriting.erase(TABLE, key) == 0


def quoting(text: str) -> list[str]:
    """Files of the log and of data in which a text stands, however it is escaped."""
    forms = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    forms |= {json.dumps(form, ensure_ascii=ascii)[1:-1] for form in forms for ascii in (True, False)}
    found = []
    for file in (path for path in Path(settings().lake).rglob("*") if path.is_file()):
        whole = file.read_bytes().decode(errors="replace")
        if file.suffix == ".parquet":
            whole += str(pq.ParquetFile(file).read().to_pylist()) + "".join(
                str(value) for row in pq.ParquetFile(file).read().to_pylist() for value in strings(row)
            )
        if any(form in whole for form in forms):
            found.append(str(file))
    return found


def strings(value: object) -> Iterator[str]:
    """All texts within a value."""
    if isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from strings(each)
    elif isinstance(value, str):
        yield value
