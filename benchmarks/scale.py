"""The cost of a day against the length of history, and against its rows."""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import psutil
import psycopg
from psycopg import sql

from benchmarks import lakes, workload
from benchmarks.document import ratios, table
from benchmarks.measure import Ratio, side_by_side, timed
from evergreen import cores, database
from evergreen.features import objects, replacement
from evergreen.features.online_tables import view_name
from evergreen.features.repository import feature_store
from evergreen.interval import Interval
from evergreen.lake import catalogue
from evergreen.lake.schema import FEATURES, LABELS, RAW
from evergreen.loops import inline
from evergreen.loops.side_by_side import ingest
from evergreen.monitor import decisions
from evergreen.run import Run
from evergreen.settings import settings
from evergreen.spec.schema import ModelSpec
from evergreen.train import dataset
from evergreen.train.rules import split

LENGTHS, FEW = (50, 100, 200), 200  # days of history; customers whose days they are
# Of the comparison with `evergreen bootstrap`: rounds, days of each (few of them run alone at its end), customers.
TURNS, TOGETHER, BOTH = 3, 20, 2000
AGES = (50, 400)  # days of history that a training and a decision come after
SIZES = (2_000, 20_000, 200_000)  # customers; a day of the most is a million rows
# Days of a size. The first pays for imports and for making the tables.
WARM_UP, MEASURED = 1, 2
LOOK_BACK = 27  # days before them, which every view looks back at
ROUNDS = 5  # of a training's `build` and a decision
AROUND = 5  # days whose median stands for a length


def run() -> str:
    """The section's text."""
    history = _fresh("history")
    ages = _fresh("ages")
    together = _fresh("together")
    sizes = {size: _fresh("size", size) for size in SIZES}
    return "\n\n".join(
        [
            _HISTORY.format(customers=FEW, around=AROUND),
            _by_length(history),
            _AGES,
            _by_age(ages),
            _TOGETHER.format(days=TOGETHER, turns=TURNS, customers=BOTH, cores=cores.usable(), **together),
            _SIZE.format(days=WARM_UP + MEASURED, warm_up=WARM_UP, before=LOOK_BACK),
            _by_size(sizes),
        ]
    )


