"""Rows of the prediction log that Postgres cannot take now, on the server's own disk until it can.

An answer may be sent once its rows are here: they outlive the process and the machine's power, and not its disk. What
lies here is written to Postgres as soon as that answers, also by the next server of this home where this one was
killed. A row that got there in another way is not written twice: it has its key.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from pydantic import TypeAdapter

from evergreen.errors import EvergreenError
from evergreen.serve.predictions import Prediction

log = logging.getLogger(__name__)

_EVERY = 1.0  # seconds between two tries to write what lies here to Postgres
_ROWS_A_COMMIT = 5_000
_LAST = 500_000  # bytes, some hundred rows, that are written while others wait to be kept
_ROW = TypeAdapter(Prediction)

Write = Callable[[Sequence[Prediction]], None]  # raises while Postgres does not answer; psycopg.DataError: not these


@dataclass(frozen=True)
class _Ended:
    """A file that no more rows come to, and that this server still holds."""

    path: Path
    file: int
    done: int  # bytes, which are in Postgres
    size: int


class Unlogged:
    """The rows that wait, of one server; thread-safe.

    Args:
        folder: of all servers of a home; each has a file of its own in it.
        most: bytes of the file; 0: none is ever written.
        write: writes rows to Postgres, and leaves out those that it has.
    """

    def __init__(self, folder: Path, most: int, write: Write) -> None:
        self._folder = folder
        self._most = most
        self._write = write
        self._lock = threading.Lock()
        self._file: int | None = None
        self._size = 0
        self._path: Path | None = None
        self._ended: _Ended | None = None
        self._ending = False  # the last rows of that one are on their way
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._ship, name="unlogged predictions", daemon=True)

    @property
    def size(self) -> int:
        """Bytes that wait."""
        ended = self._ended
        return self._size + (ended.size if ended else 0)

    @property
    def behind(self) -> bool:
        """What comes now is to follow what waits: nobody knows that Postgres takes it."""
        return self._size > 0 or (self._ended is not None and not self._ending)

    @property
    def full(self) -> bool:
        """No more fits."""
        return self.size >= self._most

    def start(self) -> None:
        """Write what waits to Postgres, now and whenever something does."""
        self._thread.start()

    def stop(self) -> None:
        """End; what waits is the next server's."""
        self._stopped.set()
        self._thread.join(10)

    def append(self, rows: Sequence[Prediction]) -> bool:
        """Keep rows; whether they fit. They are on the disk when this returns.

        Raises:
            OSError: the disk does not take them.
        """
        content = b"".join(_ROW.dump_json(row) + b"\n" for row in rows)
        with self._lock:
            if self.size + len(content) > self._most:
                return False
            file = self._opened()
            try:
                _write_whole(file, content)
                os.fdatasync(file)
            except OSError:
                os.ftruncate(file, self._size)
                raise
            self._size += len(content)
        return True

    def _opened(self) -> int:
        if self._file is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._folder / f"{os.getpid()}-{os.urandom(4).hex()}.jsonl"
            beginning = path.with_suffix(".new")  # until it is locked: another server takes up what nobody holds
            file = os.open(beginning, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX)
            beginning.rename(path)
            _sync_folder(self._folder)
            self._path, self._file = path, file
        return self._file

    def _ship(self) -> None:
        while True:
            try:
                while self.size and not self._stopped.is_set():
                    self._own()
                self._left()
            except (EvergreenError, psycopg.OperationalError) as error:
                log.debug("%s bytes of predictions wait: %s", self.size, error)
            except Exception:  # whatever it is, the next try comes
                log.exception("writing predictions that waited")
            if self._stopped.wait(_EVERY):
                return

    def _own(self) -> None:
        """Write what this server keeps, until nothing is left; what comes meanwhile too."""
        ended = self._ended or self._end()
        self._ending = True
        try:
            self._written(ended.path, ended.done, ended.size)
            ended.path.unlink()
            with self._lock:
                self._ended = None
        finally:
            self._ending = False
        os.close(ended.file)
        log.info("predictions that waited are in the log: %d bytes", ended.size)

    def _end(self) -> _Ended:
        """Write most of the file that rows come to, and let them come to another one. It waits, counts, and is no other
        server's until the rest is written too."""
        assert self._path is not None and self._file is not None
        done = 0
        while self._size - done > _LAST:
            done = self._written(self._path, done, self._size)
        # A busy server would always have some more: what comes from now on goes to Postgres again, or to a file of its
        # own. Nobody waits for Postgres under the lock.
        with self._lock:
            self._ending, ended = True, _Ended(self._path, self._file, done, self._size)
            self._ended = ended
            self._path = self._file = None
            self._size = 0
        return ended

    def _left(self) -> None:
        """Write what servers left that were killed."""
        if not self._folder.is_dir():
            return
        for path in sorted(self._folder.glob("*.jsonl")):
            if path == self._path or (self._ended and path == self._ended.path):
                continue
            file = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._written(path, 0, path.stat().st_size)
                path.unlink()
                log.info("predictions that a server left are in the log: %s", path.name)
            except BlockingIOError:
                pass  # its server lives
            finally:
                os.close(file)

    def _written(self, path: Path, start: int, end: int) -> int:
        """Write the rows between two places of a file; where the next ones begin."""
        batch: list[Prediction] = []
        for row in _rows(path, start, end):
            batch.append(row)
            if len(batch) >= _ROWS_A_COMMIT:
                self._commit(path, batch)
                batch = []
        if batch:
            self._commit(path, batch)
        return end

    def _commit(self, path: Path, rows: Sequence[Prediction]) -> None:
        try:
            self._write(rows)
        except psycopg.DataError as error:
            if len(rows) > 1:
                for row in rows:
                    self._commit(path, [row])
                return
            refused = path.with_suffix(".refused")
            with refused.open("ab") as file:
                file.write(_ROW.dump_json(rows[0]) + b"\n")
            log.error("a prediction cannot be written to the log, and is kept in %s: %s", refused, error)


def _rows(path: Path, start: int, end: int) -> Iterator[Prediction]:
    """The rows of whole lines; a server that was killed may have left half of one, which nobody was answered."""
    with path.open("rb") as file:
        file.seek(start)
        while file.tell() < end:
            line = file.readline()
            if not line.endswith(b"\n"):
                return
            yield _ROW.validate_json(line)


def _write_whole(file: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
