"""Invariant 1 on real parts: in whatever order, however often,
side by side or killed and run again, a day ends the same.

What is compared is all that the ingest loop leaves:
raw, quarantine, feature and label tables by their content, the catalogue, and the online store's values.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from evergreen.settings import PROJECT

from .conftest import DAYS, Json, churn, everything, ingest, run_of
from .killed import POINTS


def same(result: Json, reference: Json) -> None:
    for part, expected in reference.items():
        missing, unexpected = expected.keys() - result[part].keys(), result[part].keys() - expected.keys()
        assert not missing and not unexpected, f"{part}: missing {sorted(missing)}, unexpected {sorted(unexpected)}"
        different = [name for name, value in expected.items() if result[part][name] != value]
        assert not different, f"{part}: other content in {different}"


@pytest.mark.parametrize(
    "order",
    [
        pytest.param((5, 4, 3, 2, 1, 0), id="backwards", marks=pytest.mark.long),
        pytest.param((2, 5, 0, 0, 4, 1, 3, 2), id="shuffled, some days twice"),
    ],
)
def test_any_order_of_days_and_a_day_run_twice_end_the_same(
    landing: Path, reference: Json, order: tuple[int, ...]
) -> None:
    for day in order:
        ingest(run_of(day))
    same(everything(churn()), reference)


def test_days_side_by_side_end_the_same(landing: Path, reference: Json) -> None:
    """Four at a time, as the DAG allows; one day is run twice at once."""
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(ingest, run_of(day)) for day in (3, 1, 1, 0, 2, 5, 4)]:
            done.result()
    same(everything(churn()), reference)


# Of each kind of write one instant around it; labels mature from the fourth day on.
KILLS = list(zip((0, 1, 2, 3, 3, 4, 5), POINTS, strict=True))


def test_a_run_killed_at_any_instant_and_run_again_ends_the_same(landing: Path, reference: Json) -> None:
    with _killed_runs() as run_killed:
        for number, (day, point) in enumerate(KILLS):
            ended = run_killed(f"{day} {point}")
            assert ended == f"signal {int(signal.SIGKILL)}", f"day {day} was to be killed {point!r}: {ended}"
            if number + 1 == len(KILLS) or KILLS[number + 1][0] != day:
                ingest(run_of(day))
    assert {day for day, _ in KILLS} == set(range(DAYS))
    same(everything(churn()), reference)


@contextmanager
def _killed_runs() -> Iterator:
    """A function that runs a day in a process that is killed; says how it ended."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(PROJECT / "include"), str(PROJECT)])}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.components.ingest.killed"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=PROJECT,
    ) as process:
        assert process.stdin is not None and process.stdout is not None

        def run_killed(request: str) -> str:
            print(request, file=process.stdin, flush=True)
            return process.stdout.readline().strip()

        yield run_killed
        process.stdin.close()
