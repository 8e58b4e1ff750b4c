"""Stages of the ingest loop around the contract: `extract` before it, `publish` after it."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from evergreen.handovers.ingest import Batch, Extracted, Parted, Published, PublishedSource, Validated
from evergreen.ingest import rules
from evergreen.lake.schema import BATCH, QUARANTINE, RAW, Partition
from evergreen.run import DatasetRun
from evergreen.settings import settings
from evergreen.spec import files
from evergreen.spec.columns import KNOWN_AT, PARTITION

if TYPE_CHECKING:
    import pyarrow as pa

    from evergreen.lake import catalogue

log = logging.getLogger(__name__)


def extract(run: DatasetRun) -> Extracted:
    """Read the interval's batch of every source, from the landing zone or a
    database, with the declared columns and types.

    A cell that does not fit its type is null in the staged file, with its text in
    `_unparsed`; the contract decides on the row.

    Raises:
        BatchMissing, BatchUnreadable, ConnectionUnknown, ServiceUnavailable: naming the file, or connection and query.
    """
    from evergreen.lake import staging

    partition = run.interval.partition
    staging.clean(run.spec.name)
    sources: dict[str, Batch] = {}
    for name in run.spec.sources:
        table, origin, digest = _batch(run, name)
        file = staging.WorkingFile(of=run.spec.name, run=partition, name=name)
        sources[name] = Batch(
            staged=staging.write(file, table, task="extract"),
            origin=origin,
            digest=digest,
            known_at=rules.known_at(run.interval),
        )
        log.info("%s: %d rows from %s", name, table.num_rows, origin)
    return Extracted(partition=partition, sources=sources)


def awaited(run: DatasetRun, now: datetime) -> list[str]:
    """Batches of the run's day that may still grow: what a scheduled `extract`
    waits for, as it does for missing ones."""
    return rules.growing(run.spec, run.as_of, now)


def _batch(run: DatasetRun, name: str) -> tuple[pa.Table, str, str]:
    """The rows of a source, where they come from, and the batch's hash: of its files, or
    of the rows where no file is its own."""
    from evergreen.ingest import database, history, landing, parse
    from evergreen.ingest.origin import Origin
    from evergreen.lake.catalogue import content_hash

    spec, source, interval = run.spec, run.spec.sources[name], run.interval
    subject = f"{spec.name}/{name} of {interval.partition}"
    if source.path is None:
        file = spec.source_sql(name)
        origin = Origin(subject, f"{source.connection} by {spec.relative(file)}", f"correct {spec.relative(file)}")
        table = database.read(run.connections, source, files.query(spec, file), interval, origin)
        return table, origin.name, content_hash(table.drop_columns([parse.ROW]))
    parts = landing.read(settings().landing, source.path, interval.partition, subject)
    if source.history:
        table = parse.parse_history(parts[0], source, history.Day(interval, spec.first_day, spec.last_day))
        return table, parts[0].origin.name, content_hash(table.drop_columns([parse.ROW]))
    uri = landing.uri_of(settings().landing, source.path, interval.partition)
    return parse.parse(parts, source), uri, landing.digest(parts)


def publish(run: DatasetRun, validated: Validated) -> Published:
    """Replace the interval's partition of every raw and quarantine table, then
    record the day in the catalogue.

    Raises:
        RowsUnaccounted: rows in are not rows published plus rows quarantined; nothing is written.
        WriteConflict: another run kept replacing the same partition.
    """
    from evergreen.lake import catalogue, staging

    partition = run.interval.partition
    for name, parted in validated.sources.items():
        # Counted in the files, and not as the hand-over says: what is not there would be missed in silence.
        accepted, rejected = (staging.read(part).num_rows for part in (parted.accepted, parted.rejected))
        rules.account(f"{run.spec.name}/{name} of {partition}", parted.batch.staged.rows, accepted, rejected)
    with ThreadPoolExecutor(2) as pool:  # waiting for the disk and compressing take turns
        written = list(pool.map(lambda item: _publish_source(run, *item), validated.sources.items()))
    catalogue.record(*(entry for entries in written for entry in entries))
    sources = {
        entries[0].name: PublishedSource(
            rows=entries[0].rows,
            quarantined=sum(entry.rows for entry in entries[1:]),
            content_hash=entries[0].content_hash,
            version=entries[0].table_version,
        )
        for entries in written
    }
    for name, source in sources.items():
        log.info("%s: %d rows published, %d in quarantine", name, source.rows, source.quarantined)
    return Published(partition=partition, sources=sources)


def _publish_source(run: DatasetRun, name: str, parted: Parted) -> list[catalogue.Entry]:
    """Write one source's raw partition and, where there is something to write or to clear, its quarantine partition."""
    import pyarrow as pa

    from evergreen.lake import partitions, staging

    dataset, partition, known_at = run.spec.name, run.interval.partition, rules.known_at(run.interval)
    accepted, rejected = staging.read(parted.accepted), staging.read(parted.rejected)
    raw, quarantine = RAW.of(dataset, name).at(partition), QUARANTINE.of(dataset, name).at(partition)
    reaches = _reaches(run, raw, accepted[run.spec.sources[name].event_time])
    contents = {raw: accepted}
    if rejected.num_rows or _in_quarantine(quarantine):
        batch = pa.array([parted.batch.digest] * rejected.num_rows, pa.string())
        contents[quarantine] = rejected.append_column(BATCH.name, batch)
    entries = []
    for replaced, table in contents.items():
        stamped = table.append_column(KNOWN_AT, pa.array([known_at] * table.num_rows, RAW.arrow[KNOWN_AT]))
        entries.append(
            partitions.replace(replaced, stamped, known_at=known_at, reaches=reaches if replaced is raw else None)
        )
    return entries


def _reaches(run: DatasetRun, raw: Partition, times: pa.ChunkedArray) -> datetime | None:
    """The newest row that a raw partition has had from after its interval.

    It never becomes earlier: what was computed from rows that a correction takes away is to be computed again.
    """
    import pyarrow.compute as pc

    from evergreen.lake import catalogue

    before = catalogue.published(raw.table, [raw.key]).get(raw.key)
    moments = [before and before.reaches, pc.max(times).as_py()]
    return max((moment for moment in moments if moment is not None and moment >= run.interval.end), default=None)


def _in_quarantine(partition: Partition) -> bool:
    """Whether an earlier run put rows there.

    The table is asked too: a run that was killed after writing it told nobody.
    """
    from evergreen.lake import catalogue, tables

    if catalogue.published(partition.table, [partition.key]):
        return True
    stored = tables.read(partition.table, partitions=[partition.key], columns=[PARTITION])
    return stored is not None and stored.num_rows > 0
