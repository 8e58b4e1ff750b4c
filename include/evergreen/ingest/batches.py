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
from evergreen.interval import Interval
from evergreen.lake import catalogue, hashing, publications, tables
from evergreen.lake.publications import Inputs
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


def found(run: DatasetRun, name: str) -> tuple[Batch, Interval] | None:
    """What there is to publish of a source: its batch, and the interval that it is kept under; None: of a table for all
    intervals nothing that is new to the run.

    Raises:
        BatchMissing, BatchUnreadable, ConnectionUnknown, ServiceUnavailable: as `read`.
    """
    source, spec = run.spec.sources[name], run.spec
    if not source.whole:
        return read(run, name), run.interval
    own, first = run.interval.partition, spec.first_interval.partition
    table = RAW.of(spec.name, name)
    versions = list(catalogue.published(table))
    if source.refresh == "never" and versions and own != min(versions):
        return None  # it need not be there any more
    batch = read(run, name)

    def same(version: str) -> bool:
        made_from = publications.made_from(table.at(version))
        return made_from is not None and _content(made_from) == _content(Inputs(files=batch.files, query=batch.query))

    looked = catalogue.whole([RAW.of(spec.name, each) for each in spec.dated])
    key = rules.version_of(own, first, versions, looked, refresh=source.refresh, same=same)
    return None if key is None else (batch, spec.calendar.at(key))


def _content(made_from: Inputs) -> tuple[object, ...]:
    """What a batch was read from, wherever it stood."""
    return (*(file.sha256 for file in made_from.files), made_from.query and made_from.query.content_hash)


def read(run: DatasetRun, name: str) -> Batch:
    """The interval's batch of a source.

    Raises:
        BatchMissing, BatchUnreadable, ConnectionUnknown, ServiceUnavailable: naming the file, or connection and query.
    """
    spec, source, interval = run.spec, run.spec.as_read(name), run.interval
    subject = f"{spec.name}/{name} of {interval.partition}"
    warnings: list[str] = []
    if source.path is None:
        file = spec.source_sql(name)
        origin = Origin(subject, f"{source.connection} by {spec.relative(file)}", f"correct {spec.relative(file)}")
        statement = files.query(spec, file)
        table = database.read(run.connections, source, statement, interval, origin, warnings.append)
        digest = hashing.content_hash(table.drop_columns(_POSITIONS))
        query = BatchQuery(
            connection=str(source.connection),
            statement=hashlib.sha256(statement.encode()).hexdigest(),
            rows=table.num_rows,
            content_hash=digest,
        )
        return Batch(table, origin.name, digest, query=query, warnings=tuple(warnings))
    parts = landing.read(settings().landing, source.path, interval.partition, subject, run.connections)
    read_from = tuple(BatchFile(part.origin.name, len(part.content), part.sha256) for part in parts)
    if source.history:
        place = history.Place(interval, spec.first_interval, spec.last_interval)
        table = parse.parse_history(parts[0], source, place, warnings.append)
        digest, uri = hashing.content_hash(table.drop_columns(_POSITIONS)), parts[0].origin.name
    else:
        table = parse.parse(parts, source, warnings.append)
        digest, uri = landing.digest(parts), landing.uri_of(settings().landing, source.path, interval.partition)
    return Batch(table, uri, digest, read_from, warnings=tuple(dict.fromkeys(warnings)))


def contents(
    run: DatasetRun, interval: Interval, name: str, digest: str, accepted: pa.Table, rejected: pa.Table
) -> dict[Partition, pa.Table]:
    """The whole of a source's raw partition, and of its quarantine partition where there is something to write or to
    clear.

    Args:
        interval: that the batch is kept under.
        digest: of the batch.
        accepted: the rows to publish, with the declared columns.
        rejected: the others, also with `_unparsed`, `_row`, `_place` and `_reasons`.
    """
    dataset, partition, known_at = run.spec.name, interval.partition, rules.known_at(interval)
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
    if run.spec.sources[name].whole:
        return None
    raw = RAW.of(run.spec.name, name).at(run.interval.partition)
    before = catalogue.published(raw.table, [raw.key]).get(raw.key)
    moments = [before and before.reaches, pc.max(accepted[run.spec.sources[name].moment]).as_py()]
    return max((moment for moment in moments if moment is not None and moment >= run.interval.end), default=None)


def _in_quarantine(partition: Partition) -> bool:
    """Whether an earlier run put rows there.

    The table is asked too: a run that was killed after writing it told nobody.
    """
    if catalogue.published(partition.table, [partition.key]):
        return True
    stored = tables.read(partition.table, partitions=[partition.key], columns=[PARTITION])
    return stored is not None and stored.num_rows > 0
