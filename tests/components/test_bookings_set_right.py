"""Outcomes with moments of their own over tables for all intervals, set right afterwards: a corrected outcome, an
interval that was late, a person who is erased, and runs that are killed. What is left is what a history would have left
in which all that was so from the start."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from evergreen.erasure import erasing
from evergreen.lake import publications, tables
from evergreen.lake.schema import FEATURES, LABELS, RAW, TableId
from evergreen.local import postgres
from evergreen.loops import inline
from evergreen.settings import PROJECT, settings
from evergreen.spec.load import Declared, load_spec
from evergreen.spec.schema import ModelSpec
from tests import hotel
from tests.hotel import Booking

pytestmark = pytest.mark.long

DAYS, WRONG, CHANGES, GUEST = 12, 40, 9, "g07"
TRUTH = hotel.truth(DAYS, per_day=12)
RIGHT = hotel.turned(TRUTH, WRONG)
assert TRUTH[WRONG].decided_on < DAYS - 1, "it is decided within the days of the test"

Left = dict[str, list[dict[str, Any]]]


@contextmanager
def home_of(name: str, folder: Path, postgres_url: str, bookings: Sequence[Booking]) -> Iterator[ModelSpec]:
    """The model in a home of its own, with its batches in the landing zone."""
    prefix = f"t{os.getpid()}_{name}_"
    postgres.create_databases(postgres_url, [f"{prefix}{each}" for each in ("evergreen", "optuna", "feast")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_HOME", str(folder / name))
        patch.setenv("EVERGREEN_DATABASE", postgres_url)
        patch.setenv("EVERGREEN_DATABASE_PREFIX", prefix)
        settings.cache_clear()
        hotel.deliver(Path(settings().landing), bookings, range(DAYS))
        yield load_spec(hotel.write(folder / name / "models" / "hotel"))
    settings.cache_clear()


def ingest(spec: ModelSpec, day: int) -> None:
    hotel.agents(Path(settings().landing), day)
    inline.run(inline.of(spec.own_data(), hotel.interval(day)), "ingest", last="publish_features")


def build(spec: ModelSpec) -> str:
    """The digest of the training set as of the last day, its labels computed before."""
    built: Any = inline.run(inline.of(spec, hotel.interval(DAYS - 1)), "train", last="build")["build"]
    return str(built.content_hash)


def left(spec: ModelSpec) -> Left:
    """Every row of raw tables, features and labels."""
    data = spec.own_data()
    wanted = [
        *(RAW.of(data.name, name) for name in data.sources),
        *(FEATURES.of(data.name, view) for view in data.features),
        LABELS.of(spec.model, spec.label.name),
    ]
    return {str(table): _rows(table) for table in wanted}


def _rows(table: TableId) -> list[dict[str, Any]]:
    stored = tables.read(table)
    assert stored is not None and stored.num_rows, table
    return sorted(stored.to_pylist(), key=lambda row: [str(row[name]) for name in sorted(row)])


def lived(spec: ModelSpec) -> tuple[Left, str]:
    for day in range(DAYS):
        ingest(spec, day)
    digest = build(spec)
    return left(spec), digest


@pytest.fixture(scope="module")
def fresh(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Left, str]:
    """What is left where the outcome was right from the start."""
    with home_of("fresh", tmp_path_factory.mktemp("fresh"), postgres_url, RIGHT) as spec:
        return lived(spec)


def test_a_late_day_and_a_corrected_outcome_end_as_a_fresh_history_and_so_does_an_erasure(
    fresh: tuple[Left, str], postgres_url: str, mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", mlflow_url)  # an erasure looks through its runs
    landing_name = hotel.interval(TRUTH[WRONG].decided_on).partition
    with home_of("corrected", tmp_path, postgres_url, TRUTH) as spec:
        for day in (*range(CHANGES - 1), CHANGES, CHANGES - 1, *range(CHANGES + 1, DAYS)):  # one comes a day late
            ingest(spec, day)
            if day == CHANGES:
                inline.run(inline.of(spec, hotel.interval(day)), "train", last="labels")
        build(spec)
        assert left(spec) != fresh[0]

        hotel.deliver(Path(settings().landing), RIGHT, range(DAYS))
        run = inline.of(spec.own_data(), hotel.interval(TRUTH[WRONG].decided_on))
        inline.run(dataclasses.replace(run, reason="the outcome was read wrongly"), "correct")
        digest = build(spec)
        corrected = left(spec)
        for table, rows in fresh[0].items():
            assert corrected[table] == rows, table
        assert digest == fresh[1]
        labels = LABELS.of(spec.model, spec.label.name)
        made_from = publications.made_from(labels.at(hotel.interval(TRUTH[WRONG].day).partition))
        assert made_from is not None
        assert landing_name in made_from.partitions[str(RAW.of("hotel", "bookings"))], "the batch that was corrected"
        assert [*made_from.partitions[str(RAW.of("hotel", "rates"))]] == [hotel.interval(0).partition]

        declared = Declared({spec.model: spec.own_data()}, {spec.model: spec})
        report = erasing.erase(declared, "guest", GUEST, actor="ada", reason="asked for", apply=True)
        assert {"rows in the files of hotel/raw/bookings", "rows in the files of hotel/labels/cancelled"} <= {
            *report.places
        }
        erased, digest = left(spec), build(spec)
    with home_of("without", tmp_path, postgres_url, hotel.without(RIGHT, GUEST)) as spec:
        expected, _ = lived(spec)
    gone = {row["booking_id"] for row in fresh[0]["hotel/labels/cancelled"]} - {
        row["booking_id"] for row in expected["hotel/labels/cancelled"]
    }
    assert gone and digest != fresh[1]
    for table in ("hotel/raw/bookings", "hotel/raw/agents", "hotel/labels/cancelled", "hotel/features/by_guest"):
        assert erased[table] == expected[table], table


KILLED = """
import sys
from pathlib import Path
from evergreen.loops import inline
from evergreen.spec.load import load_spec
from tests import hotel
from tests.components.ingest.killed import POINTS

folder, day, point, loop, last = sys.argv[1:]
spec = load_spec(Path(folder))
POINTS[point]()
this = spec.own_data() if loop == "ingest" else spec
inline.run(inline.of(this, hotel.interval(int(day))), loop, last=last)
"""


def killed(spec: ModelSpec, day: int, point: str, loop: str, last: str) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(PROJECT / "include"), str(PROJECT)])}
    command = [sys.executable, "-c", KILLED, str(spec.folder), str(day), point, loop, last]
    ended = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def test_a_kill_while_a_version_of_a_table_or_labels_are_written_changes_nothing_of_the_end(
    fresh: tuple[Left, str], postgres_url: str, tmp_path: Path
) -> None:
    with home_of("killed", tmp_path, postgres_url, RIGHT) as spec:
        for day in range(DAYS):
            if day == CHANGES:
                hotel.agents(Path(settings().landing), day)
                killed(spec, day, "raw tables written, not recorded", "ingest", "publish_features")
            ingest(spec, day)
        killed(spec, DAYS - 1, "labels written, not recorded", "train", "build")
        assert build(spec) == fresh[1]
        assert left(spec) == fresh[0]
