"""Removing an entity's rows from files that are written already: from every version of a table at once (docs/adr/0027).

A version that somebody pinned names its files, so a file is written again under its own name and with its own size,
without the rows; the log stays as it is, but for the statistics, which quote values. Nothing is unreadable at any
instant, a kill leaves files that are done and files that are not, and a second pass does the others.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from evergreen import folders, object_store
from evergreen.errors import WriteConflict
from evergreen.lake.schema import UNPARSED, TableId
from evergreen.lake.tables import SETTING, table_path
from evergreen.spec.kinds import KINDS, KeyType

_PASSES = 4  # a writer beside us may copy rows into new files
_LOG = "/_delta_log/"
_CUT = 24  # characters: statistics hold the beginnings of long texts
_INTEGER = re.compile("-?[0-9]{1,19}")
_INT64 = 2**63
_FOOTER = 8  # bytes at a Parquet file's end: the length of its metadata, and its mark
# From the smallest file to write on: one that holds fewer rows needs no more room than the one before it.
_WRITINGS: tuple[dict[str, Any], ...] = (
    {"compression": "zstd"},
    {"compression": "zstd", "compression_level": 19, "write_statistics": False, "use_dictionary": True},
    {"compression": "zstd", "compression_level": 19, "write_statistics": False, "use_dictionary": False},
)


class Counted(NamedTuple):
    """Rows of a file."""

    held: int  # of the key
    others: int


@dataclass(frozen=True)
class Key:
    """Whose rows: those that have the value in one of the columns."""

    columns: frozenset[str]
    value: str

    def rows(self, table: pa.Table) -> pa.ChunkedArray | pa.Array:
        """Which rows of a table those are, as booleans without nulls."""
        mask = pa.array([False] * table.num_rows, pa.bool_())
        for name in sorted(self.columns & set(table.column_names)):
            value = typed(self.value, table.schema.field(name).type)
            if value is not None:
                mask = pc.or_(mask, pc.fill_null(pc.equal(table[name], value), False))
            if UNPARSED.name in table.column_names:  # of cells that did not fit their type
                cell = rf"(^|; ){re.escape(name)}={re.escape(self.value)}(;|$)"
                mask = pc.or_(mask, pc.fill_null(pc.match_substring_regex(table[UNPARSED.name], cell), False))
        return mask

    def where(self, kinds: Mapping[str, KeyType]) -> pc.Expression:
        """The same rows, as a condition on a table with these columns of keys."""
        condition = pc.scalar(False)
        for name in sorted(self.columns & kinds.keys()):
            value = typed(self.value, KINDS[kinds[name]].stored())
            if value is not None:
                condition = condition | (pc.field(name) == value)
        return condition

    def count(self, file: str, setting: str = SETTING) -> Counted:
        """How many rows of a Parquet file they are; none too where the file is gone by now."""
        try:
            source = io.BytesIO(folders.read(file, setting)) if file.startswith(object_store.SCHEME) else file
            with pq.ParquetFile(source) as opened:
                columns = [name for name in opened.schema_arrow.names if name in self.columns]
                if not columns or not self._possible(opened, columns):
                    return Counted(0, opened.metadata.num_rows)
                columns += [UNPARSED.name] if UNPARSED.name in opened.schema_arrow.names else []
                held = int(pc.sum(self.rows(opened.read(columns=columns))).as_py() or 0)
                return Counted(held, opened.metadata.num_rows - held)
        except FileNotFoundError:
            return Counted(0, 0)

    def _possible(self, opened: pq.ParquetFile, columns: Sequence[str]) -> bool:
        """Whether the file's own statistics allow for such a row."""
        if UNPARSED.name in opened.schema_arrow.names:
            return True
        places = [opened.schema_arrow.names.index(name) for name in columns]
        values = [typed(self.value, opened.schema_arrow.field(place).type) for place in places]
        groups = (opened.metadata.row_group(number) for number in range(opened.metadata.num_row_groups))
        for group in groups:
            for place, value in zip(places, values, strict=True):
                known = group.column(place).statistics
                if value is not None and not (
                    known is not None and known.has_min_max and not known.min <= value <= known.max
                ):
                    return True
        return False


