"""One command at a time changes the stack of a home: it holds the home's lock, which says
who it is, and ends with its process."""

from __future__ import annotations

import errno
import fcntl
import getpass
import json
import os
import pwd
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import Any

import psutil

from evergreen.disk import existing, raising_disk_full
from evergreen.errors import StackNotReady

FILE = "lock"  # below the home
INTERRUPTIBLE = ("evergreen up", "evergreen restart", "make demo")  # on SIGTERM they stop what they have started
_REMIND = 15.0  # seconds between two lines of one who waits
_STUBBORN = 120.0  # seconds after which a command that was interrupted is reported instead of waited for
_held: set[tuple[str, int]] = set()  # homes, each with the thread that holds its lock

_NEXT_STEPS = {
    errno.EROFS: "it is mounted to be read only: set EVERGREEN_HOME to a folder that can be written",
    errno.ENAMETOOLONG: "set EVERGREEN_HOME to a shorter path",
}


@contextmanager
def locked(home: Path, command: str, progress: Callable[[str], None], *, interrupt: bool = False) -> Iterator[None]:
    """Holds the home's lock during the block; waits for it, and says for whom. Within the block it may be taken again.

    A home that was made for the lock, and into which the block wrote nothing, is gone afterwards.

    Args:
        command: who we are, for those who wait.
        interrupt: ask a command that starts the stack to end, instead of waiting until it has.

    Raises:
        DiskFull, StackNotReady: the home cannot be written, or the command that was asked to end does not.
    """
    key = (os.path.realpath(home), threading.get_ident())
    if key in _held:
        yield
        return
    with home_errors(f"taking the lock of {home} for `{command}`", home):
        made = not home.exists()
        home.mkdir(parents=True, exist_ok=True)
        file = _acquired(home / FILE, progress, interrupt)
    try:
        _held.add(key)
        with home_errors(f"running `{command}`", home):
            _sign(file, command)
            yield
    finally:
        _held.discard(key)
        with suppress(OSError):  # a full disk, or a home that is gone: the lock ends with the file
            file.truncate(0)
            if made and not occupied(home):
                (home / FILE).unlink()
                home.rmdir()
        file.close()


def occupied(home: Path) -> bool:
    """Whether there is anything in the home but its lock."""
    return home.exists() and any(path.name != FILE for path in home.iterdir())


@contextmanager
def home_errors(doing: str, home: Path) -> Iterator[None]:
    """What the operating system refuses in a home, as our error."""
    try:
        with raising_disk_full(doing):
            yield
    except BrokenPipeError:  # nobody reads what is printed any more
        raise
    except OSError as error:
        owner, me = user_name(existing(home).stat().st_uid), getpass.getuser()
        other = f"do it as {owner}, whose folder it is" if owner != me else f"give {me} the right to write there"
        raise StackNotReady(
            doing,
            found=f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""),
            expected=f"a home that {me} may write",
            next_step=_NEXT_STEPS.get(error.errno or 0, f"{other}, or set EVERGREEN_HOME to another folder"),
        ) from error


def _acquired(path: Path, progress: Callable[[str], None], interrupt: bool) -> FileIO:
    begin, remind_at, signalled = time.monotonic(), 0.0, ""
    while True:
        file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
            file.close()  # who held it deleted the home: the file on the disk is another
            path.parent.mkdir(parents=True, exist_ok=True)
            continue
        except BlockingIOError:
            file.seek(0)
            holder = _holder(file.readall())
            file.close()
        waited = time.monotonic() - begin
        if interrupt and holder and str(holder) != signalled and _ask_to_end(holder):
            signalled = str(holder)
            progress(f"{_named(holder)} is asked to end, and stops what it has started")
            begin, remind_at = time.monotonic(), time.monotonic() + _REMIND
        elif signalled and waited > _STUBBORN:
            raise StackNotReady(
                "waiting for the lock of the home",
                found=f"{_named(holder)} does not end",
                expected="that it ends when it is asked to",
                next_step=(
                    f"end it (kill -9 {holder.get('pid', '')}), then run this again: what it leaves is found and "
                    "stopped"
                ),
            )
        elif (holder or waited > 1) and time.monotonic() > remind_at:  # it has signed in a moment
            remind_at = time.monotonic() + _REMIND
            progress(f"waiting for {_named(holder)}" + (f": {waited:.0f} s" if waited > 1 else ""))
        time.sleep(0.1)


def _sign(file: FileIO, command: str) -> None:
    me = psutil.Process()
    signature = {
        "command": command,
        "pid": me.pid,
        "created": me.create_time(),
        "host": socket.gethostname(),
        "user": getpass.getuser(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    with suppress(OSError):  # on a full disk it is held without a name: what stops the stack must go on
        file.truncate(0)
        file.write(json.dumps(signature).encode())


def _holder(text: bytes | None) -> dict[str, Any]:
    """What the holder wrote; empty in the moment before it has."""
    try:
        holder: dict[str, Any] = json.loads(text or b"")
    except ValueError:
        return {}
    return holder


def _named(holder: dict[str, Any]) -> str:
    if not holder:
        return "another command"
    return (
        f"`{holder['command']}` (process {holder['pid']} of {holder['user']} on {holder['host']}, since "
        f"{holder['since']})"
    )


def _ask_to_end(holder: dict[str, Any]) -> bool:
    """Whether the holder is one that ends when asked to, and was asked."""
    if holder["command"] not in INTERRUPTIBLE or holder["host"] != socket.gethostname():
        return False
    try:
        process = psutil.Process(holder["pid"])
        if process.create_time() != holder["created"]:  # the pid is another process's by now
            return False
        process.send_signal(signal.SIGTERM)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied as error:
        raise StackNotReady(
            "stopping the stack",
            found=f"{_named(holder)} is at work",
            expected="a command of this user, or none",
            next_step=f"do it as {holder['user']}",
        ) from error
    return True


def user_name(uid: int) -> str:
    """How the system calls a user."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
