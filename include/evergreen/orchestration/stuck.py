"""The end of a task that its own time limit cannot end.

Airflow's limit is a signal that the interpreter must handle. A task that waits inside a library never comes back to it,
so it would run until its run's limit skips it, and say nothing. This limit needs no interpreter.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

GRACE = timedelta(minutes=1)  # for Airflow's own limit, which leaves the better log
_STDERR = 2  # of a task it leads to its log, whatever became of `sys.stderr`


@contextmanager
def ended(limit: timedelta | None) -> Iterator[None]:
    """End the process once the block has taken longer than `limit` and `GRACE`. Where each thread is goes to the task's
    log first; Airflow sees a task that died, and retries it.

    Args:
        limit: the task's own; without one it may take as long as it likes.
    """
    if limit is not None:
        faulthandler.dump_traceback_later((limit + GRACE).total_seconds(), exit=True, file=_STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
