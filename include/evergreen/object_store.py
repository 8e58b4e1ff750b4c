"""Objects of S3, or of what speaks its protocol: read, written and listed whole, by `s3://bucket/key`. Credentials and
endpoint stand in the standard AWS variables; of `s3://connection@bucket/key` in a connection of Airflow."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from threading import Lock
from typing import Any

from evergreen.answers import Remote, refusal, silence
from evergreen.connections import Connection, Connections, NoConnection, read
from evergreen.errors import ConnectionUnknown, RequestRefused
from evergreen.settings import connection_uri

SCHEME = "s3://"
STORE = Remote(
    "the object store", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", start="see that it runs"
)
_GONE = frozenset({"NoSuchKey", "NoSuchBucket", "404"})
_CONNECTION = re.compile(r"[A-Za-z0-9_.-]+")
_KINDS = ("aws", "s3")  # that Airflow gives a connection
# Extras by which a connection is another one than its login: who takes them into account is boto3's own chain.
_ROLES = ("role_arn", "assume_role_method", "profile_name")
_MAKING = Lock()
_MOST_DELETED = 1000  # objects per request


def split(uri: str) -> tuple[str, str]:
    """Bucket and key. (Not by urlsplit: its path ends at ? and #, which a key may hold.)"""
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    return bucket.rpartition("@")[2], key


def connection_of(uri: str) -> str | None:
    """The connection that an address names."""
    bucket = uri.removeprefix(SCHEME).partition("/")[0]
    return bucket.rpartition("@")[0] if uri.startswith(SCHEME) and "@" in bucket else None


def client(uri: str, connections: Connections = connection_uri) -> Any:
    """boto3's client for the connection of an address, or else for the environment of now; threads may share it.

    Raises:
        NoConnection: the address names one that is not there, or none of S3.
    """
    name = connection_of(uri)
    options = {} if name is None else _options(read(connections, name))
    with _MAKING:  # boto3's sessions are not for threads
        environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        return _client(frozenset(environment.items()), frozenset(options.items()))


@lru_cache(maxsize=4)  # making one takes as long as a few small requests
def _client(environment: frozenset[tuple[str, str]], options: frozenset[tuple[str, str]]) -> Any:
    import boto3

    of_session = dict(options)
    endpoint = of_session.pop("endpoint_url", None)
    return boto3.session.Session(**of_session).client("s3", endpoint_url=endpoint)


def _options(connection: Connection) -> dict[str, str]:
    """What boto3 is told of a connection: Airflow's words for login, region and endpoint."""
    extra = connection.extra
    if connection.kind not in _KINDS:
        raise NoConnection(f"a connection {connection.name} of type {connection.kind}")
    if roles := [each for each in _ROLES if extra.get(each)]:
        raise NoConnection(f"a connection {connection.name} with {', '.join(roles)}, which is not asked for here")
    try:
        services = extra.get("service_config") or {}
        services = json.loads(services) if isinstance(services, str) else services
        endpoint = services.get("s3", {}).get("endpoint_url") or extra.get("endpoint_url")
    except (ValueError, AttributeError):
        raise NoConnection(f"a connection {connection.name} whose service_config cannot be read") from None
    options = {
        "aws_access_key_id": connection.login or extra.get("aws_access_key_id"),
        "aws_secret_access_key": connection.password or extra.get("aws_secret_access_key"),
        "aws_session_token": extra.get("aws_session_token"),
        "region_name": extra.get("region_name"),
        "endpoint_url": endpoint,
    }
    return {name: str(value) for name, value in options.items() if value}


@contextmanager
def answering(doing: str, uri: str, setting: str) -> Iterator[None]:
    """What S3 answers, as our errors.

    Args:
        doing: what is being done; for messages.
        setting: the variable that holds the address.

    Raises:
        FileNotFoundError: there is no such object, or no such bucket.
        ServiceUnavailable: it does not answer, or not now.
        RequestRefused: it does not let us, or a login stands in the address.
        ConnectionUnknown: there is no such connection.
    """
    name = connection_of(uri)
    if name is not None and not _CONNECTION.fullmatch(name):
        raise RequestRefused(
            doing,
            found=f"a login in the address that {setting} holds, which messages and lineage would repeat",
            expected="s3://bucket/… or s3://connection@bucket/…",
            next_step=f"set {STORE.login}, or name a connection of Airflow",
        )
    there = f"the connection {name}"
    store = STORE if name is None else Remote(f"the object store of {there}", there, there, start=STORE.start)
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        ParamValidationError,
        PartialCredentialsError,
    )

    try:
        yield
    except NoConnection as error:
        raise ConnectionUnknown(
            doing,
            found=str(error),
            expected=f"a connection {name} of type aws, with a login and maybe region_name and endpoint_url",
            next_step=(
                f"make it in Airflow's UI (Admin, Connections) or as AIRFLOW_CONN_{str(name).upper()}; with a role or a"
                f" profile name no connection in {setting}, and set the standard AWS variables"
            ),
        ) from None  # the cause may show a password
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in _GONE:
            raise FileNotFoundError(uri) from error
        # S3 tells a client that was too slow by a code of its own, with the status of a bad request.
        status = 408 if code == "RequestTimeout" else error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise refusal(doing, status, f"{error} ({uri})", store) from error
    except BotoCoreError as error:
        message = f"{type(error).__name__}: {error} ({uri})"
        if isinstance(error, NoCredentialsError | PartialCredentialsError | ParamValidationError):
            raise RequestRefused(
                doing,
                found=message,
                expected="a login and an address by which S3 can be asked",
                next_step=f"set {store.login} and look at the address in {setting}",
            ) from error
        raise silence(doing, message, store) from error


