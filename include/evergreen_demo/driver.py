"""What every demo does: start the stack, write source batches, send traffic, and ask Airflow to run intervals.

Everything else is the DAGs' own doing.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from croniter import croniter

from evergreen.airflow_client.api import AirflowApi
from evergreen.airflow_client.runs import AirflowRuns
from evergreen.errors import PermanentError
from evergreen.interval import DAY, Interval, days
from evergreen.local import lock, stack
from evergreen.settings import Settings, home_folder, settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from evergreen_simulator.replay import Replay, TrafficFailed

WIDTH = 4  # days of the backfill side by side
_MARK = "demo.json"  # says that a home is a demo's, which may delete it


class DemoRefused(PermanentError):
    """The demo would have to delete what is not its own."""


class Upstream(Protocol):
    """The world around the platform: it delivers batches, and its clients ask for predictions."""

    def write(self, first: date, last: date, landing: str) -> Iterator[date]:
        """Write every day's batches into the landing zone; names each day when they are there."""
        ...

    def ask(self, day: date, server_url: str) -> Replay:
        """Send the requests of a day to the model server."""
        ...


@dataclass(frozen=True)
class Span:
    """Which days are told."""

    first: date  # of the history that is backfilled
    history_end: date  # last day that is backfilled before the first training
    end: date  # last day of live traffic


@dataclass
class Clock:
    """Tells what is going on, and keeps where the time went."""

    started: float = field(default_factory=time.monotonic)
    spent: dict[str, float] = field(default_factory=dict)

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.started:6.1f} s] {text}", flush=True)

    def count(self, what: str, done: int, total: int) -> None:
        """A progress line: rewritten in place on a terminal, said every tenth part elsewhere."""
        if sys.stdout.isatty():
            print(
                f"\r[{time.monotonic() - self.started:6.1f} s] {what}: {done}/{total}",
                end="\n" if done == total else "",
                flush=True,
            )
        elif self._moved(what, done, total):
            self.say(f"{what}: {done}/{total}")

    def _moved(self, what: str, done: int, total: int) -> bool:
        tenth = done * 10 // max(total, 1)
        moved = tenth != self._tenths.get(what)
        self._tenths[what] = tenth
        return moved

    _tenths: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Counts the time of the block to `name`."""
        start = time.monotonic()
        self.say(name)
        try:
            yield
        finally:
            self.spent[name] = self.spent.get(name, 0.0) + time.monotonic() - start


class Demo:
    """One telling on a stack that runs."""

    def __init__(
        self, spec: ModelSpec, upstream: Upstream, span: Span, here: Settings, clock: Clock, *, routine: bool = False
    ) -> None:
        self.spec = spec
        self.upstream = upstream
        self.span = span
        self.here = here
        self.clock = clock
        self.routine = routine  # the spec's scheduled trainings too, at their time
        self.runs = AirflowRuns(AirflowApi.of(here))
        self.ids = {loop: f"{spec.model}__{loop}" for loop in ("ingest", "train", "monitor")}

    @property
    def over(self) -> bool:
        """Whether the story is at its end before its last day."""
        return False

    def play(self) -> None:
        """History, first training, live days until the end."""
        with self.clock.phase("waiting for the DAGs"):
            self.runs.wait_for_dags(list(self.ids.values()))
        self.history()
        with self.clock.phase("first training, gates, deployment"):
            self.train(self.span.history_end)
        self.live()

    def history(self) -> None:
        """Writes the batches of the past and has Airflow backfill them."""
        past = days(self.span.first, self.span.history_end)
        with self.clock.phase(f"writing {len(past)} days of batches"):
            for _ in self.upstream.write(self.span.first, self.span.history_end, self.here.landing):
                pass
        with self.clock.phase(f"backfilling {len(past)} days through Airflow"):
            backfill = self.runs.backfill(self.ids["ingest"], past[0], past[-1], WIDTH)
            progress = lambda done: self.clock.count("backfill", done, len(past))  # noqa: E731 - one expression, used once
            self.runs.wait_for_backfill(backfill, self.ids["ingest"], len(past), progress)

    def train(self, last_day: date) -> None:
        as_of = Interval.of_day(last_day).end
        run = self.runs.trigger(
            self.ids["train"], f"first__{last_day}", conf={"as_of": as_of.isoformat(), "reason": "first model"}
        )
        self.trained(run)

    def trained(self, run: dict[str, Any]) -> None:
        """Until a training has ended."""
        self.runs.wait(run)

    def live(self) -> None:
        """One day after the other, until the story is over: traffic, the day's batches, ingestion; beside the next
        day, the monitor and what it triggers."""
        live = days(self.span.history_end + DAY, self.span.end)
        with self.clock.phase(f"live days, {len(live)} at most"), ThreadPoolExecutor(1) as beside:
            watching = None
            for number, interval in enumerate(live, 1):
                self.traffic(interval)
                self.write(interval)
                self.runs.wait(self.runs.trigger(self.ids["ingest"], f"live__{interval.partition}", interval))
                if watching is not None:
                    watching.result()
                over = self.over
                watching = beside.submit(self.watch, interval)
                self.clock.count("live day", number, len(live))
                if over:
                    break
            if watching is not None:
                watching.result()

    def watch(self, interval: Interval) -> None:
        """The monitor's run of a day, and the training that it triggered, if it did."""
        run = self.runs.wait(self.runs.trigger(self.ids["monitor"], f"live__{interval.partition}", interval))
        decision = self.runs.result(run, "decide")
        if decision["action"] != "none":
            self.clock.say(f"{interval.partition} monitor: {decision['action']}")
        for training in self.runs.of(self.ids["train"], state=["queued", "running"]):
            with self.clock.phase(f"retraining: {training['dag_run_id']}"):
                self.trained(training)
        self.scheduled(interval)

    def scheduled(self, interval: Interval) -> None:
        """The training that the spec schedules for the end of the interval, if it
        does: Airflow's clock is not the replay's."""
        routine = self.spec.schedule.train if self.routine else None
        if routine is not None and croniter.match(routine, interval.end):
            conf = {"as_of": interval.as_of.isoformat(), "reason": "scheduled"}
            with self.clock.phase("scheduled trainings"):
                self.trained(self.runs.trigger(self.ids["train"], f"weekly__{interval.partition}", conf=conf))

    def write(self, interval: Interval) -> None:
        """The day's batches, as the upstream system writes them."""
        day = interval.start.date()
        for _ in self.upstream.write(day, day, self.here.landing):
            pass

    def traffic(self, interval: Interval) -> None:
        """The day's clients ask the model server."""
        replayed = self.upstream.ask(interval.start.date(), self.here.server_url)
        if replayed.unknown:
            raise TrafficFailed(
                f"asking about {interval.partition}",
                found=f"{len(replayed.unknown)} unknown to the server: {replayed.unknown[:5]}",
                expected="features online of everyone asked about",
                next_step=f"look at the last runs of {self.ids['ingest']} in Airflow",
            )


