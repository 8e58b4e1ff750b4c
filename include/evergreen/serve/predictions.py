"""The prediction log: every prediction that was answered to a client stands here, with the features it was made from.
So do those of a version beside the champion that nobody was given, and each of its failures.

An answer waits until its rows are committed, or while Postgres does not answer, until they are on the server's own disk
(`unlogged`). Commits are shared: whatever waits while one is under way goes with the next, so a busy server commits a
few hundred times per second and not once per request. With its rows may go the whole answer, to be remembered under a
key: in the same transaction, so that neither is there without the other.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter
from typing import Annotated, Any

import psycopg

from evergreen import database
from evergreen.database import Stored, Table
from evergreen.database.arrays import COPY_HEAD, COPY_TAIL, Array, ArrayDumper, binary
from evergreen.database.arrays import rows as in_binary
from evergreen.errors import ServiceUnavailable
from evergreen.serve import idempotency
from evergreen.serve.drafts import Draft, Waiting, Withdrawn, days_of
from evergreen.serve.idempotency import Answer
from evergreen.spec.problem import Answer as Answered

log = logging.getLogger(__name__)

_ROWS_A_COMMIT = 5_000
ROWS_A_PIECE = 100  # that are encoded while Postgres writes those before
_MANY = 50  # rows that are copied; an insert of fewer is prepared
_ROWS_WAITING = 50_000  # more than this and the database does not keep up: refuse rather than pile up


@dataclass  # nobody changes one, but a frozen one takes ten times as long to make, and a request has up to a thousand
class Prediction:
    """One answered prediction."""

    model: str  # the model's name
    version: int  # number of the version that answered
    request_id: str  # id of the request, which its answer has too
    position: Annotated[int, Stored("integer")]  # place of the entity in its request, from 0
    # the entity's key, as text; of several keys a JSON list, in the order in which they are declared
    entity: Annotated[str, Stored(noted=False)]
    as_of: datetime  # the moment of the prediction
    # `event_timestamp` of the newest features that it was made from; null: the online store had none
    features_at: datetime | None
    # JSON: feature or input → the value that the model took, in its own unit
    features: Annotated[dict[str, Any], Stored(noted=False)]
    # P(1), from 0 to 1, of a `binary` label; the number, in the label's unit, of a `numeric` one; null of `multiclass`
    prediction: float | None
    # when the row was written, by the database's clock
    logged_at: Annotated[datetime | None, Stored(filled="default now()")] = None
    # JSON of a `multiclass` label: class → its probability, from 0 to 1; they sum to 1. Null of any other label
    probabilities: dict[str, float] | None = None
    # the class that was answered, such as `1`; null: the label has no classes, or an earlier release answered
    decided: str | None = None
    # `champion`, `last known good`, `retired`, `challenger`, or `shadow`: answers nobody; null: an earlier release
    role: str | None = None
    rollout: str | None = None  # id of the ledger's `rollout opened` that was open; null: none was
    share: Annotated[int | None, Stored("integer")] = None  # per cent of the entities that its version answered then
    seconds: float | None = None  # that the version took for the whole request
    failed: str | None = None  # why the version did not answer, so that the champion did; null: it answered

    @property
    def answered(self) -> Answered | None:
        """What was answered."""
        return self.prediction if self.probabilities is None else self.probabilities


# In it a table per model, and in that one per UTC day: its functions `take_predictions` and `drop_predictions` make and
# drop them (migration 9).
TABLE = Table(
    "predictions",
    Prediction,
    key=("model", "as_of", "request_id", "position", "version"),
    divided="list (model)",
)
INSERT = f"{TABLE.inserting} on conflict ({', '.join(TABLE.key)}) do nothing"
_KINDS = [column.kind for column in TABLE.inserted]
_VALUES = attrgetter(*(column.name for column in TABLE.inserted))
ANSWERED = "role is distinct from 'shadow' and failed is null"  # to a client

# A server that trades durability for speed by default must not do so here; one that hangs must not hang us.
_BOUNDED: dict[str, Any] = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "options": "-c synchronous_commit=on -c statement_timeout=10s -c lock_timeout=10s",
}


def between(model: str, start: datetime, end: datetime) -> list[Prediction]:
    """What clients were answered with `as_of` in [start, end), oldest first."""
    order = "order by as_of, request_id, position, version"
    rest = f"where model = %s and as_of >= %s and as_of < %s and {ANSWERED} {order}"
    with database.connect() as connection:
        return TABLE.select(connection, rest, [model, start, end])


def of_request(model: str, request_id: str) -> list[Prediction]:
    """What a request was answered, in the order of its entities."""
    with database.connect() as connection:
        rest = f"where model = %s and request_id = %s and {ANSWERED} order by position"
        return TABLE.select(connection, rest, [model, request_id])


def days(model: str) -> list[date]:
    """The UTC days that the log has a table for, oldest first."""
    with database.connect() as connection:
        return [day for (day,) in connection.execute("select predictions_days(%s)", [model]).fetchall()]


def drop(model: str, dropped: Iterable[date]) -> None:
    """Delete the predictions of whole UTC days, whose tables are dropped: at the same cost however many rows they have.

    Raises:
        ServiceUnavailable: somebody reads or writes one of them for longer than the lock's patience.
    """
    for day in dropped:  # each by itself: whoever reads or writes waits for one of them at most
        with database.connect() as connection:
            connection.execute(f"set local lock_timeout = '{database.PATIENCE}'")
            connection.execute("select drop_predictions(%s, %s)", [model, day])


def write_late(rows: Sequence[Prediction]) -> None:
    """Write rows that waited; those that are there are left out.

    Raises:
        ServiceUnavailable: Postgres does not answer.
        psycopg.DataError: one of them has a value that Postgres does not hold; none is written.
    """
    with psycopg.connect(database.url(), **_BOUNDED) as connection:
        make_tables(connection, days_of(rows))
        TABLE.insert(connection, rows)


def connected() -> psycopg.Connection:
    """A connection to write the log by, with bounds on what it waits for."""
    connection = psycopg.connect(database.url(), autocommit=True, **_BOUNDED)
    connection.adapters.register_dumper(Array, ArrayDumper)
    return connection


def encoded(rows: Sequence[Prediction]) -> list[Array]:
    """The parameters of `INSERT`; raises what a value raises that cannot be sent."""
    return [Array(binary(kind, values)) for kind, values in zip(_KINDS, _columns(rows), strict=True)]


def _columns(rows: Sequence[Prediction]) -> list[tuple[Any, ...]]:
    """The values of each column that a writer fills."""
    return [*zip(*map(_VALUES, rows), strict=True)] or [()] * len(_KINDS)


def _insert(connection: psycopg.Connection, requests: Iterable[Waiting[Prediction]]) -> None:
    """All or none, by itself or in the transaction that is open; those that are there are left out."""
    connection.execute(INSERT, encoded([row for request in requests for row in request.rows]), prepare=True)


def _copy(connection: psycopg.Connection, requests: Iterable[Waiting[Prediction]]) -> None:
    """The same where none is there, else it fails: of many rows in half the time. Postgres writes the first ones while
    the next ones are encoded, or made."""
    with connection.cursor() as cursor, cursor.copy(TABLE.copying.encode()) as copy:
        copy.write(COPY_HEAD)
        for rows in (rows for request in requests for rows in request.pieces):
            for start in range(0, len(rows), ROWS_A_PIECE):
                copy.write(in_binary(_KINDS, _columns(rows[start : start + ROWS_A_PIECE])))
        copy.write(COPY_TAIL)


def make_tables(connection: psycopg.Connection, new: Iterable[tuple[str, date]]) -> None:
    """Make the tables of models' days that have none."""
    for model, day in sorted(new):
        connection.execute("select take_predictions(%s, %s)", [model, day])