def no_bucket(doing: str, uri: str, setting: str) -> RequestRefused:
    """The error for a place to write to that is not there."""
    return RequestRefused(
        doing,
        found=f"no bucket {split(uri)[0]}",
        expected="a bucket that exists",
        next_step=f"make the bucket, or correct the address in {setting}",
    )


def without_connection(uri: str, setting: str) -> str:
    """The address, of a place that the standard AWS variables alone open.

    Raises:
        RequestRefused: it names a connection.
    """
    if connection_of(uri) is not None:
        raise RequestRefused(
            f"looking at the address in {setting}",
            found="a connection before the bucket",
            expected="s3://bucket/…; only EVERGREEN_LANDING may name a connection",
            next_step=f"set {STORE.login}, and leave the connection out of {setting}",
        )
    return uri


def put(uri: str, content: Any) -> None:
    """Write an object: whole or not there, whoever writes it beside us.

    It raises what `answering` lets through of botocore.
    """
    bucket, key = split(uri)
    client(uri).put_object(Bucket=bucket, Key=key, Body=content)


def get(uri: str) -> bytes:
    """The bytes of an object."""
    bucket, key = split(uri)
    content: bytes = client(uri).get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def listed(above: str) -> dict[str, datetime]:
    """The addresses of all objects below `s3://bucket/prefix/`, and when each was written."""
    bucket, prefix = split(above)
    root = above.removesuffix(prefix)
    pages = client(above).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {f"{root}{each['Key']}": each["LastModified"] for page in pages for each in page.get("Contents", ())}


def remove(uris: Sequence[str]) -> None:
    """Remove objects of one bucket; what is not there is none the less removed."""
    for start in range(0, len(uris), _MOST_DELETED):
        chosen = [split(uri) for uri in uris[start : start + _MOST_DELETED]]
        objects = [{"Key": key} for _, key in chosen]
        client(uris[0]).delete_objects(Bucket=chosen[0][0], Delete={"Objects": objects, "Quiet": True})


def remove_older(above: str, before: datetime) -> int:
    """Remove the objects below `s3://bucket/prefix/` that were written before a moment; returns how many."""
    old = [uri for uri, written in listed(above).items() if written < before]
    remove(old)
    return len(old)
