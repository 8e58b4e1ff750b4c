"""The rows of a query from a DuckDB file, opened to be read only, by DuckDB itself: as Arrow, block by block.

Its session has the zone of the event time. So the bounds mean the same to a TIMESTAMP and to a TIMESTAMPTZ.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa

from evergreen.answers import silence
from evergreen.connections import Connection
from evergreen.ingest.fetched import bounded, ending, is_no_cell
from evergreen.ingest.query import MINUTES, ROWS, Query, unreadable
from evergreen.sql import literal

_EXTERNAL = "enable_external_access"  # an extra of the connection: views may read files beside the database


def rows(connection: Connection, query: Query) -> pa.Table:
    """What a query returns, in its order; see `ingest.database`."""
    if not connection.database:
        raise unreadable(connection.name, query.origin)
    settings = {
        "threads": "2",
        _EXTERNAL: "true" if str(connection.extra.get(_EXTERNAL)).lower() == "true" else "false",
        "autoinstall_known_extensions": "false",
    }
    try:
        session = duckdb.connect(connection.database, read_only=True, config=settings)
    except duckdb.Error as error:  # a writer has it, or it is not there (now)
        raise silence(query.origin.reading, connection.words(str(error)), connection.remote) from error
    try:
        with session, ending(session.interrupt, MINUTES):
            return _fetched(session, query)
    except duckdb.InterruptException as error:
        raise query.too_long(connection.words(str(error))) from error
    except duckdb.Error as error:
        raise query.refused(connection.words(str(error))) from error


def _fetched(session: duckdb.DuckDBPyConnection, query: Query) -> pa.Table:
    session.execute(f"set timezone = {literal(query.zone)}")
    statements = session.extract_statements(query.written(lambda name: f"${name}"))
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(each.type.name for each in statements)
        raise query.refused(f"{len(statements)} statements ({kinds})" if len(statements) != 1 else f"a {kinds}")
    bounds = {name: each for name, each in query.moments().items() if name in statements[0].named_parameters}
    relation = session.sql(statements[0], params=bounds)
    try:
        with relation.to_arrow_reader(ROWS) as reader:
            for field, kind in zip(reader.schema, relation.types, strict=True):
                if is_no_cell(field.type):
                    raise query.untakeable(field.name, str(kind), f"{field.name}::VARCHAR")
            return pa.Table.from_batches(_bounded(reader, query), reader.schema)
    finally:
        # It keeps the database open, and an error's traceback would keep it: whoever opens the file next then waits.
        del relation


def _bounded(reader: pa.RecordBatchReader, query: Query) -> Iterator[pa.RecordBatch]:
    size = 0
    for batch in reader:
        size = bounded(size + batch.nbytes, query.origin)
        yield batch
