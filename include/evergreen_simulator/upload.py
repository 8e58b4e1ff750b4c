"""Puts batches into the landing zone, as an upstream system would: whole files that
appear at once, in a folder or in S3."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit


def put(landing: str, name: str, content: bytes) -> None:
    """Put one file in its place; what was there is replaced, and never half seen.

    Args:
        landing: a folder, or `s3://bucket/prefix` (AWS_ENDPOINT_URL names another server than Amazon's).
        name: its path below that.
    """
    if not landing.startswith("s3://"):
        _put_file(Path(landing) / name, content)
        return
    import boto3  # takes half a second, and most landing zones are folders

    parts = urlsplit(landing)
    key = "/".join(part for part in (parts.path.strip("/"), name) if part)
    boto3.client("s3").put_object(Bucket=parts.netloc, Key=key, Body=content)  # shown when complete


def _put_file(path: Path, content: bytes) -> None:
    """Through a temporary name in the same folder, so that a reader or a kill never meets half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