class PredictionLog:
    """Writes from one thread with one connection; thread-safe.

    Args:
        keep: keeps rows on disk that Postgres does not take, and says whether they fit; None: they are refused.
        waiting: whether rows are kept there; then no other row tries Postgres before them.
    """

    def __init__(
        self,
        keep: Callable[[Sequence[Prediction]], bool] | None = None,
        waiting: Callable[[], bool] = lambda: False,
    ) -> None:
        self._keep = keep
        self._waits = waiting
        self._waiting: queue.SimpleQueue[Waiting[Prediction] | None] = queue.SimpleQueue()
        self._rows = 0  # waiting or being written
        self._counting = threading.Lock()
        self._closed = False
        self._connection: psycopg.Connection | None = None
        self._taken: set[tuple[str, date]] = set()  # models and days that have a table
        self._writer = threading.Thread(target=self._write, name="prediction log", daemon=True)
        self._writer.start()

    def append(self, rows: Sequence[Prediction], answer: Answer | None = None) -> Future[Answer | None]:
        """Log a request's rows, and remember its answer under its key; both or none.

        Returns:
            Done when that is committed, with the answer that stands under the key: another one, when a server beside
            this one was faster; then no row of this request is logged. Fails with `ServiceUnavailable` when the commit
            is not certain.
        """
        done: Future[Answer | None] = Future()
        with self._counting:
            full = self._rows + len(rows) > _ROWS_WAITING
            if not full and not self._closed:
                self._rows += len(rows)
                self._waiting.put(Waiting(rows, answer, done))
                return done
        done.set_exception(_unwritten(f"{_ROWS_WAITING:,} rows are waiting" if full else "the log is closed"))
        return done

    def draft(self, model: str, as_of: datetime, most: int) -> Draft[Prediction]:
        """The rows of a request that is still being worked on, which are sent as they are made."""
        return Draft(model, as_of, most, self._begin)

    def _begin(self, draft: Draft[Prediction]) -> bool:
        """Take the rows of a draft; whether there is room."""
        with self._counting:
            room = self._rows + draft.most <= _ROWS_WAITING and not self._closed and not self._waits()
            if room:
                self._rows += draft.most
                self._waiting.put(Waiting(draft, None, draft.done))
        return room

    def close(self) -> None:
        """Write what is waiting, then stop."""
        with self._counting:
            self._closed = True
            self._waiting.put(None)
        self._writer.join()

    def _write(self) -> None:
        ended = False
        while not ended:
            taken, ended = self._take()
            if taken:
                self._settle(taken)
        if self._connection is not None:
            self._connection.close()

    def _settle(self, requests: list[Waiting[Prediction]]) -> None:
        """Commit requests together, and tell each."""
        standing: dict[str, Answer] = {}
        failure = None
        kept: set[int] = set()
        try:
            if self._waits():
                raise _unwritten("the database has not answered for a while")
            standing = self._commit(requests)
        except ServiceUnavailable as error:
            failure = error
            kept = self._kept(requests)
        except Exception as error:  # whatever it is, the writer must live
            if len(requests) > 1:  # a value of one of them that cannot be written is no fault of the others
                for request in requests:
                    self._settle([request])
                return
            if not isinstance(error, Withdrawn):
                log.exception("a request's predictions cannot be written")
            failure = _unwritten(f"{type(error).__name__}: {error}".strip())
        with self._counting:
            self._rows -= sum(request.most for request in requests)
        for request in requests:
            if request.done.set_running_or_notify_cancel():
                if failure is not None and id(request) not in kept:
                    request.done.set_exception(failure)
                else:
                    ours = request.answer
                    request.done.set_result(ours and standing.get(ours.request_id, ours))

    def _kept(self, requests: list[Waiting[Prediction]]) -> set[int]:
        """The requests whose rows are on disk now. Not those with a key: no other server would know it."""
        keyless = [request for request in requests if request.answer is None]
        if self._keep is None or not keyless:
            return set()
        try:
            rows: list[Prediction] = []
            for request in keyless:
                with suppress(Withdrawn):  # nobody waits for it
                    rows += request.rows
            fits = self._keep(rows)
        except OSError as error:
            log.error("predictions cannot be kept on disk: %s", error)
            return set()
        return {id(request) for request in keyless} if fits else set()

    def _take(self) -> tuple[list[Waiting[Prediction]], bool]:
        """What is waiting, at least one request; and whether the log was closed after it."""
        taken: list[Waiting[Prediction]] = []
        item = self._waiting.get()
        while item is not None:
            taken.append(item)
            if (
                isinstance(item.given, Draft)  # nobody else waits for its end
                or sum(request.most for request in taken) >= _ROWS_A_COMMIT
                or self._waiting.empty()
            ):
                return taken, False
            item = self._waiting.get()
        return taken, True

    def _commit(self, requests: list[Waiting[Prediction]]) -> dict[str, Answer]:
        """Commit requests; once more on a new connection when it fails, since the old one may be stale. By then rows
        may be there: nobody knows whether a commit that failed was one.

        Returns:
            `request_id` of a request whose key has another request's answer → that answer. Its rows are not logged.

        Raises:
            ServiceUnavailable: it cannot be said that they are committed.
            Exception: a value that cannot be sent, or that Postgres does not hold
                (psycopg.DataError); nothing is committed.
        """
        failure: Exception | None = None
        for again in (False, True):
            try:
                if self._connection is None:
                    self._connection = connected()
                self._take_days(self._connection, requests)
                many = sum(request.most for request in requests) > _MANY
                return _write(self._connection, requests, _copy if many and not again else _insert)
            except psycopg.DataError:
                raise
            except (psycopg.Error, ServiceUnavailable) as error:
                failure = error
                self._taken.clear()  # a day of them may have been dropped
                if self._connection is not None:
                    self._connection.close()
                self._connection = None
        raise _unwritten(str(failure).strip())

    def _take_days(self, connection: psycopg.Connection, requests: list[Waiting[Prediction]]) -> None:
        """Make the tables of days that have none yet: about once per day and model."""
        new = set[tuple[str, date]]().union(*(request.days for request in requests)) - self._taken
        make_tables(connection, new)
        self._taken |= new


