"""Every publication of a partition, and what it was made from (docs/adr/0024).

The catalogue says what a partition is now; here stands what each state of it was made from, the earlier ones too. A
state is written down when it differs from the one before it in content or in inputs: a run that is done again adds
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

from psycopg import Connection

from evergreen.database import Stored, Table, connect
from evergreen.handovers.ingest import BatchFile, BatchQuery
from evergreen.lake.schema import Partition, TableId

if TYPE_CHECKING:
    from evergreen.lake.catalogue import Entry


@dataclass(frozen=True)
class Inputs:
    """What a partition was made from: files or a query, other partitions, or answers of versions."""

    files: tuple[BatchFile, ...] = ()
    query: BatchQuery | None = None
    # table (`dataset/layer/name`) → partition → the version of that table in which it was read
    partitions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    versions: Mapping[int, int] = field(default_factory=dict)  # of predictions: version → how many it answered


@dataclass(frozen=True)
class Publication:
    """A state of a partition, from the version of its table that first had it until that of its next publication."""

    model: str  # the dataset's name; of labels and predictions the model's
    layer: str  # the layer of the lake, such as `raw`
    name: str  # the table in its layer: a source, a feature view, a label
    partition: str  # the interval's key, such as `2026-01-05`
    table_version: int  # the first Delta table version that has the rows
    rows: int  # number of rows
    content_hash: str  # digest of the rows, whatever their order
    known_at: datetime  # when the rows became available
    # JSON: `files` (`name`, `size` in bytes, `sha256`) or `query` (`connection`, `statement`: sha256 of its text,
    # `rows`, `content_hash`), `partitions` (table → partition → version), `versions` (version → answers);
    # null: an earlier release published it, and nothing is known
    inputs: Inputs | None
    # when the row was written, by the database's clock
    at: Annotated[datetime | None, Stored(filled="default now()")] = None

    @property
    def table(self) -> TableId:
        """The table of the partition."""
        return TableId(self.model, self.layer, self.name)

    @property
    def of(self) -> Partition:
        """The partition."""
        return self.table.at(self.partition)

    @property
    def state(self) -> tuple[TableId, str, int]:
        """What tells it from every other one."""
        return self.table, self.partition, self.table_version


TABLE = Table("publications", Publication, key=("model", "layer", "name", "partition", "table_version"))
_NEWEST = 2**62  # a version of a table that comes after all others
_WHOSE = "model = %s and layer = %s and name = %s"


def add(connection: Connection, entries: Sequence[Entry], inputs: Mapping[Partition, Inputs]) -> None:
    """Write down what was published, within the transaction that says so in the catalogue.

    Args:
        inputs: what each partition was made from. One that is left out keeps those that it had: it was written again
            out of itself, with fewer rows, say.
    """
    before = {publication.of: publication for publication in _newest(connection, entries)}
    new = []
    for entry in entries:
        last = before.get(entry.of)
        made_from = inputs.get(entry.of, None if last is None else last.inputs)
        if last is None or (last.content_hash, last.inputs) != (entry.content_hash, made_from):
            new.append(
                Publication(
                    model=entry.model,
                    layer=entry.layer,
                    name=entry.name,
                    partition=entry.partition,
                    table_version=entry.table_version,
                    rows=entry.rows,
                    content_hash=entry.content_hash,
                    known_at=entry.known_at,
                    inputs=made_from,
                )
            )
    TABLE.insert(connection, new)


def _newest(connection: Connection, entries: Sequence[Entry]) -> list[Publication]:
    """The newest publication of each entry's partition. Whoever publishes one waits for who does already: the
    catalogue's row is locked."""
    columns = [[getattr(entry, name) for entry in entries] for name in TABLE.key[:4]]
    return TABLE.select(
        connection,
        "p where table_version = (select max(table_version) from publications where (model, layer, name, partition)"
        " = (p.model, p.layer, p.name, p.partition)) and (model, layer, name, partition)"
        " in (select * from unnest(%s::text[], %s::text[], %s::text[], %s::text[]))",
        columns,
    )


def made_from(partition: Partition) -> Inputs | None:
    """What a partition was made from, as it was last published; None: nobody knows."""
    states = of_partitions(partition.table, {partition.key: _NEWEST})
    return states[partition.key].inputs if partition.key in states else None


