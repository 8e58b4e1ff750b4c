"""A sample that stands in a database: its rows as cells, and whether the query that was written reads them back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from evergreen.errors import BatchUnreadable, ConnectionUnknown, EvergreenError
from evergreen.ingest import database
from evergreen.ingest.origin import Origin
from evergreen.ingest.query import Query
from evergreen.onboarding.reading import Cells, SampleUnusable, learnable
from evergreen.onboarding.rules import Draft, Relation
from evergreen.quoting import shown
from evergreen.settings import connection_uri
from evergreen.spec import files, source_query
from evergreen.spec.schema import ModelSpec

_OTHER = "name another table or query: --table NAME, or --query FILE|SQL"


@dataclass(frozen=True)
class Asked:
    """A table of a database, or what a query on it returns."""

    connection: str
    name: str  # of the table; of a query its file's, or the connection's
    sql: str  # as it stands behind FROM, every per cent sign doubled

    @classmethod
    def of_table(cls, connection: str, table: str) -> Asked:
        """A table, named as SQL names it (`orders`, `shop.orders`, `"My Orders"`)."""
        return cls(connection, table.rpartition(".")[2].strip('"`[]') or table, table.replace("%", "%%"))

    @classmethod
    def of_query(cls, connection: str, stated: str) -> Asked:
        """A query, or the file that has it.

        Raises:
            SampleUnusable: it is no SELECT that only reads, or no such file.
        """
        file, name = Path(stated), connection
        if not any(map(str.isspace, stated.strip())):
            try:
                stated, name = file.read_text(encoding="utf-8"), file.name
            except (OSError, ValueError) as error:
                raise SampleUnusable(
                    f"reading {shown(stated, 200)}",
                    found=f"{type(error).__name__}: {error}",
                    expected="a file with a query, or one SELECT",
                    next_step="--query FILE|SQL",
                ) from error
        text = stated.strip().removesuffix(";").strip()
        for mistake in source_query.mistakes(name, source_query.doubled(text), whole=True):
            raise SampleUnusable(
                f"reading the query {shown(stated, 200)}",
                found=mistake.found,
                expected=mistake.allowed,
                next_step=f"{mistake.fix}; `new` bounds the query by the time itself",
            )
        return cls(connection, name, f"(\n{text.replace('%', '%%')}\n) AS asked")

    @property
    def origin(self) -> Origin:
        """Where its rows come from, as adapters name it."""
        return Origin("a sample", f"{self.connection}, {self.name}")

    @property
    def doing(self) -> str:
        """What an error says was being done."""
        return f"reading {shown(self.name, 200)} from the connection {self.connection}"


def read(asked: Asked) -> Cells:
    """All rows of a table or query.

    Raises:
        SampleUnusable: the database does not run it, it returns too little or too much, or columns of one name.
        ConnectionUnknown: there is no such connection, or nothing that is installed can read it.
        ServiceUnavailable: the database does not answer, or not in time.
        RequestRefused: it refuses the login.
    """
    origin = asked.origin
    with _in_words_of(asked):
        table = database.rows(
            connection_uri, asked.connection, Query(f"SELECT * FROM {asked.sql}", None, "UTC", origin)
        )
        write = database.identifiers(connection_uri, asked.connection, origin)

    def error(found: str, expected: str, next_step: str) -> SampleUnusable:
        return SampleUnusable(asked.doing, found=found, expected=expected, next_step=f"{next_step}: {_OTHER}")

    names = {name: write(name).replace("%", "%%") for name in table.column_names}
    relation = Relation(asked.connection, asked.sql, names)
    return Cells(asked.name, learnable(table, error), {"format": "parquet"}, relation=relation)


def as_declared(draft: Draft, spec: ModelSpec, cells: Cells) -> pa.Table:
    """The sample's rows as the written source reads them, once its query has returned rows of the last interval.

    Raises:
        SampleUnusable: it does not.
    """
    (dataset,), interval = spec.datasets.values(), spec.last_interval
    (name,) = dataset.sources
    source = dataset.as_read(name)
    assert interval is not None and cells.relation is not None
    asked = Asked(cells.relation.connection, cells.name, cells.relation.sql)
    statement, origin = files.query(dataset, dataset.source_sql(name)), asked.origin
    with _in_words_of(asked):
        newest = database.read(connection_uri, source, statement, interval, origin, lambda _: None)
        rows = database.typed(cells.table, source, origin, lambda _: None)
    if newest.num_rows == 0:
        raise SampleUnusable(
            asked.doing,
            found=f"no row of {interval} by the query that compares {draft.profile.time} with its bounds, where the"
            f" table has some, until {draft.profile.last}",
            expected="a column of times that the database compares with times",
            next_step='make a time of it: --query "SELECT …, CAST(… AS timestamp) AS … FROM …"',
        )
    return rows


@contextmanager
def _in_words_of(asked: Asked) -> Iterator[None]:
    """What an adapter says to the owner of a source, as it is said to who asks for a model."""
    try:
        yield
    except ConnectionUnknown as error:
        known = f"set AIRFLOW_CONN_{asked.connection.upper()}=postgresql://user:password@host:5432/database"
        there = error.found != f"no connection {asked.connection}"
        raise ConnectionUnknown(
            asked.doing,
            found=error.found,
            expected=error.expected,
            next_step=error.next_step.partition("; then clear")[0]
            if there
            else f"{known}: outside of Airflow, connections are read from the environment alone",
        ) from error
    except BatchUnreadable as error:
        large = "EVERGREEN_LARGEST_BATCH_MB" in error.expected
        raise SampleUnusable(
            asked.doing,
            found=error.found,
            expected=error.expected,
            next_step='take the newest rows: --query "SELECT … WHERE …"' if large else _OTHER,
        ) from error
    except EvergreenError as error:
        raise type(error)(
            asked.doing,
            found=error.found,
            expected=error.expected,
            next_step=error.next_step.partition("; a task is")[0],
        ) from error