def _write(
    connection: psycopg.Connection,
    requests: list[Waiting[Prediction]],
    write_rows: Callable[[psycopg.Connection, Iterable[Waiting[Prediction]]], None],
) -> dict[str, Answer]:
    answers = [request.answer for request in requests if request.answer is not None]
    if not answers:
        write_rows(connection, requests)
        return {}
    with connection.transaction():
        # In the keys' order: two servers with the same keys wait for each other instead of deadlocking.
        ours = idempotency.remember(connection, sorted(answers, key=lambda a: (a.model, a.key)))
        late = {(a.model, a.key): a.request_id for a in answers if a.request_id not in ours}
        elsewhere = set(late.values())
        ours_too = [each for each in requests if each.answer is None or each.answer.request_id not in elsewhere]
        write_rows(connection, ours_too)
        if not late:
            return {}
        standing = idempotency.standing(connection, late)
        if len(standing) < len(late):
            raise _unwritten("an answer that stood under a key expired in the same moment")
    return {late[answer.model, answer.key]: answer for answer in standing}


def _unwritten(observed: str) -> ServiceUnavailable:
    return ServiceUnavailable(
        "writing the prediction log",
        found=observed,
        expected="the rows committed before they are answered",
        next_step="ask again; check the database `evergreen` (`make up`, EVERGREEN_DATABASE)",
    )
