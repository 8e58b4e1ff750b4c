"""What Evergreen wrote down of candidates and versions when it made them: in Postgres, out of reach of whoever can write to MLflow.

What is loaded later is what stands here: the family, the files and their digests, and which candidate a version is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime

from psycopg import Connection
from psycopg.types.json import Jsonb

from evergreen.errors import ArtifactUntrusted, EvidenceMissing
from evergreen.lake import postgres
from evergreen.registry import audit
from evergreen.registry.rules import Version
from evergreen.settings import settings

_CANDIDATES = """
create table if not exists candidates (
    run_id text primary key, at timestamptz not null default now(), model text not null, family text not null,
    model_id text not null, files jsonb not null
)"""
_VERSIONS = """
create table if not exists versions (
    model text, number bigint, at timestamptz not null default now(), run_id text not null, key text not null,
    as_of timestamptz not null, primary key (model, number)
)"""
_VERSION = """
select v.number, v.run_id, v.key, v.as_of, exists (
    select from audit a where a.model = v.model and a.event = 'rollback' and (a.evidence->>'from')::bigint = v.number
), c.family
from versions v join candidates c using (run_id)
"""


@dataclass(frozen=True)
class Digest:
    """What a file must be."""

    sha256: str
    size: int  # bytes

    @classmethod
    def of(cls, content: bytes) -> Digest:
        return cls(hashlib.sha256(content).hexdigest(), len(content))


@dataclass(frozen=True)
class Candidate:
    """A fitted model in MLflow."""

    run_id: str
    model: str
    family: str
    model_id: str  # of MLflow's logged model, which holds the fitted pipeline
    files: Mapping[str, Digest]  # by name


def add_candidate(found: Candidate) -> None:
    """Write a candidate down. Who wrote it before is believed: a record changes by `add_file` alone."""
    files = {name: asdict(digest) for name, digest in found.files.items()}
    with _connect() as connection:
        connection.execute(
            "insert into candidates (run_id, model, family, model_id, files) values (%s, %s, %s, %s, %s) on conflict do nothing",
            [found.run_id, found.model, found.family, found.model_id, Jsonb(files)],
        )


def add_file(run_id: str, name: str, content: bytes) -> None:
    """Write down a file that came to a candidate later, or was written anew."""
    with _connect() as connection:
        connection.execute(
            "update candidates set files = files || %s where run_id = %s",
            [Jsonb({name: asdict(Digest.of(content))}), run_id],
        )


def candidate(run_id: str) -> Candidate:
    """The candidate of an MLflow run.

    Raises:
        ArtifactUntrusted: nothing was written down of it.
    """
    found = find_candidate(run_id)
    if found is None:
        raise ArtifactUntrusted(
            f"looking up the digests of MLflow run {run_id}",
            found="none were recorded: the run was not logged by a training of this release", expected="a record of its files in Postgres",
            next_step="train again (of a registered version: `evergreen registry adopt`)",
        )  # fmt: skip
    return found


def find_candidate(run_id: str) -> Candidate | None:
    """The candidate of an MLflow run, if it was written down."""
    with _connect() as connection:
        row = connection.execute(
            "select run_id, model, family, model_id, files from candidates where run_id = %s", [run_id]
        ).fetchone()
    if row is None:
        return None
    found, model, family, model_id, files = row
    return Candidate(found, model, family, model_id, {name: Digest(**digest) for name, digest in files.items()})


def add_version(model: str, number: int, *, run_id: str, key: str, as_of: datetime) -> None:
    """Write down which candidate a version is."""
    with _connect() as connection:
        connection.execute(
            "insert into versions (model, number, run_id, key, as_of) values (%s, %s, %s, %s, %s) on conflict do nothing",
            [model, number, run_id, key, as_of],
        )


def version(model: str, number: int) -> Version:
    """One version.

    Raises:
        EvidenceMissing: the model has versions, and this is none of them.
        ArtifactUntrusted: the model has no version that was written down.
    """
    with _connect() as connection:
        row = connection.execute(f"{_VERSION} where v.model = %s and v.number = %s", [model, number]).fetchone()
        if row is not None:
            return Version(*row)
    doing = f"looking up version {number} of {model}"
    if not numbers().get(model):
        raise ArtifactUntrusted(
            doing, found="no digests were recorded of it: an earlier release registered it, or a person did", expected="a version that Evergreen registered",
            next_step=f"`evergreen registry adopt {model}`",
        )  # fmt: skip
    raise EvidenceMissing(
        doing, found="no such version was registered by Evergreen", expected="a registered version",
        next_step=f"choose one of {settings().mlflow_url}/#/models/{model}; of one that Evergreen does not know: `evergreen registry adopt {model}`",
    )  # fmt: skip


def find_by_key(model: str, key: str) -> Version | None:
    """The version of a training key; a rerun finds it and makes no second one."""
    with _connect() as connection:
        row = connection.execute(
            f"{_VERSION} where v.model = %s and v.key = %s order by v.number limit 1", [model, key]
        ).fetchone()
    return None if row is None else Version(*row)


def numbers() -> dict[str, set[int]]:
    """The versions of every model."""
    with _connect() as connection:
        found: dict[str, set[int]] = {}
        for model, number in connection.execute("select model, number from versions").fetchall():
            found.setdefault(model, set()).add(number)
    return found


@contextmanager
def _connect() -> Iterator[Connection]:
    for table in (audit.TABLE, _CANDIDATES, _VERSIONS):
        postgres.ensure_table(table)
    with postgres.connect() as connection:
        yield connection
