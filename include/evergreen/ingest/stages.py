"""Stages of the ingest loop around the contract: `extract` before it, `publish` after it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from evergreen import keeping
from evergreen.handovers.ingest import Batch, Extracted, Parted, Published, PublishedSource, Validated
from evergreen.ingest import rules
from evergreen.lake.schema import RAW
from evergreen.run import DatasetRun

if TYPE_CHECKING:
    from evergreen.lake import catalogue
    from evergreen.lake.schema import Partition

log = logging.getLogger(__name__)


def extract(run: DatasetRun) -> Extracted:
    """Read the interval's batch of every source, from the landing zone or a
    database, with the declared columns and types; of a table for all intervals, what is new to the run.

    A cell that does not fit its type is null in the staged file, with its text in
    `_unparsed`; the contract decides on the row.

    Raises:
        BatchMissing, BatchUnreadable, ConnectionUnknown, ServiceUnavailable: naming the file, or connection and query.
        CalendarChanged: partitions of another calendar are published.
    """
    from evergreen.ingest import batches
    from evergreen.lake import calendars, staging

    partition = run.interval.partition
    keeping.once(f"the calendar of {run.spec.name}", lambda: calendars.claim(run.spec))
    keeping.once(f"the working files of {run.spec.name}", lambda: staging.clean(run.spec.name))
    sources: dict[str, Batch] = {}
    for name in run.spec.sources:
        found = batches.found(run, name)
        if found is None:
            log.info("%s: no other table than the one that is known", name)
            continue
        batch, interval = found
        file = staging.WorkingFile(of=run.spec.name, run=partition, name=name)
        sources[name] = Batch(
            staged=staging.write(file, batch.rows, task="extract"),
            origin=batch.origin,
            digest=batch.digest,
            known_at=rules.known_at(interval),
            files=batch.files,
            query=batch.query,
            warnings=batch.warnings,
        )
        for warning in batch.warnings:
            log.warning("%s: %s", name, warning)
        log.info("%s: %d rows from %s", name, batch.rows.num_rows, batch.origin)
    return Extracted(partition=partition, sources=sources)


def awaited(run: DatasetRun, now: datetime) -> list[str]:
    """Batches of the run's interval that may still grow: what a scheduled `extract`
    waits for, as it does for missing ones."""
    return rules.growing(run.spec, run.as_of, now)


def publish(run: DatasetRun, validated: Validated) -> Published:
    """Replace the interval's partition of every raw and quarantine table, then
    record the interval in the catalogue.

    Raises:
        RowsUnaccounted: rows in are not rows published plus rows quarantined; nothing is written.
        WriteConflict: another run kept replacing the same partition.
    """
    from evergreen.lake import catalogue, staging
    from evergreen.lake.publications import Inputs

    partition = run.interval.partition
    keys = {run.spec.calendar.until(parted.batch.known_at).partition for parted in validated.sources.values()}
    lacking = catalogue.lacking(run.spec.name, keys)
    for name, parted in validated.sources.items():
        # Counted in the files, and not as the hand-over says: what is not there would be missed in silence.
        accepted, rejected = (staging.read(part).num_rows for part in (parted.accepted, parted.rejected))
        rules.account(f"{run.spec.name}/{name} of {partition}", parted.batch.staged.rows, accepted, rejected)
    with ThreadPoolExecutor(2) as pool:  # waiting for the disk and compressing take turns
        outcomes = list(
            pool.map(lambda name: _publish_source(run, name, validated.sources[name], lacking), validated.sources)
        )
    written, warnings = [entries for entries, _ in outcomes], tuple(each for _, told in outcomes for each in told)
    left = {each.entry for each in lacking.values()}
    new = [entry for entries in written for entry in entries if entry not in left]
    batches = {entry.of: validated.sources[entry.name].batch for entry in new}
    catalogue.record(*new, inputs={of: Inputs(files=each.files, query=each.query) for of, each in batches.items()})
    for warning in warnings:
        log.warning("%s", warning)
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
    return Published(partition=partition, sources=sources, warnings=warnings)


def _publish_source(
    run: DatasetRun, name: str, parted: Parted, lacking: Mapping[Partition, catalogue.Lacking]
) -> tuple[list[catalogue.Entry], list[str]]:
    """Write one source's partitions of the interval that its batch is kept under: the raw one and, where there is
    something to write or to clear, that of the quarantine. What an erasure left of the same batch stays.

    Args:
        lacking: the partitions that erasures removed rows from.

    Returns:
        the entries, written or as they are; warnings for the owner.
    """
    from evergreen.ingest import batches, erased
    from evergreen.lake import partitions, staging

    accepted, rejected = staging.read(parted.accepted), staging.read(parted.rejected)
    reaches = batches.reaches(run, name, accepted)
    interval = run.spec.calendar.until(parted.batch.known_at)
    entries, warnings = [], []
    for replaced, table in batches.contents(run, interval, name, parted.batch.digest, accepted, rejected).items():
        if (less := lacking.get(replaced)) is not None:
            if erased.stays(less, table):
                log.info("%s of %s: %d erased rows stay out, its batch is the same", name, replaced.key, less.gone)
                entries.append(less.entry)
                continue
            if back := erased.coming_back(run.spec, less, table):
                warnings.append(erased.warning(name, less, back))
        entry = partitions.replace(
            replaced,
            table,
            known_at=rules.known_at(interval),
            reaches=reaches if replaced.table.layer == RAW.layer else None,
        )
        entries.append(entry)
    return entries, warnings
