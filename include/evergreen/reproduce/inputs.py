"""What a version was made from, as it was recorded and as it is now."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from evergreen.errors import SpecError, VersionGone
from evergreen.history import ledger
from evergreen.lake import hashing, publications, tables
from evergreen.lake.schema import TableId
from evergreen.model import code
from evergreen.quoting import listed
from evergreen.registry import artifacts, environment, tracking
from evergreen.registry.contents import Environment, Queries
from evergreen.registry.records import Candidate
from evergreen.registry.tags import Tag
from evergreen.reproduce import rules
from evergreen.reproduce.rules import Moved
from evergreen.spec.columns import PARTITION
from evergreen.spec.schema import ModelSpec
from evergreen.train.records import Record


def machine(candidate: Candidate) -> Iterator[Moved]:
    """Code, packages and machine that are others than those that fitted a candidate.

    Raises:
        EvidenceMissing, ArtifactUntrusted: what was recorded of them is not there, or was changed.
    """
    then = dict(artifacts.load(candidate, Environment).root)
    if "code" not in then:  # an earlier release wrote it among the tags alone, which everybody may write
        then["code"] = tracking.tags(candidate.run_id).get(Tag.CODE, "not recorded")
    return rules.environment(then, environment.of(candidate.family).root)


def declared(candidate: Candidate, then: ModelSpec, now: ModelSpec | SpecError) -> Iterator[Moved | str]:
    """Keys and queries of the folder of now that are others than those of then; a text is what cannot be looked at."""
    if isinstance(now, SpecError):
        yield f"the folder of now: {now.found.splitlines()[0]}"
        return
    yield from rules.spec(then.model_dump(mode="json"), now.model_dump(mode="json"), f"{now.name}/{now.file}")
    if Queries.NAME in candidate.files:
        yield from rules.queries(artifacts.load(candidate, Queries).root, code.queries(now))
    else:
        yield f"the queries of now: an earlier release kept none of them ({Queries.NAME})"


def gone(record: Record) -> Iterator[Moved]:
    """The versions of tables that cannot be read any more."""
    for table, version in record.pins.items():
        try:
            lacking = tables.missing(table, version)
        except VersionGone:
            yield _table(table, f"version {version}", "it cannot be opened any more")
            continue
        if lacking:
            yield _table(table, f"version {version}", f"{len(lacking)} of its files are gone: {listed(lacking)}")


def erased(record: Record) -> Iterator[Moved]:
    """The rows that erasures removed."""
    for event in ledger.erased(record.model):
        if record.key in event.rows:
            yield Moved(f"rows of the training set, by {event.id}", f"{event.rows[record.key]} rows", "erased", True)


def rewritten(record: Record) -> Iterator[Moved]:
    """The partitions of tables whose rows are not those that were published."""
    for table, version in record.pins.items():
        for partition, published in publications.of_version(table, version).items():
            rows = tables.read(table, [partition], version=version)
            if rows is None:
                continue
            found = list(_hashes(rows))
            if published.content_hash not in found:
                yield _table(table.at(partition), published.content_hash, found[0])


def _hashes(rows: pa.Table) -> Iterator[str]:
    """The content hashes that a partition may have been published with: it was written with the column of its key or
    without, and columns may have come to the table since."""
    whole = rows.drop_columns([PARTITION])
    later = [name for name in whole.column_names if whole[name].null_count == whole.num_rows]
    for each in (whole, rows, whole.drop_columns(later), rows.drop_columns(later)):
        yield hashing.content_hash(each)


def _table(what: object, then: str, now: str) -> Moved:
    return Moved(f"the {'table' if isinstance(what, TableId) else 'partition'} {what}", then, now, used=True)
