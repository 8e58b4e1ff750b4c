"""Answers that are remembered under their `Idempotency-Key`: a retry is answered alike, and logged once.

After the IETF's draft httpapi-idempotency-key-header. A key belongs to a model and to the body that it first came with,
whoever sends it: a retry may come by another way, and who repeats somebody's key and body learns what asking would have
told. Only answers are remembered, in the transaction that logs their predictions; after a refusal the same key may be
tried again.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout
from starlette.exceptions import HTTPException

from evergreen import database
from evergreen.database import Stored, Table
from evergreen.errors import ServiceUnavailable
from evergreen.serve.admission import after

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"  # header of an answer that was remembered
KEPT_HOURS = 24
_EXPIRED = f"at <= now() - interval '{KEPT_HOURS} hours'"
_FORGET = f"delete from answers where ctid = any(array(select ctid from answers where {_EXPIRED} limit 10000))"
_FORGET_SECONDS = 600.0  # between looks for expired answers
_WAIT = 5.0  # seconds for a connection
_KEY = re.compile(r'"([\x21\x23-\x7e]{1,200})"|([\x21\x23-\x7e]{1,200})')


@dataclass(frozen=True)
class Answer:
    """What was answered to the first request with a key."""

    model: str  # the model's name
    key: str  # the request's `Idempotency-Key`, without its quotes
    body: bytes  # sha256 of the request's body, 32 bytes
    request_id: str  # id of the first request
    content: Annotated[bytes, Stored(noted=False)]  # the body of the answer, byte for byte
    # when it was answered, by the database's clock; forgotten 24 hours later
    at: Annotated[datetime | None, Stored(filled="default now()")] = field(default=None, compare=False)


TABLE = Table("answers", Answer, key=("model", "key"), indexes={"answers_by_age": ("at",)})
# An expired answer under the same key is replaced; one that stands is not, and its request_id is not returned.
_REMEMBER = (
    f"{TABLE.inserting} on conflict (model, key) do update"
    " set body = excluded.body, request_id = excluded.request_id, content = excluded.content, at = excluded.at"
    f" where stored.{_EXPIRED} returning request_id"
)


def remember(connection: psycopg.Connection, answers: Sequence[Answer]) -> set[str]:
    """Write answers under their keys; the requests of those that stand there now, the others were late."""
    return {request for (request,) in connection.execute(_REMEMBER, TABLE.arrays(answers)).fetchall()}


def standing(connection: psycopg.Connection, keys: Iterable[tuple[str, str]]) -> list[Answer]:
    """The answers under keys (model, key), expired ones too."""
    among = "join unnest(%b::text[], %b::text[]) as wanted (model, key) using (model, key)"
    return TABLE.select(connection, among, [list(column) for column in zip(*keys, strict=True)], binary=True)


def key_of(header: str) -> str:
    """The key, with or without the quotes that the draft wants around it.

    Raises:
        HTTPException: 400, it is none.
    """
    match = _KEY.fullmatch(header.strip())
    if match is None:
        why = f"{HEADER}: send 1 to 200 visible ASCII characters, such as a UUID, without spaces and inner quotes"
        raise HTTPException(400, why)
    return str(match[1] or match[2])


def digest(body: bytes) -> bytes:
    """What tells two bodies apart."""
    return hashlib.sha256(body).digest()


def same(standing: Answer, body: bytes) -> Answer:
    """The answer, if the body is the one that it was given to.

    Raises:
        HTTPException: 422, the key came with another body before.
    """
    if standing.body != body:
        why = f"this {HEADER} came with another body within {KEPT_HOURS} hours; take a new key for a new request"
        raise HTTPException(422, why)
    return standing


class Memory:
    """The remembered answers, of all servers on one database, and the keys that this server works on; thread-safe."""

    def __init__(self) -> None:
        self._under_way: set[tuple[str, str]] = set()
        self._working = threading.Lock()
        self._opening = threading.Lock()
        self._pool: ConnectionPool | None = None
        self._forgotten = 0.0

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection]:
        address = database.url()
        with self._opening:
            if self._pool is None:
                self._pool = ConnectionPool(
                    address,
                    min_size=0,
                    max_size=4,
                    timeout=_WAIT,
                    reconnect_timeout=_WAIT,
                    open=True,
                    kwargs={
                        "autocommit": True,
                        "connect_timeout": 5,
                        "tcp_user_timeout": 10_000,
                        "options": "-c statement_timeout=10s",
                    },
                    check=ConnectionPool.check_connection,  # the database may have been started again since
                )
            pool = self._pool
        try:
            with pool.connection() as connection:
                yield connection
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise ServiceUnavailable(
                f"looking for the answer to an {HEADER}",
                found=str(error).strip(),
                expected="the database `evergreen` answers",
                next_step="ask again with the same key; check the database (`make up`, EVERGREEN_DATABASE)",
            ) from error

    def find(self, model: str, key: str) -> Answer | None:
        """What was answered to the key within `KEPT_HOURS`.

        Raises:
            ServiceUnavailable: the database does not answer.
        """
        with self._connection() as connection:
            under_key = f"where model = %s and key = %s and not {_EXPIRED}"
            answers = TABLE.select(connection, under_key, [model, key], binary=True)
            if time.monotonic() - self._forgotten > _FORGET_SECONDS:
                self._forgotten = time.monotonic()
                connection.execute(_FORGET)
        return answers[0] if answers else None

    def begin(self, model: str, key: str) -> None:
        """The key is being worked on, until `end`.

        Raises:
            HTTPException: 409, it is already.
        """
        with self._working:
            if (model, key) in self._under_way:
                why = f"the first request with this {HEADER} is still under way; ask again for its answer"
                raise HTTPException(409, why, headers=after(1))
            self._under_way.add((model, key))

    def end(self, model: str, key: str) -> None:
        """The key's answer is remembered, or there will be none."""
        with self._working:
            self._under_way.discard((model, key))

    def close(self) -> None:
        """Give the connections back."""
        with self._opening:
            if self._pool is not None:
                self._pool.close()
