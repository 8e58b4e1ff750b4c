"""The cost of a day against the length of history, and against its rows."""

from __future__ import annotations

import json
import logging
import resource
import statistics
import subprocess
import sys
import warnings
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import psycopg
from psycopg import sql

from benchmarks import workload
from benchmarks.document import ratios, table
from benchmarks.measure import Ratio, side_by_side
from evergreen.features import replacement
from evergreen.features.objects import view_name
from evergreen.features.repository import feature_store
from evergreen.interval import Interval
from evergreen.lake import catalogue
from evergreen.lake.schema import RAW
from evergreen.settings import settings
from evergreen.spec.schema import ModelSpec

LENGTHS, FEW = (50, 100, 200), 200  # days of history; customers whose days they are
SIZES = (2_000, 20_000, 200_000)  # customers; a day of the most is a million rows
# Days of a size. The first pays for imports and for making the tables, and labels mature after three.
WARM_UP, MEASURED = 4, 2
AROUND = 5  # days whose median stands for a length


def run() -> str:
    """The section's text."""
    history = _fresh("history")
    sizes = {size: _fresh("size", size) for size in SIZES}
    return "\n\n".join(
        [
            _HISTORY.format(customers=FEW, around=AROUND),
            _by_length(history),
            _SIZE.format(days=WARM_UP + MEASURED, warm_up=WARM_UP),
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


def _size(customers: int) -> dict[str, Any]:
    """Seconds by task of a size's measured days, and the largest memory of the process that ingested them."""
    with workload.home() as here:
        # The views look back four weeks; days before the spec's first count as present, so
        # a late first day leaves a few to compute.
        first = workload.FIRST + timedelta(days=60)
        spec = workload.model(here)
        late = {name: each.model_copy(update={"first_day": first}) for name, each in spec.datasets.items()}
        spec = spec.model_copy(update={"first_day": first}).with_datasets(late)
        days = workload.deliver_elsewhere(customers, first, WARM_UP + MEASURED)
        spent = [workload.ingest(spec, day) for day in days]
        peak = _megabytes()  # before the other side of the ratio takes memory
        landed = [
            entry.rows
            for dataset in spec.datasets.values()
            for source in dataset.sources
            for entry in catalogue.published(RAW.of(dataset.name, source), [days[-1].partition]).values()
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
_SIZE = """**Rows.** Each size in a process of its own: {days} days, the first {warm_up} of which pay for imports, for
making the tables and for the days until the first labels mature, and are left out. The spec's first day is late, so
that the days before it count as present: the four-week look-backs are computed over the days that are there, and
`features` reads that much less than after four weeks. The peak is of the ingesting process, with its libraries; the
batches come from another one. Every task has a fixed part that outweighs thousands of rows."""
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
    print(json.dumps(_history() if kind == "history" else _size(int(given[0]))))
