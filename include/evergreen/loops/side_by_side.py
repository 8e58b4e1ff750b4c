"""Several intervals of a dataset at once: each in a process of its own, by the wiring that `loops.inline` interprets.

Stages decide from what is published when they look, so intervals may overlap and end in any order (see
`features.stages`). The processes are forked from one that has imported the libraries, once for all of them.
"""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from evergreen import keeping
from evergreen.errors import WorkerGone
from evergreen.interval import Interval
from evergreen.loops import inline
from evergreen.loops.inline import Results
from evergreen.settings import settings
from evergreen.spec.dataset import DatasetSpec

# What the stages of the loop import when they begin.
_IMPORTED = (
    "evergreen.features.computing",
    "evergreen.features.objects",
    "evergreen.features.replacement",
    "evergreen.ingest.parse",
    "evergreen.lake.staging",
    "evergreen.loops.side_by_side",
    "evergreen.validate.data_docs",
    "evergreen.validate.expectations",
    "evergreen.validate.usable",
)


def ingest(
    spec: DatasetSpec, intervals: Sequence[Interval], *, width: int, begin: Callable[[], object]
) -> Iterator[tuple[Interval, Results | Exception]]:
    """Run the ingest loop of some intervals, the oldest first, and of each, as soon as it has ended, its results or the
    error that it ended with.

    A bad interval costs only itself. No other one begins where all would need the same: a service, a disk, a
    connection. Whoever leaves the iteration early ends what still runs.

    Args:
        width: how many run at a time.
        begin: is called in each of the processes, before any work; importable by name.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_IMPORTED))
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(width, len(intervals)), context, _begin, (dict(os.environ), begin))
    waiting, working = iter(sorted(intervals)), dict[Future[Results | Exception], Interval]()
    try:
        while True:
            for interval in itertools.islice(waiting, width - len(working)):  # no more: the pool would begin them
                working[pool.submit(_ingested, spec, interval)] = interval
            if not working:
                return
            for work in wait(working, return_when=FIRST_COMPLETED).done:
                outcome = _outcome(work, spec, width)
                if isinstance(outcome, (*inline.OF_EVERY_INTERVAL, WorkerGone)):
                    waiting = iter(())
                yield working.pop(work), outcome
    finally:
        if working:
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()  # a stage may be killed at any instant
        pool.shutdown(cancel_futures=True)


def _outcome(work: Future[Results | Exception], spec: DatasetSpec, width: int) -> Results | Exception:
    try:
        return work.result()
    except BrokenProcessPool as error:
        gone = WorkerGone(
            f"ingesting {spec.name}, {width} intervals side by side",
            found="a process that ended before its work: it was killed, for its memory most likely",
            expected="processes that end by themselves",
            next_step="run what is left with fewer --side-by-side",
        )
        gone.__cause__ = error
        return gone


def _begin(environment: Mapping[str, str], begin: Callable[[], object]) -> None:
    """The process that all are forked from has the environment of its own start, and was not told of any change."""
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who interrupts the command means all of it: that one ends us
    keeping.begin(settings().query_memory // keeping.PART)
    begin()


def _ingested(spec: DatasetSpec, interval: Interval) -> Results | Exception:
    for handler in logging.getLogger().handlers:  # lines of several intervals are mixed
        handler.setFormatter(logging.Formatter(f"{interval.partition}  %(message)s"))
    try:
        return inline.run(inline.of(spec, interval), "ingest")
    except Exception as error:  # noqa: BLE001 - whatever an interval ends with, the caller tells it
        return error