@contextmanager
def telling(
    model: str,
    upstream: Upstream,
    span: Span,
    mark: dict[str, Any],
    *,
    routine: bool = False,
    kind: type[Demo] = Demo,
    prepare: Callable[[Settings], None] = lambda here: None,
) -> Iterator[Demo]:
    """A demo on a fresh stack, which is stopped after the block; what an earlier
    demo left in its home is deleted first.

    Args:
        kind: which one.
        prepare: is called with an empty home, before the stack is started.

    Raises:
        DemoRefused: the home holds something else than a demo.
    """
    clock = Clock()
    with lock.locked(home_folder(), "make demo", clock.say):  # `make down` asks it to end; `make up` waits
        _clear(settings(), clock)
        _mark(settings(), mark)
        prepare(settings())
        try:
            with clock.phase("starting Postgres, MLflow, the model server, the reports and Airflow"):
                here = stack.up(clock.say, replay=True)
            demo = kind(load_spec(here.models / model, here.data), upstream, span, here, clock, routine=routine)
            yield demo
            _where_the_time_went(clock, demo.runs, list(demo.ids.values()))
        finally:
            stack.down(clock.say)
    print("\nEverything is stopped now. `make up` starts it again with all of this in it:")
    for name, address in stack.addresses(here).items():
        print(f"  {name:14}{address}")


def _clear(here: Settings, clock: Clock) -> None:
    if not lock.occupied(here.home):
        return
    if not (here.home / _MARK).exists():
        raise DemoRefused(
            "making room for the demo",
            found=f"a folder {here.home} that no demo wrote, with something in it",
            expected="an empty home, or an earlier demo's",
            next_step=(
                "run the demo elsewhere (EVERGREEN_HOME=…), or empty the folder (`make reset`, if a stack wrote it)"
            ),
        )
    if not here.embedded_database or not Path(here.lake).is_relative_to(here.home):
        raise DemoRefused(
            "making room for the demo",
            found=f"an earlier demo's data in a database or a lake outside {here.home}",
            expected="an empty one: only you may empty it",
            next_step=(
                f"empty it and delete {here.home}, or name other ones (EVERGREEN_HOME, EVERGREEN_DATABASE_PREFIX, "
                "EVERGREEN_LAKE)"
            ),
        )
    clock.say(f"deleting what is left of an earlier demo in {here.home}")
    stack.reset(ours=True)


def _mark(here: Settings, mark: dict[str, Any]) -> None:
    here.home.mkdir(parents=True, exist_ok=True)
    (here.home / _MARK).write_text(json.dumps(mark, default=str))


def _where_the_time_went(clock: Clock, runs: AirflowRuns, dag_ids: list[str]) -> None:
    print("Where the time went")
    for name, seconds in clock.spent.items():
        print(f"  {seconds:7.1f} s  {name}")
    print(f"  {time.monotonic() - clock.started:7.1f} s  in all")
    print("Seconds a task (mean), by DAG")
    for dag_id in dag_ids:
        print(f"  {dag_id}: " + ", ".join(f"{task} {mean:.1f}" for task, mean in runs.mean_durations(dag_id).items()))
