"""Puts batches into the landing zone, as an upstream system would: whole files that
appear at once, in a folder or in S3."""

from __future__ import annotations

from pathlib import Path

from evergreen import files, object_store


def put(landing: str, name: str, content: bytes) -> None:
    """Put one file in its place; what was there is replaced, and never half seen.

    Args:
        landing: a folder, or `s3://bucket/prefix` (AWS_ENDPOINT_URL names another server than Amazon's).
        name: its path below that.
    """
    place = f"{landing.rstrip('/')}/{name}"
    if landing.startswith(object_store.SCHEME):
        object_store.put(place, content)
        return
    with files.whole(Path(place), durable=True) as partial:
        partial.write_bytes(content)
