"""The files of candidates, by the names of `contents`: as bytes, and only what was recorded when they were written.

Nothing else of what MLflow keeps for a model is read: no `MLmodel`, no code, no environment. What was checked is what
is used: the bytes do not pass by a disk in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import requests

from evergreen.errors import ArtifactUntrusted, EvidenceMissing
from evergreen.registry import mlflow_server
from evergreen.registry.contents import PIPELINE, Content
from evergreen.registry.records import Candidate, Digest

C = TypeVar("C", bound=Content)
Read = Callable[[Candidate, str], bytes]  # where files come from: it raises when one is not what was recorded

LARGEST = 1 << 30  # bytes of a file whose size nobody recorded
_CHUNK = 1 << 20


class Patience(NamedTuple):
    """How long MLflow may take for a file, in seconds."""

    connect: float
    silence: float  # until the next bytes
    whole: float


PATIENT = Patience(2.0, 60.0, 600.0)  # an object store behind it may think for long before the first byte
HURRIED = Patience(1.0, 1.0, 10.0)  # where something else serves meanwhile, which a start waits for


def load(candidate: Candidate, kind: type[C], patience: Patience = PATIENT) -> C:
    """What a file of a candidate holds; raises as `read` does."""
    return kind.of_bytes(read(candidate, kind.NAME, patience))


def find(candidate: Candidate, kind: type[C]) -> C | None:
    """The same; None: the candidate was recorded without such a file."""
    return load(candidate, kind) if kind.NAME in candidate.files else None


def read(candidate: Candidate, name: str, patience: Patience = PATIENT) -> bytes:
    """A file of a candidate from MLflow, which is what was recorded.

    Raises:
        EvidenceMissing: MLflow does not have it.
        ArtifactUntrusted: it differs from what was recorded, or nothing was.
        ServiceUnavailable: MLflow does not answer.
    """
    recorded = _recorded(candidate, name)
    content = download(candidate.run_id, candidate.model_id, name, at_most=recorded.size, patience=patience)
    return check(candidate, name, content, "MLflow")


def check(candidate: Candidate, name: str, content: bytes, where: str) -> bytes:
    """The content, if it is what was recorded.

    Args:
        where: where it was found; for the message.

    Raises:
        ArtifactUntrusted: it is not.
    """
    recorded, actual = _recorded(candidate, name), Digest.of(content)
    if actual != recorded:
        more = f"more than {recorded.size:,} bytes, which begin with" if actual.size > recorded.size else "a file of"
        raise ArtifactUntrusted(
            f"reading {name} of MLflow run {candidate.run_id} of {candidate.model}",
            found=f"in {where} {more} sha256 {actual.sha256}: it was changed after it was recorded",
            expected=f"sha256 {recorded.sha256}, {recorded.size:,} bytes",
            next_step="find out who changed it; put the file back, roll back or train again",
        )
    return content


def download(run_id: str, model_id: str, name: str, *, at_most: int = LARGEST, patience: Patience = PATIENT) -> bytes:
    """A file from MLflow, whatever it is: for what checks it, or is about to record it.

    Args:
        at_most: bytes; of a longer file one more is returned, and the rest never asked for.
    """
    doing = f"downloading {name} of the MLflow run {run_id}"
    if name == PIPELINE:
        path, query = f"/ajax-api/2.0/mlflow/logged-models/{model_id}/artifacts/files", {"artifact_file_path": name}
    else:
        path, query = "/get-artifact", {"run_id": run_id, "path": name}
    content, deadline = bytearray(), time.monotonic() + patience.whole
    with mlflow_server.answering(doing):
        try:
            with mlflow_server.get(path, query, timeout=(patience.connect, patience.silence)) as response:
                for chunk in _chunks(response):
                    content += chunk
                    if len(content) > at_most:
                        break
                    if time.monotonic() > deadline:
                        raise requests.Timeout(f"{len(content):,} bytes within {patience.whole:.0f} s, and no end")
        except requests.HTTPError as error:
            if mlflow_server.status_of(error) not in (400, 404):
                raise
            raise EvidenceMissing(
                doing,
                found=str(error),
                expected=f"the artifact {name}, which training logs",
                next_step="train again; see the run in MLflow",
            ) from error
    return bytes(content[: at_most + 1])


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """The body as it comes: `iter_content` waits for whole chunks, for ever where single bytes drip."""
    while True:
        try:
            chunk = response.raw.read1(_CHUNK, decode_content=True)
        except Exception as error:  # urllib3's, of a connection that ends or a body that cannot be unpacked
            raise requests.ConnectionError(error) from error
        if not chunk:
            return
        yield chunk


def _recorded(candidate: Candidate, name: str) -> Digest:
    if name not in candidate.files:
        raise ArtifactUntrusted(
            f"reading {name} of MLflow run {candidate.run_id} of {candidate.model}",
            found="no digest was recorded of it",
            expected="a file that Evergreen wrote",
            next_step=f"train again (of a registered version: `evergreen registry adopt {candidate.model}`)",
        )
    return candidate.files[name]
