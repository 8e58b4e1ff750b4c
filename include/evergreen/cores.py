"""The cores of the processor that there are for us."""

from __future__ import annotations

import os


def usable() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_for_algebra() -> None:
    """Let NumPy and SciPy use one core in this process and those that it starts, unless the environment says how many.

    Tasks run side by side. Where each has a thread per core, the threads wait for one another in a loop: two such
    processes on two cores took six times as long as with one thread each, and as much of the processor.
    The libraries read this as they are loaded: call it before.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
