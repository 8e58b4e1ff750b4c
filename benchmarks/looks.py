"""How long one look at a rollout takes, and how much memory, by the rows that the prediction log has of it.

`python -m benchmarks.looks 500000`
"""

from __future__ import annotations

import resource
import sys
import time
from datetime import UTC, datetime, timedelta

from benchmarks import workload
from evergreen import database
from evergreen.history.rollouts import Rollout, RolloutOpened, Step
from evergreen.interval import Interval
from evergreen.run import Run
from evergreen.spec.schema import ModelSpec

START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 4  # the first half of them a shadow, then half of the entities each
ENTITIES = 20_000
_ROWS = """
insert into predictions (model, version, request_id, position, entity, as_of, features_at, features, prediction,
                         logged_at, role, rollout, share, seconds)
select %(model)s, arm + 1, 'r-' || n, 0, 'c-' || n %% %(entities)s, %(start)s::timestamptz + n * %(every)s::interval,
       %(start)s::timestamptz - interval '1 day', '{}', 0.2 + 0.001 * (n::bigint * 7919 %% 500), now(),
       case when not shadow then case arm when 0 then 'champion' else 'challenger' end
            when arm = 0 then 'champion' else 'shadow' end,
       %(rollout)s, case when shadow then 0 else 50 end, 0.001 * (1 + n %% 20)
from generate_series(0, %(requests)s - 1) n, generate_series(0, 1) arm, lateral (select n < %(requests)s / 3 shadow) s
where shadow or (n %% %(entities)s) %% 2 = arm
"""


def rollout(model: str) -> Rollout:
    """An open canary in its second step."""
    opened = RolloutOpened(
        id=f"rollout/{model}/2/1",
        model=model,
        as_of=START,
        actor="benchmark",
        reason="a benchmark",
        version=2,
        champion=1,
        strategy="canary",
        steps=(Step(role="shadow", share=0), Step(role="challenger", share=50)),
        hold=timedelta(days=1),
        minimum_answers=100,
        at_most=timedelta(days=12),
        gates=("better",),
        run_id="run",
        key="key",
    )
    return Rollout(opened, 1, START + timedelta(days=1))


def fill(model: str, rows: int) -> None:
    """So many rows of the log: in a third of the requests both answer."""
    requests = rows * 3 // 4
    with database.connect() as connection:
        for day in range(DAYS + 1):
            connection.execute("select take_predictions(%s, %s)", [model, (START + timedelta(days=day)).date()])
        about = {
            "model": model,
            "rollout": rollout(model).id,
            "start": START,
            "entities": ENTITIES,
            "requests": requests,
            "every": timedelta(days=DAYS) / requests,
        }
        connection.execute(_ROWS.encode(), about)


def look(spec: ModelSpec) -> None:
    """As `collect` and `compare` do, each part timed."""
    from evergreen.challenge import answers, scoring
    from evergreen.rollout import sequential

    now, run = rollout(spec.model), Run(spec, Interval.of_day((START + timedelta(days=DAYS)).date()))
    began, used = time.perf_counter(), time.process_time()
    since, before = answers.gather(run, now, "collect")
    gathered = time.perf_counter()
    rows = answers.read(spec, since)
    usual = scoring.known(spec, now.opened, answers.read(spec, before), rows)
    read = time.perf_counter()
    measured = scoring.measures(now.opened, usual)
    judged = sequential.judge(scoring.tallies(spec, usual, rows, None), measured, ways=scoring.ways(now.opened))
    ended = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{since.rows:,} rows: collect {gathered - began:.1f} s, read {read - gathered:.1f} s,", end=" ")
    print(f"compare {ended - read:.1f} s;", end=" ")
    print(f"{time.process_time() - used:.1f} s of a processor, {peak:,.0f} MB at the most; {judged.sentence}")


def main() -> None:
    """Of an empty rollout first, for what the libraries take."""
    workload.quiet()
    with workload.home() as here:
        spec = workload.model(here)
        with database.connect() as connection:
            connection.execute("select 1")
        for rows in (0, int(sys.argv[1])):
            if rows:
                fill(spec.model, rows)
            look(spec)


if __name__ == "__main__":
    main()
