"""What Evergreen wrote down of candidates and versions when it made them: in Postgres, out
of reach of whoever can write to MLflow.

What is loaded later is what stands here: the family, the files and their digests, and which candidate a version is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated

from psycopg.types.json import Jsonb

from evergreen.database import Stored, Table, connect
from evergreen.errors import ArtifactUntrusted, EvidenceMissing
from evergreen.history import ledger
from evergreen.registry.rules import Version
from evergreen.settings import settings

_VERSION = "select v.number, v.run_id, v.key, v.as_of, c.family from versions v join candidates c using (run_id)"


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

    run_id: str  # id of the MLflow run that logged the candidate
    model: str  # the model's name
    family: str  # the family of its estimator; by it a file is loaded
    model_id: str  # id of MLflow's logged model, which holds the fitted pipeline
    # JSON: file name → `sha256` (64 hexadecimal digits) and `size` (bytes) of the file when it was written
    files: Mapping[str, Digest]
    # when the row was written, by the database's clock
    at: Annotated[datetime | None, Stored(filled="default now()")] = None


@dataclass(frozen=True)
class Registration:
    """Which candidate a version is."""

    model: str  # the model's name
    number: int  # the version's number; counted for each model
    run_id: str  # the candidate that the version is: `run_id` of `candidates`
    key: str  # identifies the training: a digest of model, `as_of`, data, spec, code and seed
    as_of: datetime  # the moment that the training knew about: the end of its interval
    # when the row was written, by the database's clock
    at: Annotated[datetime | None, Stored(filled="default now()")] = None


CANDIDATES = Table("candidates", Candidate, key=("run_id",))
VERSIONS = Table("versions", Registration, key=("model", "number"))


def add_candidate(candidate: Candidate) -> None:
    """Write a candidate down. Who wrote it before is believed: a record changes by `add_file` alone."""
    with connect() as connection:
        CANDIDATES.insert(connection, [candidate])


def add_file(run_id: str, name: str, content: bytes) -> None:
    """Write down a file that came to a candidate later, or was written anew."""
    with connect() as connection:
        connection.execute(
            "update candidates set files = files || %s where run_id = %s",
            [Jsonb({name: asdict(Digest.of(content))}), run_id],
        )


def candidate(run_id: str) -> Candidate:
    """The candidate of an MLflow run.

    Raises:
        ArtifactUntrusted: nothing was written down of it.
    """
    recorded = find_candidate(run_id)
    if recorded is None:
        raise ArtifactUntrusted(
            f"looking up the digests of MLflow run {run_id}",
            found="none were recorded: the run was not logged by a training of this release",
            expected="a record of its files in Postgres",
            next_step="train again (of a registered version: `evergreen registry adopt`)",
        )
    return recorded


def find_candidate(run_id: str) -> Candidate | None:
    """The candidate of an MLflow run, if it was written down."""
    with connect() as connection:
        candidates = CANDIDATES.select(connection, "where run_id = %s", [run_id])
    return candidates[0] if candidates else None


def newest() -> dict[str, Candidate]:
    """The newest candidate of every model."""
    with connect() as connection:
        last = "where (model, at) in (select model, max(at) from candidates group by model)"
        return {each.model: each for each in CANDIDATES.select(connection, last)}


def forget(run_id: str) -> None:
    """Remove what was written down of a candidate that is no version."""
    with connect() as connection:
        connection.execute(
            "delete from candidates where run_id = %s and run_id not in (select run_id from versions)", [run_id]
        )


def registered(model: str) -> set[str]:
    """The MLflow runs whose candidates are versions."""
    with connect() as connection:
        return {
            run for (run,) in connection.execute("select run_id from versions where model = %s", [model]).fetchall()
        }


def add_version(model: str, number: int, *, run_id: str, key: str, as_of: datetime) -> None:
    """Write down which candidate a version is."""
    with connect() as connection:
        VERSIONS.insert(connection, [Registration(model, number, run_id, key, as_of)])


def version(model: str, number: int) -> Version:
    """One version.

    Raises:
        EvidenceMissing: the model has versions, and this is none of them.
        ArtifactUntrusted: the model has no version that was written down.
    """
    with connect() as connection:
        row = connection.execute(f"{_VERSION} where v.model = %s and v.number = %s", [model, number]).fetchone()
    if row is not None:
        return _version(model, *row)
    doing = f"looking up version {number} of {model}"
    if not numbers().get(model):
        raise ArtifactUntrusted(
            doing,
            found="no digests were recorded of it: an earlier release registered it, or a person did",
            expected="a version that Evergreen registered",
            next_step=f"`evergreen registry adopt {model}`",
        )
    raise EvidenceMissing(
        doing,
        found="no such version was registered by Evergreen",
        expected="a registered version",
        next_step=(
            f"choose one of {settings().mlflow_url}/#/models/{model}; of one that Evergreen does not know: "
            f"`evergreen registry adopt {model}`"
        ),
    )


def find_by_key(model: str, key: str) -> Version | None:
    """The newest version of a training key; there is more than one only where a candidate's
    files were gone and it was made anew."""
    with connect() as connection:
        row = connection.execute(
            f"{_VERSION} where v.model = %s and v.key = %s order by v.number desc limit 1", [model, key]
        ).fetchone()
    return None if row is None else _version(model, *row)


def _version(model: str, number: int, run_id: str, key: str, as_of: datetime, family: str) -> Version:
    now = ledger.standing(model)
    return Version(number, run_id, key, as_of, number in now.rolled_back, family, number in now.retired)


def trainings() -> list[tuple[str, int, str]]:
    """Model, number and training key of every version, in their order."""
    with connect() as connection:
        return connection.execute("select model, number, key from versions order by model, number").fetchall()


def keys(model: str) -> dict[int, str]:
    """The training of each version of a model."""
    with connect() as connection:
        return dict(connection.execute("select number, key from versions where model = %s", [model]).fetchall())


def numbers() -> dict[str, set[int]]:
    """The versions of every model."""
    with connect() as connection:
        by_model: dict[str, set[int]] = {}
        for model, number in connection.execute("select model, number from versions").fetchall():
            by_model.setdefault(model, set()).add(number)
    return by_model