def typed(value: str, kind: pa.DataType) -> str | int | None:
    """A key as a column's values are; None: no value of such a column is this key."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return value
    if pa.types.is_integer(kind) and _INTEGER.fullmatch(value) and -_INT64 <= int(value) < _INT64:
        return int(value)
    return None


def of(table: TableId) -> list[str]:
    """The files of a table, of all of its versions, and of none."""
    return folders.below(table_path(table), SETTING)


def held(table: TableId, key: Key) -> dict[str, int]:
    """The data files of a table that hold rows of a key, of whatever version, with how many."""
    return {file: rows for file in _data(of(table)) if (rows := key.count(file).held)}


def erase(table: TableId, key: Key) -> int:
    """Remove the rows of a key from all versions of a table; returns how many there were, in all of its files.

    Raises:
        WriteConflict: writers beside us kept writing them again.
    """
    erased = 0
    for _ in range(_PASSES):
        files = of(table)
        holding = {file: counted for file in _data(files) if (counted := key.count(file)).held}
        # First the log: where the rows are still there, a count that is too small harms nobody who reads them.
        names = {file.rpartition("/")[2]: counted.others for file, counted in holding.items()}
        for file in files:
            if _LOG in file:
                _clean_log(file, key.value, names)
        for file in holding:
            _rewrite(file, key)
        erased += sum(counted.held for counted in holding.values())
        if not holding:
            return erased
    raise WriteConflict(
        f"erasing rows from {table_path(table)}",
        found=f"new files with such rows in each of {_PASSES} passes",
        expected="nobody who writes to the table meanwhile",
        next_step="let the runs that write to it end, then run the command again",
    )


def _data(files: Sequence[str]) -> Iterator[str]:
    return (file for file in files if _LOG not in file and file.endswith(".parquet"))


def _rewrite(file: str, key: Key) -> None:
    content = folders.read(file, SETTING)
    with pq.ParquetFile(io.BytesIO(content)) as opened:
        table = opened.read()
    kept = table.filter(pc.invert(key.rows(table)))
    folders.write(file, _of_size(kept, len(content), file), SETTING)


def _of_size(table: pa.Table, size: int, file: str) -> bytes:
    """A Parquet file of exactly so many bytes: the log names a file's size, by which readers look for its end. What is
    left over stands between the rows and the metadata, where nobody looks."""
    for options in _WRITINGS:
        written = io.BytesIO()
        pq.write_table(table, written, store_schema=False, **options)
        content = written.getvalue()
        if len(content) <= size:
            end = int.from_bytes(content[-_FOOTER:-4], "little") + _FOOTER
            return content[:-end] + bytes(size - len(content)) + content[-end:]
    raise WriteConflict(
        f"writing {file} again without some of its rows",
        found=f"{len(content):,} bytes",
        expected=f"at most the {size:,} bytes that the table's log names",
        next_step="compact the table (evergreen housekeeping), then run the command again",
    )


def _clean_log(file: str, value: str, rows: dict[str, int]) -> None:
    """Let a commit or checkpoint quote nothing of a key.

    Args:
        rows: name of a data file → how many rows it will have.
    """
    content = folders.read(file, SETTING)
    cleaned = content
    if file.endswith(".parquet"):
        cleaned = _checkpoint(content, value, rows)
    elif ".json" in file:
        cleaned = _commit(content, value, rows)
    if cleaned != content:
        folders.write(file, cleaned, SETTING)


def _commit(content: bytes, value: str, rows: dict[str, int]) -> bytes:
    before = content.decode().split("\n")  # a text may hold what Python also takes for the end of a line
    lines = [*before]
    for number, line in enumerate(lines):
        if not line:
            continue
        actions = json.loads(line)
        for action in (part for part in actions.values() if isinstance(part, dict) and part.get("stats")):
            stats = _stats(action["stats"], action["path"], value, rows)
            if stats != action["stats"]:
                action["stats"] = stats
                lines[number] = json.dumps(actions, separators=(",", ":"))
    return "\n".join(lines).encode() if lines != before else content


def _checkpoint(content: bytes, value: str, rows: dict[str, int]) -> bytes:
    with pq.ParquetFile(io.BytesIO(content)) as opened:
        table = opened.read()
    changed = False
    for name in ("add", "remove"):
        actions = table[name].combine_chunks()
        if "stats" not in {field.name for field in actions.type}:
            continue
        before = pc.struct_field(actions, "stats").to_pylist()
        paths = pc.struct_field(actions, "path").to_pylist()
        after = [stats and _stats(stats, path, value, rows) for stats, path in zip(before, paths, strict=True)]
        if after == before:
            continue
        changed, place = True, actions.type.get_field_index("stats")
        fields = [actions.type.field(number) for number in range(actions.type.num_fields)]
        columns = [actions.field(number) for number in range(actions.type.num_fields)]
        columns[place] = pa.array(after, fields[place].type)
        whole = pa.StructArray.from_arrays(columns, fields=fields, mask=actions.is_null())
        table = table.set_column(table.column_names.index(name), table.schema.field(name), whole)
    if not changed:
        return content
    written = io.BytesIO()
    pq.write_table(table, written)
    return written.getvalue()


def _stats(text: str, path: str, value: str, rows: dict[str, int]) -> str:
    """The statistics of a data file, without values where one of them may be the key's, or of a row that goes."""
    stats = json.loads(text)
    name = path.rpartition("/")[2]
    if name in rows:
        stats["numRecords"] = rows[name]
    elif json.dumps(value[:_CUT], ensure_ascii=False)[1:-1] not in json.dumps(stats, ensure_ascii=False):
        return text
    return json.dumps({"numRecords": stats.get("numRecords", 0)}, separators=(",", ":"))
