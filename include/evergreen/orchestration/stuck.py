"""A task that does not end: where it is, and its end where its own time limit cannot end it.

Airflow's limit is a signal that the interpreter must handle. A task that waits inside a library never comes back to it,
so it would run until its run's limit skips it, and say nothing. What is here needs no interpreter.
"""

from __future__ import annotations

import faulthandler
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

GRACE = timedelta(minutes=1)  # for Airflow's own limit, which leaves the better log
_STDERR = 2  # of a task it leads to its log, whatever became of `sys.stderr`


def asked_by_signal() -> None:
    """Let SIGUSR1 ask this process, and each that it forks, where its threads are; it ends nothing."""
    faulthandler.register(signal.SIGUSR1, file=_STDERR)


@contextmanager
def ended(limit: timedelta | None) -> Iterator[None]:
    """End the process once the block has taken longer than `limit` and `GRACE`. Where each thread is goes to the task's
    log first; Airflow sees a task that died, and retries it.

    Args:
        limit: the task's own; without one it may take as long as it likes.
    """
    if limit is None:
        yield
        return
    faulthandler.dump_traceback_later((limit + GRACE).total_seconds(), exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
