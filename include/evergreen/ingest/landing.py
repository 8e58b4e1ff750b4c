"""The landing zone: a folder, or an S3 bucket read through boto3 (credentials and endpoint by the standard AWS variables)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from evergreen.answers import Remote, refusal, silence
from evergreen.errors import BatchMissing, BatchUnreadable, RequestRefused
from evergreen.ingest.origin import Origin

_STORE = Remote("the object store", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")


@dataclass(frozen=True)
class Part:
    """One file of a batch."""

    origin: Origin
    content: bytes

    @property
    def name(self) -> str:
        """The file's name, without its folders."""
        return self.origin.name.rpartition("/")[2]


def uri_of(zone: str, path: str, partition: str) -> str:
    """Where the batch of a partition stands: `path` below `zone`, with `{partition}` replaced."""
    return f"{zone.rstrip('/')}/{path.replace('{partition}', partition)}"


def read(zone: str, path: str, partition: str, subject: str) -> list[Part]:
    """The files of a partition's batch, by name; one, unless the last segment of `path` holds `*`.

    A `*` stands for any characters but `/`; one at the start passes over names that begin with `.` or `_`, by which writers
    mark what is unfinished or no data (`_SUCCESS`).

    Raises:
        BatchMissing: there is no such file.
        BatchUnreadable: one may not be read.
        ServiceUnavailable: the object store does not answer, or not now.
        RequestRefused: it does not let us read.
    """
    uri = uri_of(zone, path, partition)
    return _from_s3(uri, subject) if zone.startswith("s3://") else _from_folder(uri, subject)


def digest(parts: Sequence[Part]) -> str:
    """The hash of a batch: of the file's bytes; of several files, each one's name and bytes."""
    if len(parts) == 1:
        return hashlib.sha256(parts[0].content).hexdigest()
    of_all = hashlib.sha256()
    for part in parts:
        of_all.update(f"{part.name}\0{len(part.content)}\0".encode())
        of_all.update(part.content)
    return of_all.hexdigest()


def _from_folder(uri: str, subject: str) -> list[Part]:
    folder, _, name = uri.rpartition("/")
    file = uri
    try:
        names = [name]
        if "*" in name:
            there = [each.name for each in Path(folder).iterdir() if not each.is_dir()] if Path(folder).is_dir() else []
            names = _matching(there, uri, subject)
        parts = []
        for name in names:
            file = f"{folder}/{name}"
            parts.append(Part(Origin(subject, file), Path(file).read_bytes()))
    except FileNotFoundError as error:
        raise _missing(file, subject) from error
    except OSError as error:
        raise BatchUnreadable(
            f"reading the batch of {subject}", found=f"{type(error).__name__}: {error}", expected=f"a readable file {file}",
            next_step="correct the file's permissions, then clear this task",
        ) from error  # fmt: skip
    return parts


def _from_s3(uri: str, subject: str) -> list[Part]:
    import boto3

    client, bucket = boto3.client("s3"), urlsplit(uri).netloc
    # Not the path by urlsplit: it ends at ? and #, which a key may hold.
    folder, _, pattern = uri.removeprefix(f"s3://{bucket}/").rpartition("/")
    above = f"{folder}/" if folder else ""
    names = [pattern]
    if "*" in pattern:
        with _answering(uri, subject):
            prefix = above + pattern.partition("*")[0]
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            found = [each["Key"].removeprefix(above) for page in pages for each in page.get("Contents", ())]
        names = _matching(found, uri, subject)
    return [_object(client, bucket, above + name, subject) for name in names]


def _object(client: Any, bucket: str, key: str, subject: str) -> Part:
    uri = f"s3://{bucket}/{key}"
    with _answering(uri, subject):
        return Part(Origin(subject, uri), client.get_object(Bucket=bucket, Key=key)["Body"].read())


@contextmanager
def _answering(uri: str, subject: str) -> Iterator[None]:
    """What S3 answers, as our errors."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
    )

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("NoSuchKey", "NoSuchBucket", "404"):
            raise _missing(uri, subject) from error
        # S3 tells a client that was too slow by a code of its own, with the status of a bad request.
        status = 408 if code == "RequestTimeout" else error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise refusal(f"reading the batch of {subject}", status, f"{error} ({uri})", _STORE) from error
    except BotoCoreError as error:
        said = f"{type(error).__name__}: {error} ({uri})"
        if isinstance(error, NoCredentialsError | PartialCredentialsError | ParamValidationError):
            raise RequestRefused(
                f"reading the batch of {subject}", found=said, expected="a login and an address by which S3 can be asked",
                next_step=f"set {_STORE.login} and look at the landing zone's address (EVERGREEN_LANDING)",
            ) from error  # fmt: skip
        raise silence(f"reading the batch of {subject}", said, _STORE) from error


def _matching(names: list[str], uri: str, subject: str) -> list[str]:
    """The names that the last segment of the URI stands for, in order."""
    wanted = uri.rpartition("/")[2]
    pattern = re.compile("[^/]*".join(map(re.escape, wanted.split("*"))), re.DOTALL)
    hidden = (".", "_") if wanted.startswith("*") else ()
    # An empty name is the marker that consoles put where a folder would be.
    found = sorted(name for name in names if name and pattern.fullmatch(name) and not name.startswith(hidden))
    if not found:
        raise _missing(uri, subject)
    return found


def _missing(uri: str, subject: str) -> BatchMissing:
    return BatchMissing(
        f"reading the batch of {subject}",
        found="no such file",
        expected=uri,
        next_step="ask the upstream system for the file, then clear this task; a day without rows is a file with only its header",
    )
