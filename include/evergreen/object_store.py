"""Objects of S3, or of what speaks its protocol: read, written and listed whole, by `s3://bucket/key`. Credentials and
endpoint stand in the standard AWS variables."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from threading import Lock
from typing import Any

from evergreen.answers import Remote, refusal, silence
from evergreen.errors import RequestRefused

SCHEME = "s3://"
STORE = Remote(
    "the object store", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", start="see that it runs"
)
_GONE = frozenset({"NoSuchKey", "NoSuchBucket", "404"})
_MAKING = Lock()
_MOST_DELETED = 1000  # objects per request


def split(uri: str) -> tuple[str, str]:
    """Bucket and key. (Not by urlsplit: its path ends at ? and #, which a key may hold.)"""
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    return bucket, key


def client() -> Any:
    """boto3's client for the environment of now; threads may share it."""
    with _MAKING:  # boto3's sessions are not for threads
        return _client(frozenset((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


@lru_cache(maxsize=4)  # making one takes as long as a few small requests
def _client(environment: frozenset[tuple[str, str]]) -> Any:
    import boto3

    return boto3.session.Session().client("s3")


@contextmanager
def answering(doing: str, uri: str, setting: str) -> Iterator[None]:
    """What S3 answers, as our errors.

    Args:
        doing: what is being done; for messages.
        setting: the variable that holds the address.

    Raises:
        FileNotFoundError: there is no such object, or no such bucket.
        ServiceUnavailable: it does not answer, or not now.
        RequestRefused: it does not let us.
    """
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
        if code in _GONE:
            raise FileNotFoundError(uri) from error
        # S3 tells a client that was too slow by a code of its own, with the status of a bad request.
        status = 408 if code == "RequestTimeout" else error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise refusal(doing, status, f"{error} ({uri})", STORE) from error
    except BotoCoreError as error:
        message = f"{type(error).__name__}: {error} ({uri})"
        if isinstance(error, NoCredentialsError | PartialCredentialsError | ParamValidationError):
            raise RequestRefused(
                doing,
                found=message,
                expected="a login and an address by which S3 can be asked",
                next_step=f"set {STORE.login} and look at the address in {setting}",
            ) from error
        raise silence(doing, message, STORE) from error


def no_bucket(doing: str, uri: str, setting: str) -> RequestRefused:
    """The error for a place to write to that is not there."""
    return RequestRefused(
        doing,
        found=f"no bucket {split(uri)[0]}",
        expected="a bucket that exists",
        next_step=f"make the bucket, or correct the address in {setting}",
    )


def put(uri: str, content: Any) -> None:
    """Write an object: whole or not there, whoever writes it beside us.

    It raises what `answering` lets through of botocore.
    """
    bucket, key = split(uri)
    client().put_object(Bucket=bucket, Key=key, Body=content)


def get(uri: str) -> bytes:
    """The bytes of an object."""
    bucket, key = split(uri)
    content: bytes = client().get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def listed(above: str) -> dict[str, datetime]:
    """The addresses of all objects below `s3://bucket/prefix/`, and when each was written."""
    bucket, prefix = split(above)
    pages = client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {
        f"{SCHEME}{bucket}/{each['Key']}": each["LastModified"] for page in pages for each in page.get("Contents", ())
    }


def remove(uris: Sequence[str]) -> None:
    """Remove objects of one bucket; what is not there is none the less removed."""
    for start in range(0, len(uris), _MOST_DELETED):
        chosen = [split(uri) for uri in uris[start : start + _MOST_DELETED]]
        objects = [{"Key": key} for _, key in chosen]
        client().delete_objects(Bucket=chosen[0][0], Delete={"Objects": objects, "Quiet": True})


def remove_older(above: str, before: datetime) -> int:
    """Remove the objects below `s3://bucket/prefix/` that were written before a moment; returns how many."""
    old = [uri for uri, written in listed(above).items() if written < before]
    remove(old)
    return len(old)