def of_version(table: TableId, version: int) -> dict[str, Publication]:
    """What a version of a table has: partition → its publication."""
    return _states(table, "table_version <= %s", [version])


def of_stretch(table: TableId, version: int, first: str, last: str, as_of: datetime) -> dict[str, Publication]:
    """Of what a version of a table has, the partitions between two, both included, whose rows were available at a
    moment."""
    which = 'table_version <= %s and partition collate "C" between %s and %s and known_at <= %s'
    return _states(table, which, [version, first, last, as_of])


def of_partitions(table: TableId, versions: Mapping[str, int]) -> dict[str, Publication]:
    """Partition → its publication that a version of the table has, each of another version."""
    if not versions:
        return {}
    return _states(
        table,
        "(partition, table_version) in (select stored.partition, max(stored.table_version) from publications stored"
        " join unnest(%s::text[], %s::bigint[]) as wanted(partition, version) on stored.partition = wanted.partition"
        " and stored.table_version <= wanted.version where (stored.model, stored.layer, stored.name) = (%s, %s, %s)"
        " group by stored.partition)",
        [list(versions), list(versions.values()), table.of, table.layer, table.name],
    )


def _states(table: TableId, which: str, parameters: Sequence[object]) -> dict[str, Publication]:
    with connect() as connection:
        rows = TABLE.select(
            connection,
            f'where {_WHOSE} and {which} order by partition collate "C", table_version',
            [table.of, table.layer, table.name, *parameters],
        )
    return {row.partition: row for row in rows}  # of each partition the last one


def since(table: TableId, moment: datetime) -> list[tuple[datetime, int]]:
    """The versions that a table had from a moment on, the oldest first, each with when it was published, by the
    database's clock: the one that stood at the moment, and those after it."""
    before = f"select max(at) from publications where {_WHOSE} and at <= %s"
    whose = [table.of, table.layer, table.name]
    with connect() as connection:
        rows = connection.execute(
            f"select at, max(table_version) from publications where {_WHOSE} and at >= coalesce(({before}), %s)"
            " group by at order by at".encode(),
            [*whose, *whose, moment, moment],
        ).fetchall()
    return [(at, version) for at, version in rows]


def of_table(table: TableId) -> list[Publication]:
    """All publications of a table, in the order of partitions and versions."""
    with connect() as connection:
        return TABLE.select(
            connection,
            f'where {_WHOSE} order by partition collate "C", table_version',
            [table.of, table.layer, table.name],
        )


def reading(table: TableId, partitions: Sequence[str]) -> list[Publication]:
    """The publications that were made from some partitions of a table, in any version of it."""
    with connect() as connection:
        return TABLE.select(
            connection,
            "where inputs->'partitions'->%s::text ?| %s::text[] order by model, layer, name, partition, table_version",
            [str(table), list(partitions)],
        )


def of_layers(*layers: str) -> list[TableId]:
    """The tables of some layers of which anything was ever published."""
    with connect() as connection:
        rows = connection.execute(
            "select distinct model, layer, name from publications where layer = any(%s) order by model, layer, name",
            [list(layers)],
        ).fetchall()
    return [TableId(*row) for row in rows]


def with_file(wanted: str) -> list[Publication]:
    """The publications that were made from a file: by its address, the end of it, or its sha256 (eight digits or
    more)."""
    digest = wanted.lower()
    by_digest = len(digest) >= 8 and set(digest) <= set("0123456789abcdef")
    matching = "file->>'name' = %s or right(file->>'name', length(%s) + 1) = '/' || %s"
    parameters = [wanted] * 3
    if by_digest:
        matching += " or left(file->>'sha256', length(%s)) = %s"
        parameters += [digest] * 2
    with connect() as connection:
        return TABLE.select(
            connection,
            "where inputs is not null and exists (select from jsonb_array_elements(inputs->'files') file"
            f" where {matching}) order by model, layer, name, partition, table_version",
            parameters,
        )


def file_names() -> list[str]:
    """The addresses of all files that anything was made from."""
    with connect() as connection:
        rows = connection.execute(
            "select distinct file->>'name' from publications, jsonb_array_elements(inputs->'files') file"
            " where inputs is not null order by 1"
        ).fetchall()
    return [name for (name,) in rows]
