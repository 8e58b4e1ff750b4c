"""What a training costs: processor seconds, seconds by the clock, memory."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

from evergreen.registry.contents import Fitting

_UNIT = 1 if sys.platform == "darwin" else 1024  # of what the system says of memory, in bytes


@dataclass(frozen=True)
class Began:
    """When something began, by the processor and by the clock."""

    cpu: float
    wall: float

    @classmethod
    def now(cls) -> Began:
        return cls(_cpu(), time.perf_counter())

    def until_now(self, rows: int) -> Fitting:
        """What it cost. The peak of the memory is the process' since its start: a task of Airflow is one of its own."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT / 1e6
        return Fitting(
            rows=rows,
            cpu_seconds=round(_cpu() - self.cpu, 3),
            wall_seconds=round(time.perf_counter() - self.wall, 3),
            peak_memory_mb=round(peak, 1),
        )


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime
