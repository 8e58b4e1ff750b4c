"""Delta tables: one folder per table, partitioned by `partition`; a partition is replaced atomically."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs
from deltalake import DeltaTable, Schema, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from evergreen.answers import refusal, silence
from evergreen.errors import ColumnChanged, VersionGone, WriteConflict
from evergreen.lake import pieces as of_partitions
from evergreen.lake.schema import Partition, TableId
from evergreen.object_store import SCHEME, STORE, without_connection
from evergreen.quoting import line
from evergreen.settings import settings
from evergreen.spec.columns import EVENT, PARTITION

SETTING = "EVERGREEN_LAKE"  # says where the tables are
_ATTEMPTS = 6
_STATUS = re.compile(r"status code\D{1,5}(\d{3})\b")  # Delta tells it in its message alone
_COLOUR = re.compile(r"\x1b\[\d*m")
# Opening a table reads every commit since its last checkpoint: 27 ms before Delta's own
# interval of 100 is over, 4 ms at most with 10.
_OPENED_FAST = {"delta.checkpointInterval": "10"}
# Delta's own limits are 30 days and 7: after them the next checkpoint removes old commits, and `vacuum` the files of
# old versions. What is recorded as a version is kept until somebody decides otherwise (docs/adr/0022).
_KEPT = dict.fromkeys(("delta.logRetentionDuration", "delta.deletedFileRetentionDuration"), "interval 36500 days")

T = TypeVar("T")
Within = tuple[datetime | None, datetime | None]  # event times, both included; None: no bound
Between = Mapping[str, tuple[Any, Any]]  # column → the least and the greatest value
_pinned: ContextVar[Mapping[str, int] | None] = ContextVar("_pinned", default=None)  # path → version


def table_path(table: TableId) -> str:
    """Where a table lives: `<lake>/<model>/<layer>/<name>`."""
    return f"{settings().lake.rstrip('/')}/{table}"


def replace(partition: Partition, data: pa.Table) -> int:
    """Make `data` the whole content of one partition; returns the table's version.

    The column `partition` is added when it is missing; columns that the table does not have yet are added to it.
    Readers see the old rows or the new ones, never both and never none.

    Raises:
        WriteConflict: other writers kept replacing the same partition.
        ColumnChanged: the table has a column of that name with another type.
        ServiceUnavailable: the object store does not answer, or not now.
        RequestRefused: it does not let us.
    """
    path = table_path(partition.table)
    if PARTITION in data.column_names:
        data = data.drop_columns([PARTITION])
    data = data.append_column(PARTITION, pa.array([partition.key] * data.num_rows, pa.string()))
    return committed(f"replacing partition {partition.key} of", path, lambda: _replace(path, partition.key, data))


def committed(doing: str, path: str, commit: Callable[[], T]) -> T:
    """What a commit to a table returns; it is tried again where another writer was faster.

    Raises:
        WriteConflict, ServiceUnavailable, RequestRefused: as `replace` does.
    """
    for attempt in range(_ATTEMPTS):
        try:
            with _answering(doing, path):
                return commit()
        except (CommitFailedError, FileExistsError) as error:
            failure: Exception = error
        except DeltaError as error:
            if "already exists" not in str(error):  # two writers created the table at the same time
                raise
            failure = error
        time.sleep(0.05 * 2**attempt)
    raise WriteConflict(
        f"{doing} {path}",
        found=f"{_ATTEMPTS} conflicts, the last one: {failure}",
        expected="a moment without another writer of the same partition",
        next_step="clear this task",
    ) from failure


def _replace(path: str, partition: str, data: pa.Table) -> int:
    # Made empty first: of two writers whose rows make the table, Delta would append the second one's.
    table = _open(path) or DeltaTable.create(
        path,
        Schema.from_arrow(data.schema),
        mode="error",
        partition_by=[PARTITION],
        configuration=_OPENED_FAST | _KEPT,
        storage_options=_storage(path),
    )
    _keep_history(table)
    predicate = f"{PARTITION} = '{partition}'"
    if data.num_rows == 0:
        table.delete(predicate)
        return int(table.version())
    _check_types(table, path, data)
    write_deltalake(table, data, mode="overwrite", predicate=predicate, schema_mode="merge")
    return int(table.version())


def _keep_history(table: DeltaTable) -> None:
    """Of a table that a release before this one made: its next checkpoint would remove what is recorded. What somebody
    chose for it stays."""
    lacking = _KEPT.keys() - table.metadata().configuration.keys()
    if lacking:
        table.alter.set_table_properties({name: _KEPT[name] for name in sorted(lacking)})


def _check_types(table: DeltaTable, path: str, data: pa.Table) -> None:
    """Delta casts what is written to the type that the table has, and 12.5 into
    a column of whole numbers is 12 then."""
    stored = {field.name: field.type for field in table.schema().fields}
    changed = [
        f"{field.name}: {stored[field.name].type} in the table, {field.type.type} now"
        for field in Schema.from_arrow(data.schema).fields
        if field.name in stored and field.type != stored[field.name]
    ]
    if changed:
        raise ColumnChanged(
            f"replacing a partition of {path}",
            found="; ".join(changed),
            expected="the types that the table was made with",
            next_step="give the column a new name, where it is declared and in the queries that make it",
        )


def read(
    table: TableId,
    partitions: Sequence[str] | None = None,
    version: int | None = None,
    columns: Sequence[str] | None = None,
    where: pc.Expression | None = None,
    within: Within = (None, None),
) -> pa.Table | None:
    """Rows of a table, of all partitions or of some, as of a version or now; None when there is no such table.

    Args:
        where: what the rows must fulfil.
        within: only what may hold rows of that time is read; rows of other times may be among them.

    Raises:
        VersionGone: there is such a table, and the version cannot be read: its log or its files were removed.
        ServiceUnavailable: the object store does not answer, or not now.
        RequestRefused: it does not let us.
    """
    path = table_path(table)
    with _answering("reading", path):
        delta = _open(path, version)
        if delta is None:
            return None
        rows = _dataset(delta, partitions, within)
        try:
            return _utc(rows.to_table(columns=list(columns) if columns else None, filter=where))
        except FileNotFoundError as error:
            raise _gone(path, delta.version(), f"a file of it is missing: {error}") from error


def pieces(table: TableId, partitions: Sequence[str]) -> Iterator[pa.Table]:
    """The rows of some partitions, as `read` gives them, bit by bit (`lake.pieces`); none when there is no such
    table.

    Raises:
        as `read`.
    """
    path = table_path(table)
    with _answering("reading", path):
        delta = _open(path)
        if delta is None:
            return
        try:
            yield from of_partitions.of(path, delta, partitions, _dataset, _utc)
        except FileNotFoundError as error:
            raise _gone(path, delta.version(), f"a file of it is missing: {error}") from error


def version(table: TableId) -> int | None:
    """The table's newest version; None when there is no such table.

    Raises:
        ServiceUnavailable: the object store does not answer, or not now.
        RequestRefused: it does not let us.
    """
    delta = opened(table)
    return None if delta is None else int(delta.version())


def dataset(path: str, within: Within = (None, None), between: Between = MappingProxyType({})) -> ds.Dataset:
    """A table for engines that read Arrow datasets (DuckDB, Feast's offline store): its newest version, or the one
    that is pinned.

    Args:
        within: only what may hold rows of that time is in it; rows of other times may be among them.
        between: column → the least and the greatest value: the same of values of other columns, not null.

    Raises:
        TableNotFoundError: there is no table at `path`.
        VersionGone: the pinned version cannot be read any more.
    """
    versions = _pinned.get()
    delta = _open(path, None if versions is None else versions.get(path))
    if delta is None or (versions is not None and path not in versions):
        raise TableNotFoundError(f"no table at {path}")
    return _dataset(delta, None, within, between)


def _dataset(
    delta: DeltaTable,
    partitions: Sequence[str] | None,
    within: Within = (None, None),
    between: Between = MappingProxyType({}),
) -> ds.Dataset:
    """Pruning the list of files before any is opened keeps the cost of some partitions independent of how many there
    are: by the partition, and by the least and greatest values that Delta keeps of each file."""
    pruned: list[tuple[str, str, Any]] = [] if partitions is None else [(PARTITION, "in", list(partitions))]
    for name, bounds in {EVENT: within, **between}.items():
        pruned += [(name, sign, bound) for sign, bound in zip((">=", "<="), bounds, strict=True) if bound is not None]
    return delta.to_pyarrow_dataset(file_pruning_predicate=pruned or None)


@contextmanager
def pinned(versions: Mapping[TableId, int]) -> Iterator[None]:
    """Within the block, `dataset` knows these versions of these tables, whoever writes meanwhile, and no others."""
    token = _pinned.set({table_path(table): version for table, version in versions.items()})
    try:
        yield
    finally:
        _pinned.reset(token)


def opened(table: TableId, version: int | None = None) -> DeltaTable | None:
    """A table as Delta knows it, as of a version or now; None when there is no such table.

    Raises:
        VersionGone: there is such a table, without that version.
        ServiceUnavailable, RequestRefused: of the object store.
    """
    path = table_path(table)
    with _answering("opening", path):
        return _open(path, version)


def counts(table: TableId) -> dict[str, int]:
    """The rows of each partition of a table, as its log counts them; none when there is no such table."""
    delta = opened(table)
    if delta is None:
        return {}
    files = pa.table(delta.get_add_actions(flatten=True))
    rows: dict[str, int] = {}
    for partition, count in zip(
        files[f"partition.{PARTITION}"].to_pylist(), files["num_records"].to_pylist(), strict=True
    ):
        rows[partition] = rows.get(partition, 0) + count
    return rows


def bounds(table: TableId, column: str) -> dict[str, tuple[datetime, datetime]]:
    """The least and the greatest moment of a column in each partition of a table, as its log has them; without
    partitions of which it does not say."""
    delta = opened(table)
    if delta is None:
        return {}
    files = pa.table(delta.get_add_actions(flatten=True))
    names = [f"partition.{PARTITION}", f"min.{column}", f"max.{column}"]
    if missing := set(names) - set(files.column_names):
        assert names[0] not in missing
        return {}
    found: dict[str, tuple[datetime, datetime]] = {}
    silent = set()
    for partition, least, greatest in zip(*(files[name].to_pylist() for name in names), strict=True):
        if least is None or greatest is None:
            silent.add(partition)
            continue
        other = found.get(partition, (least, greatest))
        found[partition] = min(least, other[0]), max(greatest, other[1])
    return {partition: each for partition, each in found.items() if partition not in silent}


def missing(table: TableId, version: int) -> list[str]:
    """The files of a version that are not there any more, by name; for engines that read them by themselves.

    Raises:
        VersionGone: its log is gone too, or the table is.
    """
    path = table_path(table)
    with _answering("looking for the files of", path):
        delta = _open(path, version)
        if delta is None:
            raise _gone(path, version, "no such table")
        rows = delta.to_pyarrow_dataset()
        infos = rows.filesystem.get_file_info(rows.files)
    return sorted(info.base_name for info in infos if info.type == pyarrow.fs.FileType.NotFound)


def _open(path: str, version: int | None = None) -> DeltaTable | None:
    """A table as of a version or now; None when there is none.

    Raises:
        VersionGone: there is one, without that version.
    """
    try:
        if version is None:
            return of_partitions.opened(path, lambda: DeltaTable(path, storage_options=_storage(path)))
        return DeltaTable(path, version=version, storage_options=_storage(path))
    except TableNotFoundError as error:  # also when the log of a version was removed
        failure: Exception = error
    except DeltaError as error:
        if version is None:
            raise
        failure = error
    if version is None:
        return None
    try:
        newest = _open(path)
    except DeltaError as error:
        raise _gone(path, version, f"a log that cannot be read ({error})") from error
    if newest is None:
        return None
    last = int(newest.version())
    if version > last:
        raise _gone(path, version, f"{last} is the newest version: the table was made anew, or put back from a copy")
    raise _gone(path, version, f"versions up to {last}, and of this one no log ({failure})") from failure


def gone(table: TableId, version: int, found: str) -> VersionGone:
    """The error for a version that cannot be read any more."""
    return _gone(table_path(table), version, found)


def _gone(path: str, version: int, found: str) -> VersionGone:
    return VersionGone(
        f"reading version {version} of {path}",
        found=line(_COLOUR.sub("", found)),
        expected="the commits and the files of a version that is recorded",
        next_step=(
            "put the table's folder back from a copy that has them; without one nothing can be built again from this"
            " version (docs/operator.md, growth)"
        ),
    )


@contextmanager
def _answering(doing: str, path: str) -> Iterator[None]:
    """What an object store's refusal and its silence mean: Delta, which has tried for a
    while, raises both as a plain OSError."""
    try:
        yield
    except FileExistsError:  # of two writers who made the table at the same time
        raise
    except OSError as error:
        if not path.startswith(SCHEME):
            raise
        message = " ".join(_COLOUR.sub("", str(error)).split())
        if answer := _STATUS.search(message):
            raise refusal(f"{doing} {path}", int(answer[1]), message, STORE) from error
        raise silence(f"{doing} {path}", message, STORE) from error


def _storage(path: str) -> dict[str, str] | None:
    """Object-store options of an s3:// path, from the standard AWS variables."""
    if not path.startswith(SCHEME):
        return None
    without_connection(path, "EVERGREEN_LAKE")
    options = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    if options.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        options["AWS_ALLOW_HTTP"] = "true"
    return options


def _utc(table: pa.Table) -> pa.Table:
    """Delta's timestamps come back as UTC in microseconds, whatever the reader
    made of them; strings as plain strings."""
    for position, field in enumerate(table.schema):
        kind = field.type
        if pa.types.is_timestamp(kind) and kind.unit != "us":
            kind = pa.timestamp("us", kind.tz)
        elif pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
            kind = pa.string()
        if kind != field.type:
            table = table.set_column(position, field.name, pc.cast(table.column(position), kind))
    return table