def _fresh(what: str, *arguments: object) -> Any:
    """What `_history` or `_size` finds in a process of its own, whose memory is its alone."""
    print(f"  {what} {' '.join(map(str, arguments))}", flush=True)
    command = [sys.executable, "-m", "benchmarks.scale", what, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def _history() -> list[dict[str, float]]:
    """Seconds by task of every day of the longest history."""
    with workload.home() as here:
        spec = workload.model(here)
        days = workload.deliver(here, FEW, workload.FIRST, max(LENGTHS))
        return [workload.ingest(spec, day) for day in days]


def _ages() -> dict[str, dict[str, list[float]]]:
    """Of a training's `build`, of the labels that a decision counts, and of the decisions before it: seconds, and data
    files opened, for each age of the lake. Its days are made of one real one."""
    with workload.home() as here:
        spec = workload.model(here)
        days = workload.deliver(here, FEW, workload.FIRST, 5)
        for day in days:
            workload.ingest(spec, day)
        workload.labels(Run(spec, days[-1]))
        objects.ensure_applied(spec)
        views = [FEATURES.of(spec.dataset_of(view), view) for view in spec.features]
        made = [*views, LABELS.of(spec.model, spec.label.name)]
        by_age: dict[str, dict[str, list[float]]] = {}
        newest = 1
        with lakes.files_opened() as opened:
            for age in AGES:
                for table in made:
                    lakes.repeat(table, days[0], range(newest, age))
                lakes.decide(spec, (Interval.of_day(workload.FIRST + timedelta(days=n)) for n in range(newest, age)))
                newest = age
                run = Run(spec, Interval.of_day(workload.FIRST + timedelta(days=age - 1)))
                changed_at = run.as_of - timedelta(days=14)
                for name, work in {
                    "`build`": lambda: dataset.build(spec, split(run.as_of, spec)),  # noqa: B023 - called at once
                    "a decision: labels": lambda: decisions.labels_since(run, changed_at, None),  # noqa: B023 - as above
                    "a decision: those before it": lambda: decisions.assess(spec, lakes.usual(run.interval)),  # noqa: B023 - as above
                }.items():
                    work()
                    opened.clear()
                    spent = [timed(work) for _ in range(ROUNDS)]
                    by_age.setdefault(name, {})[str(age)] = [statistics.median(spent), len(opened) / ROUNDS]
        return by_age


def _together() -> dict[str, Any]:
    """Of rounds of days one after the other in this process, in turns with as many by `evergreen bootstrap`: seconds,
    and seconds of CPU of the processes that ingest and of their Postgres. Each side first ends days that pay for its
    imports and for making the tables."""
    with workload.home() as here:
        (plain,), (together,) = (workload.model(here, name).datasets.values() for name in ("plain", "churn"))
        width = cores.usable()
        days = workload.deliver(here, BOTH, workload.FIRST, TURNS * (TOGETHER + width))
        rounds = []
        for turn in range(TURNS):
            of_turn = days[turn * (TOGETHER + width) :][: TOGETHER + width]
            warm, timed_days = of_turn[:width], of_turn[width:]
            for day in warm:
                inline.run(inline.of(plain, day), "ingest")
            before = _cpu()
            alone = timed(lambda: [inline.run(inline.of(plain, day), "ingest") for day in timed_days])  # noqa: B023 - called at once
            of_alone, begun = _cpu() - before, time.perf_counter()
            ended: list[float] = []
            used: list[float] = []
            for _, outcome in ingest(together, of_turn, width=width, begin=workload.quiet):
                assert not isinstance(outcome, Exception), outcome
                ended.append(time.perf_counter() - begun)
                used.append(_cpu())
            start, beside = ended[width - 1], ended[-1] - ended[width - 1]
            of_beside = used[-1] - used[width - 1]
            rounds.append(
                {
                    "alone": alone,
                    "beside": beside,
                    "start": start,
                    "tail": ended[-1] - ended[-2],
                    "ratio": beside * width / alone,
                    "busy": of_alone / alone,
                    "busy_beside": of_beside / beside,
                    "cpu": of_beside / of_alone,
                }
            )
        medians = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
        return medians | {"ratios": ", ".join(f"{each['ratio']:.2f}" for each in rounds)}


def _cpu() -> float:
    """Seconds of CPU that this process, its children and its Postgres have used so far, with those that have ended."""
    with database.connect() as connection:
        me, server = psutil.Process(), psutil.Process(connection.info.backend_pid).parent()
    assert server is not None
    spent = 0.0
    for process in (me, *me.children(recursive=True), server, *server.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended: its parent has its seconds
            spent += sum(process.cpu_times()[:4])
    return spent


def _size(customers: int) -> dict[str, Any]:
    """Seconds by task of a size's measured days, and the largest memory of the process that ingested them."""
    with workload.home() as here:
        spec = workload.model(here)
        days = workload.deliver_elsewhere(customers, workload.FIRST + timedelta(days=LOOK_BACK), WARM_UP + MEASURED)
        (data,) = spec.datasets.values()
        before = multiprocessing.get_context("spawn").Process(
            target=lakes.publish_alike, args=(data.name, days[0], LOOK_BACK)
        )
        before.start()
        before.join()
        assert before.exitcode == 0, "the days before were not made"
        spent = [workload.ingest(spec, day) for day in days]
        peak = _megabytes()  # before the other side of the ratio takes memory
        landed = [
            entry.rows
            for source in data.sources
            for entry in catalogue.published(RAW.of(data.name, source), [days[-1].partition]).values()
        ]
        return {
            "days": spent[WARM_UP:],
            "peak": peak,
            "rows": sum(landed),
            "materialize": _materialize(spec, days[-1]),
        }


def _materialize(spec: ModelSpec, interval: Interval) -> tuple[float, float]:
    """Seconds to bring a day's feature partitions online again, and to copy the same rows in binary into a temporary
    table each and merge it into the same table."""
    partitions = [(dataset, view) for dataset in spec.datasets.values() for view in dataset.features]
    with psycopg.connect(settings().database_url("feast"), autocommit=True) as connection:
        copies = []
        for dataset, view in partitions:
            stored = sql.Identifier(f"{feature_store().config.project}_{view_name(dataset.name, view)}")
            with connection.cursor().copy(sql.SQL("copy {} to stdout (format binary)").format(stored)) as copy:
                copies.append((stored, [bytes(piece) for piece in copy]))

        def ours() -> None:
            for dataset, view in partitions:
                replacement.replace(dataset, view, interval.partition)

        def bare() -> None:
            for stored, pieces in copies:
                with connection.transaction():
                    connection.execute(sql.SQL("create temporary table copied (like {}) on commit drop").format(stored))
                    with connection.cursor().copy("copy copied from stdin (format binary)") as copy:
                        copy.write(b"".join(pieces))
                    connection.execute(sql.SQL(_MERGE).format(stored))

        return side_by_side(ours, bare, rounds=3)


def _megabytes() -> float:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _by_length(days: Sequence[dict[str, float]]) -> str:
    lengths = {length: _median(days[length - AROUND : length]) for length in LENGTHS}
    first = lengths[LENGTHS[0]]
    rows = [
        (
            task,
            *(f"{lengths[length][task] * 1000:.0f}" for length in LENGTHS),
            f"{lengths[LENGTHS[-1]][task] / first[task]:.2f}",
        )
        for task in first
    ]
    rendered = table(("milliseconds", *(f"day {length}" for length in LENGTHS), f"{LENGTHS[-1]} / {LENGTHS[0]}"), rows)
    growth, longer = lengths[LENGTHS[-1]]["the day"] / first["the day"], LENGTHS[-1] // LENGTHS[0]
    return f"{rendered}\n\n**Flat?** With {longer} times the history a day takes {growth:.2f} times as long."


def _by_age(measured: dict[str, dict[str, list[float]]]) -> str:
    first, last = map(str, AGES)
    rows = [
        (
            name,
            *(f"{of_age[age][0] * 1000:.0f}" for age in (first, last)),
            f"{of_age[last][0] / of_age[first][0]:.2f}",
            *(f"{of_age[age][1]:.0f}" for age in (first, last)),
        )
        for name, of_age in measured.items()
    ]
    heads = [f"milliseconds, day {age}" for age in AGES]
    return table(("", *heads, f"{last} / {first}", *(f"data files opened, day {age}" for age in AGES)), rows)


def _by_size(sizes: dict[int, dict[str, Any]]) -> str:
    medians = {size: _median(measured["days"]) for size, measured in sizes.items()}
    rows: list[tuple[str, ...]] = [
        (task, *(f"{medians[size][task]:.2f}" for size in SIZES), _growth([medians[size][task] for size in SIZES]))
        for task in medians[SIZES[0]]
    ]
    peaks = [sizes[size]["peak"] for size in SIZES]
    rows.append(("peak memory of the process, MB", *(f"{peak:.0f}" for peak in peaks), _growth(peaks)))
    heads = (f"{size:,} customers, {sizes[size]['rows']:,} rows" for size in SIZES)
    rendered = table(("seconds", *heads, "growth with each tenfold"), rows)
    least, most = medians[SIZES[0]], medians[SIZES[-1]]
    brought_online = []
    for size in SIZES:
        ours, bare = sizes[size]["materialize"]
        brought_online.append(Ratio("`materialize`", f"{size:,} entities, all views", ours, bare, _COPY, _ONLINE))
    growth, larger = most["the day"] / least["the day"], SIZES[-1] // SIZES[0]
    slowest = max((task for task in most if task != "the day"), key=lambda task: most[task])
    return (
        f"{rendered}\n\n**Linear?** {larger}-fold rows take {growth:.1f} times as long (linear: {larger}), and "
        f"{peaks[-1] / peaks[0]:.1f} times the memory. Of the largest day {most[slowest] / most['the day']:.0%} "
        f"are `{slowest}`.\n\n{ratios(brought_online)}"
    )


def _growth(values: Sequence[float]) -> str:
    return ", ".join(f"{later / earlier:.1f}" for earlier, later in pairwise(values))


def _median(days: Sequence[dict[str, float]]) -> dict[str, float]:
    medians = {task: statistics.median(day[task] for day in days) for task in days[0]}
    return medians | {"the day": sum(medians.values())}


_HISTORY = """**Length.** {customers} customers, one process, day after day; each length is the median of the {around}
days that end there. Delta tables take a checkpoint every ten commits, so what opening one reads does not grow with the
days."""
_AGES = """**A training and a decision.** What `build` reads of labels and features, and what a decision counts of
labels: both read the window of a training. And what a decision reads in the ledger of those before it: 50 windows,
which hold a budget's 30 days. The lake's days are copies of one real day; medians of 5 rounds."""
_TOGETHER = """**Days side by side.** {days} days of {customers:,} customers take {alone:.1f} s one after the other in
one process, and {beside:.1f} s by `evergreen bootstrap` on {cores} cores: {ratio:.2f} times the sum of the plain days
over the cores (the median of {turns} rounds, in turns: {ratios}). One after the other they keep {busy:.2f} cores busy
already, their process and its Postgres together: without any cost of their own, days side by side would reach
{busy:.2f}. They keep {busy_beside:.2f} busy, take {cpu:.2f} times the CPU of the plain ones, and end with
{tail:.1f} s in which the last day runs by itself. Before them both have ended {cores} days, for which `bootstrap` took
{start:.1f} s: it imports the libraries, once."""
_SIZE = """**Rows.** Each size in a process of its own: {days} days, the first {warm_up} of which pays for imports and
for making tables, and is left out. Before them stand {before} days that are copies of the first, so every view looks
back as far as it does in the fourth week. The peak is of the ingesting process, with its libraries; the batches and
the days before come from another one. Every task has a fixed part that outweighs thousands of rows."""
_COPY = "binary `COPY` of the same rows into a temporary table and one merge, for each view"
_ONLINE = "also reads the partition from the lake, packs the rows, and looks for entities that are no longer in it"
_MERGE = (
    "insert into {} as stored select * from copied on conflict (entity_key) do update set features = excluded.features,"
    " event_ts = excluded.event_ts, created_ts = excluded.created_ts where excluded.event_ts >= stored.event_ts"
)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # the stages tell what they do
    kind, *given = sys.argv[1:]
    sections: dict[str, Callable[..., Any]] = {"history": _history, "ages": _ages, "together": _together, "size": _size}
    print(json.dumps(sections[kind](*map(int, given))))
