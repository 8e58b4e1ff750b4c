"""The landing zone: a folder, or an S3 bucket read through boto3 (credentials and endpoint by the standard AWS variables)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from evergreen.errors import BatchMissing, BatchUnreadable, ServiceUnavailable


@dataclass(frozen=True)
class Batch:
    """One file of a batch."""

    uri: str
    content: bytes


def read(zone: str, path: str, partition: str, subject: str) -> Batch:
    """The batch of a partition: `path` below `zone`, with `{partition}` replaced.

    Raises:
        BatchMissing: there is no such file.
        BatchUnreadable: it may not be read.
        ServiceUnavailable: the object store does not answer.
    """
    name = path.replace("{partition}", partition)
    uri = f"{zone.rstrip('/')}/{name}"
    content = _from_s3(uri, subject) if zone.startswith("s3://") else _from_folder(uri, subject)
    return Batch(uri, content)


def _from_folder(uri: str, subject: str) -> bytes:
    try:
        return Path(uri).read_bytes()
    except FileNotFoundError as error:
        raise _missing(uri, subject) from error
    except OSError as error:
        raise BatchUnreadable(
            f"reading the batch of {subject}", found=f"{type(error).__name__}: {error}", expected=f"a readable file {uri}",
            next_step="correct the file's permissions, then clear this task",
        ) from error  # fmt: skip


def _from_s3(uri: str, subject: str) -> bytes:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    parts = urlsplit(uri)
    try:
        content: bytes = boto3.client("s3").get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))["Body"].read()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("NoSuchKey", "NoSuchBucket", "404"):
            raise _missing(uri, subject) from error
        raise _unavailable(uri, subject, error) from error
    except BotoCoreError as error:
        raise _unavailable(uri, subject, error) from error
    return content


def _missing(uri: str, subject: str) -> BatchMissing:
    return BatchMissing(
        f"reading the batch of {subject}",
        found="no such file",
        expected=uri,
        next_step="ask the upstream system for the file, then clear this task; a day without rows is a file with only its header",
    )


def _unavailable(uri: str, subject: str, error: Exception) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"reading the batch of {subject}",
        found=f"{type(error).__name__}: {error}",
        expected=f"the object store to give {uri}",
        next_step="check the store, AWS_ENDPOINT_URL and the credentials, then clear this task",
    )
