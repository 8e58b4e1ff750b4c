"""Bringing a feature partition online: the protocol that leaves the online store right,
whoever is killed and whoever works beside."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from evergreen import database
from evergreen.features import online_values
from evergreen.lake import catalogue, tables
from evergreen.lake.schema import FEATURES, TableId, online
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.keyed import Key, keys_of

log = logging.getLogger(__name__)


def outdated(view: TableId, partitions: Sequence[str]) -> dict[str, catalogue.Entry]:
    """The published feature partitions whose content the online store has not seen, by key and in order."""
    seen = catalogue.published(online(view), partitions)
    return {
        partition: entry
        for partition, entry in sorted(catalogue.published(view, partitions).items())
        if partition not in seen or seen[partition].content_hash != entry.content_hash
    }


@contextmanager
def replacing(view: TableId, partition: str) -> Iterator[catalogue.Entry | None]:
    """Within the block, the online values of a partition are replaced; None: another
    run has done so, and nothing is to be done.

    One partition of a view at a time, since what a corrected one withdraws depends on what is online of the earlier
    ones. Until the block has ended well, the catalogue says that nothing is known of the store: a kill may leave it
    between two contents.
    """
    with database.locked(str(view.at(partition))), database.locked(str(online(view).at("any"))):
        entry = outdated(view, [partition]).get(partition)
        if entry is None:
            yield None
            return
        of_store = dataclasses.replace(entry, layer=online(view).layer)
        catalogue.record(dataclasses.replace(of_store, content_hash=""))
        yield entry
        catalogue.record(of_store)


def replace(spec: DatasetSpec, view: str, partition: str) -> None:
    """Write a partition's rows, and withdraw those of entities that it no longer has. Call it within `replacing`."""
    rows = tables.read(FEATURES.of(spec.name, view), partitions=[partition])
    if rows is None:
        return
    as_of = spec.calendar.at(partition).as_of
    gone = online_values.replace(spec, view, as_of, rows)
    if gone:  # of an entity that a corrected partition no longer has, the newest earlier partition counts again
        earlier = list(_newest_before(spec, view, partition, gone))
        online_values.withdraw(spec, view, as_of, gone, pa.concat_tables(earlier) if earlier else None)
        log.info("Online %s/%s: %d entities are no longer in %s", spec.name, view, len(gone), partition)


def _newest_before(spec: DatasetSpec, view: str, partition: str, keys: Sequence[Key]) -> Iterator[pa.Table]:
    """Each entity's newest row of the partitions before one, from the newest back: a long
    history is not read for a few of them."""
    about, wanted, stored = spec.entity_of(view), set(keys), FEATURES.of(spec.name, view)
    for earlier in sorted(catalogue.published(stored), reverse=True):
        if earlier < partition and wanted:
            rows = tables.read(stored, [earlier])
            if rows is not None:
                there = [*keys_of([*about.columns], rows)]
                theirs = rows.filter(pa.array([key in wanted for key in there], pa.bool_()))
                wanted -= {*there}
                yield theirs
