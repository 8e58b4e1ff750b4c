"""What is seen while replicas are under load: how long answers took in each phase, which of them the log lacks, and how
much memory each replica has."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psutil

from benchmarks.document import table
from benchmarks.measure import percentile
from evergreen.serve import predictions

from .conftest import ServedModel, Server
from .test_serve_load import Clients

EARLIER = timedelta(minutes=2)  # that a request may have begun before its answer is compared with the log
FLAT = "at most 15 % more at the end than after the first turn"


@dataclass(frozen=True)
class Size:
    """A replica's memory at a moment."""

    pid: int
    when: str
    resident: int  # bytes


@dataclass
class Watch:
    """One run under load."""

    served: ServedModel
    servers: list[Server]
    clients: Clients
    started: float = field(default_factory=time.monotonic)
    sizes: list[Size] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))  # of each answer, by phase
    times: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # that a phase was gone through
    requests: int = 0
    answers: int = 0
    missing: list[tuple[str, int]] = field(default_factory=list)  # acknowledged, and not so in the log
    _since: datetime = field(default_factory=lambda: datetime.now(UTC))
    _phases: list[tuple[float, float, str]] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str, *, changes: bool = False) -> Iterator[None]:
        """An act; `changes`: after it another version is champion, and memory is looked at."""
        began = time.monotonic()
        yield
        self._phases.append((began, time.monotonic(), name))
        self.times[name] += 1
        if changes:
            self.sized("swap")

    def sized(self, when: str) -> None:
        """Look at the memory of every replica."""
        self.sizes += [Size(server.pid, when, psutil.Process(server.pid).memory_info().rss) for server in self.servers]

    def of(self, server: Server, when: str) -> int:
        """A replica's memory at a moment, the last of that name, in bytes."""
        return [size.resident for size in self.sizes if (size.pid, size.when) == (server.pid, when)][-1]

    def compared(self) -> None:
        """Compare what was answered since the last time with the log, and let go of it."""
        count = len(self.clients.answered)
        taken = self.clients.answered[:count]
        del self.clients.answered[:count]  # in place: the clients go on
        since, self._since = self._since - EARLIER, datetime.now(UTC)
        logged = {
            (row.request_id, row.position): (row.version, row.prediction)
            for row in predictions.between(self.served.name, since, self._since + EARLIER)
        }
        for answer in taken:
            self.requests += 1
            for place, item in enumerate(answer["predictions"]):
                self.answers += 1
                told = (item.get("version", answer["version"]), item["prediction"])
                if logged.get((answer["request_id"], place)) != told:
                    self.missing.append((answer["request_id"], place))
        self._spread(taken)

    def _spread(self, taken: list[dict]) -> None:
        for answer in taken:
            names = [name for began, ended, name in self._phases if began <= answer["sent"] < ended]
            self.seconds[names[0] if names else "between them"].append(answer["seconds"])
        self._phases.clear()

    def told(self, turns: int) -> str:
        """As Markdown."""
        minutes = (time.monotonic() - self.started) / 60
        waits = [
            (
                name,
                f"{self.times[name] or ''}",
                f"{len(each):,}",
                *(f"{percentile(each, q) * 1e3:.0f} ms" for q in (0.5, 0.99)),
            )
            for name, each in self.seconds.items()
        ]
        return "\n\n".join(
            [
                f"{minutes:.0f} minutes, {turns} turns of all acts: {self.requests:,} requests were answered, "
                f"**{len(self.clients.failed)} failed**; of {self.answers:,} acknowledged answers "
                f"**{len(self.missing)} are not in the log**.",
                table(("phase", "times", "requests", "p50", "p99"), waits),
                f"Memory of each replica (resident); flat is {FLAT}:",
                table(
                    ("replica", "start", "after the first turn", "the most after a swap", "end", "growth"),
                    self._grown(),
                ),
            ]
        )

    def _grown(self) -> Iterator[tuple[str, ...]]:
        for number, server in enumerate(self.servers, 1):
            mine = [size for size in self.sizes if size.pid == server.pid]
            named = {size.when: size.resident for size in mine}  # the last of each name
            start, first, end = (named.get(when) for when in ("start", "first turn", "end"))
            most = max((size.resident for size in mine if size.when == "swap"), default=None)
            growth = f"{end / first - 1:+.1%}" if first and end else "" if first else "it is another one each turn"
            shown = [f"{size / 2**20:.0f} MB" if size else "" for size in (start, first, most, end)]
            yield (str(number), *shown, growth)
