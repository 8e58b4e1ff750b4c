"""An interval's batch of a source: as it reads now, and as its partitions of the lake will hold it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from evergreen.handovers.ingest import BatchFile, BatchQuery
from evergreen.ingest import database, history, landing, parse, rules
from evergreen.ingest.origin import Origin
from evergreen.lake import catalogue, tables
from evergreen.lake.schema import BATCH, PLACE, QUARANTINE, RAW, ROW, Partition
from evergreen.run import DatasetRun
from evergreen.settings import settings
from evergreen.spec import files
from evergreen.spec.columns import KNOWN_AT, PARTITION

_POSITIONS = [ROW.name, PLACE.name]  # where rows stand is no content of theirs


@dataclass(frozen=True)
class Batch:
    """What was read."""

    rows: pa.Table  # the declared columns, `_unparsed`, `_row`, `_place`
    origin: str  # where they come from: a folder, an object, a connection and its query
    digest: str  # of the batch's files; of its rows where no file is its own
    files: tuple[BatchFile, ...] = ()
    query: BatchQuery | None = None
    warnings: tuple[str, ...] = ()  # what the owner should know of it


def read(run: DatasetRun, name: str) -> Batch:
    """The interval's batch of a source.

    Raises:
        BatchMissing, BatchUnreadable, ConnectionUnknown, ServiceUnavailable: naming the file, or connection and query.
    """
    spec, source, interval = run.spec, run.spec.sources[name], run.interval
    subject = f"{spec.name}/{name} of {interval.partition}"
    warnings: list[str] = []
    if source.path is None:
        file = spec.source_sql(name)
        origin = Origin(subject, f"{source.connection} by {spec.relative(file)}", f"correct {spec.relative(file)}")
        statement = files.query(spec, file)
        table = database.read(run.connections, source, statement, interval, origin, warnings.append)
        digest = catalogue.content_hash(table.drop_columns(_POSITIONS))
        query = BatchQuery(
            connection=str(source.connection),
            statement=hashlib.sha256(statement.encode()).hexdigest(),
            rows=table.num_rows,
            content_hash=digest,
        )
        return Batch(table, origin.name, digest, query=query, warnings=tuple(warnings))
    parts = landing.read(settings().landing, source.path, interval.partition, subject)
    read_from = tuple(BatchFile(part.origin.name, len(part.content), part.sha256) for part in parts)
    if source.history:
        place = history.Place(interval, spec.first_interval, spec.last_interval)
        table = parse.parse_history(parts[0], source, place, warnings.append)
        digest, uri = catalogue.content_hash(table.drop_columns(_POSITIONS)), parts[0].origin.name
    else:
        table = parse.parse(parts, source, warnings.append)
        digest, uri = landing.digest(parts), landing.uri_of(settings().landing, source.path, interval.partition)
    return Batch(table, uri, digest, read_from, warnings=tuple(dict.fromkeys(warnings)))


def contents(
    run: DatasetRun, name: str, digest: str, accepted: pa.Table, rejected: pa.Table
) -> dict[Partition, pa.Table]:
    """The whole of a source's raw partition, and of its quarantine partition where there is something to write or to
    clear.

    Args:
        digest: of the batch.
        accepted: the rows to publish, with the declared columns.
        rejected: the others, also with `_unparsed`, `_row`, `_place` and `_reasons`.
    """
    dataset, partition, known_at = run.spec.name, run.interval.partition, rules.known_at(run.interval)
    raw, quarantine = RAW.of(dataset, name).at(partition), QUARANTINE.of(dataset, name).at(partition)
    whole = {raw: accepted}
    if rejected.num_rows or _in_quarantine(quarantine):
        batch = pa.array([digest] * rejected.num_rows, pa.string())
        whole[quarantine] = rejected.append_column(BATCH.name, batch)
    return {
        replaced: table.append_column(KNOWN_AT, pa.array([known_at] * table.num_rows, RAW.arrow[KNOWN_AT]))
        for replaced, table in whole.items()
    }


def reaches(run: DatasetRun, name: str, accepted: pa.Table) -> datetime | None:
    """The newest row that a raw partition has had from after its interval, these among them.

    It never becomes earlier: what was computed from rows that a correction takes away is to be computed again.
    """
    raw = RAW.of(run.spec.name, name).at(run.interval.partition)
    before = catalogue.published(raw.table, [raw.key]).get(raw.key)
    moments = [before and before.reaches, pc.max(accepted[run.spec.sources[name].event_time]).as_py()]
    return max((moment for moment in moments if moment is not None and moment >= run.interval.end), default=None)


def _in_quarantine(partition: Partition) -> bool:
    """Whether an earlier run put rows there.

    The table is asked too: a run that was killed after writing it told nobody.
    """
    if catalogue.published(partition.table, [partition.key]):
        return True
    stored = tables.read(partition.table, partitions=[partition.key], columns=[PARTITION])
    return stored is not None and stored.num_rows > 0
