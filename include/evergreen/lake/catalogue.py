"""Which partitions of the lake are published, with what content (docs/adr/0001).

A row is written after the Delta commit of its partition, so it never promises what is not there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from evergreen.database import Table, connect
from evergreen.lake import publications
from evergreen.lake.publications import Inputs
from evergreen.lake.schema import ONLINE, Partition, TableId


@dataclass(frozen=True)
class Entry:
    """What is published of one partition."""

    model: str  # the dataset's name; of labels and predictions the model's
    layer: str  # the layer of the lake, such as `raw`; `online` for what the online store has of a feature view
    name: str  # the table in its layer: a source, a feature view, a label
    partition: str  # the interval's key, such as `2026-01-05`
    rows: int  # number of rows
    content_hash: str  # digest of the rows, whatever their order
    inputs_hash: str | None  # digest of all that it was computed from; null: it came from outside
    table_version: int  # the first Delta table version that has the rows
    known_at: datetime  # when the rows became available
    # of a raw partition: the newest row that it has had from after its own interval; null: it has had none
    reaches: datetime | None = None

    @property
    def of(self) -> Partition:
        """The partition."""
        return TableId(self.model, self.layer, self.name).at(self.partition)


@dataclass(frozen=True)
class Lacking:
    """What erasures left of a published partition."""

    entry: Entry
    gone: int  # rows that were published and are not there any more
    since: datetime  # when what they removed was published


TABLE = Table("partitions", Entry, key=("model", "layer", "name", "partition"))


def record(*entries: Entry, inputs: Mapping[Partition, Inputs] | None = None) -> None:
    """Say that partitions are published; replaces what was said of them before. All or none.

    Args:
        inputs: what each was made from (`publications.add`).
    """
    with connect() as connection:
        TABLE.insert(connection, entries, replace=True)
        publications.add(connection, [entry for entry in entries if entry.layer != ONLINE], inputs or {})


def published(
    table: TableId, partitions: Sequence[str] | None = None, *, reaching: datetime | None = None
) -> dict[str, Entry]:
    """The published partitions of a table, by key; only the given ones when some are
    given, and those whose rows reach up to a moment."""
    only = "" if partitions is None else "and (partition = any(%s) or reaches >= %s)"
    parameters = [table.of, table.layer, table.name, *([] if partitions is None else [list(partitions), reaching])]
    with connect() as connection:
        entries = TABLE.select(
            connection, f"where model = %s and layer = %s and name = %s {only} order by partition", parameters
        )
    return {entry.partition: entry for entry in entries}


def known_at(tables: Sequence[TableId], moments: Collection[datetime]) -> list[Entry]:
    """The published partitions of some tables whose rows became available at one of some moments."""
    if not moments:
        return []
    with connect() as connection:
        return TABLE.select(
            connection,
            "where (model, layer, name) in (select * from unnest(%s::text[], %s::text[], %s::text[]))"
            " and known_at = any(%s) order by model, layer, name, partition",
            [*([getattr(table, part) for table in tables] for part in ("of", "layer", "name")), sorted(moments)],
        )


def whole(tables: Sequence[TableId]) -> set[str]:
    """The partitions that every one of some tables of a layer has, by key."""
    ((model, layer),) = {(table.of, table.layer) for table in tables}
    query = (
        "select partition from partitions where model = %s and layer = %s and name = any(%s) "
        "group by partition having count(*) = %s"
    )
    with connect() as connection:
        rows = connection.execute(query, [model, layer, [table.name for table in tables], len(tables)])
        return {partition for (partition,) in rows}


def forget(table: TableId, partitions: Sequence[str]) -> None:
    """Say of partitions that they are not published: they are about to go."""
    with connect() as connection:
        connection.execute(
            "delete from partitions where model = %s and layer = %s and name = %s and partition = any(%s)",
            [table.of, table.layer, table.name, list(partitions)],
        )


def recount(table: TableId, rows: Mapping[str, int]) -> None:
    """Say how many rows the published partitions of a table have by now. Their hashes stay: they tell what was
    published, and whether what was computed from it is to be computed again."""
    with connect() as connection:
        connection.execute(
            "update partitions set rows = new.rows from unnest(%s::text[], %s::bigint[]) as new (partition, rows)"
            " where model = %s and layer = %s and name = %s and partitions.partition = new.partition"
            " and partitions.rows <> new.rows",
            [list(rows), list(rows.values()), table.of, table.layer, table.name],
        )


def lacking(of: str, partitions: Collection[str]) -> dict[Partition, Lacking]:
    """The partitions of a dataset or model that erasures removed rows from since they were published. Nobody keeps
    whose: they have fewer rows than were published."""
    publication = (
        "select rows, at from publications where (model, layer, name, partition) = (p.model, p.layer, p.name,"
        " p.partition) order by table_version desc limit 1"
    )
    query = (
        f"select {TABLE.names_of('p')}, was.rows - p.rows, was.at from partitions p, lateral ({publication}) was"
        " where p.model = %s and p.partition = any(%s) and p.rows < was.rows"
    )
    with connect() as connection:
        rows = connection.execute(query.encode(), [of, list(partitions)]).fetchall()
    found = [Lacking(TABLE.of(values), gone, since) for *values, gone, since in rows]
    return {each.entry.of: each for each in found}


def newest(table: TableId, before: str | None = None) -> str | None:
    """The newest partition of a table; of those before a partition where one is given."""
    only = "" if before is None else "and partition < %s"
    query = f"select max(partition) from partitions where model = %s and layer = %s and name = %s {only}"
    parameters = [table.of, table.layer, table.name, *([] if before is None else [before])]
    with connect() as connection:
        row = connection.execute(query.encode(), parameters).fetchone()
    return None if row is None else row[0]


def reach(tables: Sequence[TableId], partition: str) -> datetime | None:
    """The newest row that a partition of some tables of a layer has had from after its own interval."""
    ((model, layer),) = {(table.of, table.layer) for table in tables}
    query = "select max(reaches) from partitions where model = %s and layer = %s and name = any(%s) and partition = %s"
    with connect() as connection:
        row = connection.execute(query, [model, layer, [table.name for table in tables], partition]).fetchone()
    return None if row is None else row[0]


def counts(tables: Sequence[TableId]) -> dict[str, int]:
    """The rows of some tables of a layer by partition, in order, but for partitions without any."""
    ((model, layer),) = {(table.of, table.layer) for table in tables}
    query = (
        "select partition, sum(rows)::bigint from partitions where model = %s and layer = %s and name = any(%s) "
        "group by partition having sum(rows) > 0 order by partition"
    )
    with connect() as connection:
        return dict(connection.execute(query, [model, layer, [table.name for table in tables]]).fetchall())
