"""What every training set was built from and what came out, written down in Postgres: whoever builds one again, or
removes old versions of the lake's tables, asks here.

A model that was trained before there was such a record has it in MLflow's tags, from which it is taken over when it is
first asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated

from evergreen.database import Stored, Table, connect
from evergreen.errors import EvidenceMissing
from evergreen.handovers.difference import Difference
from evergreen.lake.schema import TableId
from evergreen.registry import records as registry
from evergreen.registry import tracking
from evergreen.registry.rules import REFIT, Version, is_refit
from evergreen.registry.tags import Tag
from evergreen.train import rules


@dataclass(frozen=True)
class Record:
    """A training set: what it was built from, and what came out."""

    key: str  # the training's: a digest of model, `as_of`, data, spec, code and seed
    model: str  # the model's name
    as_of: datetime  # the moment that the training knew about: the end of its interval
    split: rules.Split  # JSON: the first and last cutoffs of its rows, both included
    content_hash: str  # digest of its rows, whatever their order
    # JSON: table (`dataset/layer/name`) → the version that was joined; no clean-up removes what kept versions need
    versions: Mapping[str, int]
    partitions: Mapping[str, str]  # JSON: partition of the cutoffs → digest of its rows; none: an earlier release
    taken_over: bool  # from MLflow's tags, which everybody may write
    # when the row was written, by the database's clock
    at: Annotated[datetime | None, Stored(filled="default now()")] = None

    @property
    def pins(self) -> dict[TableId, int]:
        """The tables and their versions."""
        return {TableId.parse(table): version for table, version in self.versions.items()}


TABLE = Table("training_sets", Record, key=("key",), indexes={"training_sets_of_a_moment": ("model", "as_of")})


def add(record: Record) -> Difference | None:
    """Write a training set down, once; a later build of the same rows may have joined other versions of the tables.

    Returns:
        By which partitions it differs from the one that a training as of the same moment had before it; None: there
        was none, or its rows are the same.
    """
    with connect() as connection:
        TABLE.insert(connection, [record])
        if is_refit(record.key):  # what its rows are follows from the training's that it is a refit of
            return None
        (first,) = TABLE.select(connection, "where key = %s", [record.key])
        earlier = TABLE.select(
            connection,
            "where model = %s and as_of = %s and (at, key) < (%s, %s) and not taken_over"
            " and key not like %s order by at desc, key desc limit 1",
            [first.model, first.as_of, first.at, first.key, f"%{REFIT}"],
        )
    return rules.difference(earlier[0].key, earlier[0].partitions, first.partitions) if earlier else None


def find(key: str) -> Record | None:
    """What is recorded of a training set."""
    with connect() as connection:
        return next(iter(TABLE.select(connection, "where key = %s", [key])), None)


def every() -> list[Record]:
    """All training sets, in the order in which they were written down."""
    with connect() as connection:
        return TABLE.select(connection, "order by at, key")


def of(model: str, version: Version) -> Record:
    """What a version was trained on.

    Raises:
        EvidenceMissing: neither Postgres nor MLflow has it.
        ServiceUnavailable: MLflow, which was asked for it, does not answer.
    """
    with connect() as connection:
        records = TABLE.select(connection, "where key = %s", [version.key])
    return records[0] if records else _taken_over(model, version)


def of_model(model: str) -> list[Record]:
    """Everything that is recorded of a model's training sets, of candidates that were never registered too; the oldest
    first."""
    with connect() as connection:
        return TABLE.select(connection, "where model = %s order by as_of, at, key", [model])


def pins(model: str) -> dict[int, dict[TableId, int]]:
    """The tables that each registered version of a model was built from, and which version of each: what no clean-up
    may remove while that version is kept.

    Raises:
        EvidenceMissing, ServiceUnavailable: as `of` does.
    """
    numbers = sorted(registry.numbers().get(model, set()))
    return {number: of(model, registry.version(model, number)).pins for number in numbers}


def _taken_over(model: str, version: Version) -> Record:
    # Which loads scikit-learn; of a training of this release nothing is taken over.
    from evergreen.registry import loading

    tags = tracking.tags(version.run_id)
    if missing := [tag for tag in (Tag.CONTENT_HASH, Tag.VERSIONS) if tag not in tags]:
        raise EvidenceMissing(
            f"looking up what version {version.number} of {model} was trained on",
            found=f"no record in Postgres, and MLflow run {version.run_id} without the tags {', '.join(missing)}",
            expected="the versions of the tables, and the content hash of the training set",
            next_step="train anew: the new version has them",
        )
    spec = loading.spec(model, version)
    changed_at = datetime.fromisoformat(tags[Tag.CHANGED_AT]) if Tag.CHANGED_AT in tags else None
    split = rules.split(version.as_of, spec, changed_at)
    if changed_at is not None:  # those releases learned from nothing before it
        split = replace(split, learn_from=max(split.learn_from, changed_at))
    joined: Mapping[str, int] = json.loads(tags[Tag.VERSIONS])
    record = Record(
        key=version.key,
        model=model,
        as_of=version.as_of,
        split=split,
        content_hash=tags[Tag.CONTENT_HASH],
        # of a table of the model's own name it is left out
        versions={f"{model}/{table}" if table.count("/") == 1 else table: number for table, number in joined.items()},
        partitions={},
        taken_over=True,
    )
    with connect() as connection:
        TABLE.insert(connection, [record])
    return record
