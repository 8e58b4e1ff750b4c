"""What passes between the tasks of a run: in a folder and on a real S3 server, by the same calls."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from evergreen import object_store
from evergreen.errors import PermanentError, RequestRefused, ServiceUnavailable, StagedFileGone
from evergreen.handovers.handover import Staged
from evergreen.lake import staging
from evergreen.settings import settings

ROWS = pa.table(
    {"key": ["a", "b", None], "value": [1.0, None, 3.0], "at": pa.array([0, 1, None], pa.timestamp("us", "UTC"))}
)


@pytest.fixture
def on_s3(s3: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh prefix of the bucket."""
    url = f"s3://evergreen/staging/{request.node.name}"
    monkeypatch.setenv("EVERGREEN_STAGING", url)
    settings.cache_clear()
    yield url
    settings.cache_clear()


@pytest.fixture
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("EVERGREEN_STAGING", str(tmp_path / "passes"))
    settings.cache_clear()
    yield str(tmp_path / "passes")
    settings.cache_clear()


@pytest.fixture(params=["in_a_folder", "on_s3"])
def place(request: pytest.FixtureRequest) -> str:
    folder: str = request.getfixturevalue(request.param)
    return folder


def test_a_file_is_read_as_it_was_written_and_again_as_it_was_written_last(place: str) -> None:
    file = staging.WorkingFile(of="shop", run="2026-01-05", name="features/habits/2026-01-04")
    assert file.path == f"{place}/shop/2026-01-05/features/habits/2026-01-04.parquet"
    staged = staging.write(file, ROWS, task="features")
    assert staged == Staged(path=file.path, rows=3, task="features")
    assert staging.read(staged).equals(ROWS)
    staging.write(file, ROWS.slice(1), task="features")
    assert staging.read(staged).equals(ROWS.slice(1))


def test_runs_that_write_the_same_file_at_once_leave_a_whole_one(place: str) -> None:
    file = staging.WorkingFile(of="shop", run="2026-01-05", name="visits")
    tables = [pa.table({"value": [float(number)] * 20_000}) for number in range(8)]
    with ThreadPoolExecutor(len(tables)) as pool:
        list(pool.map(lambda table: staging.write(file, table, task="extract"), tables * 2))
    rows = staging.read(Staged(path=file.path, rows=20_000, task="extract"))
    assert any(rows.equals(table) for table in tables)


def test_a_file_that_is_gone_names_the_task_to_clear_and_is_not_tried_again(place: str) -> None:
    with pytest.raises(StagedFileGone) as raised:
        staging.read(
            Staged(path=staging.WorkingFile(of="shop", run="2026-01-05", name="visits").path, rows=3, task="extract")
        )
    assert isinstance(raised.value, PermanentError)
    assert raised.value.next_step.startswith("clear `extract` of this run with what comes after it")
    assert "visits.parquet" in raised.value.doing and "7 days (EVERGREEN_STAGING_DAYS)" in raised.value.expected


def test_files_are_kept_for_the_retention_in_a_folder(in_a_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def aged(model: str, name: str, days: float) -> Path:
        file = Path(
            staging.write(staging.WorkingFile(of=model, run="2026-01-05", name=name), ROWS, task="extract").path
        )
        os.utime(file, (time.time() - days * 86_400,) * 2)
        return file

    old, young, other = aged("shop", "old", 7.1), aged("shop", "young", 6.9), aged("bank", "old", 7.1)
    staging.clean("shop")
    assert (old.exists(), young.exists(), other.exists()) == (False, True, True)
    monkeypatch.setenv("EVERGREEN_STAGING_DAYS", "2")
    settings.cache_clear()
    staging.clean("shop")
    assert not young.exists()


def test_files_are_kept_for_the_retention_on_s3(on_s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def files(model: str) -> list[str]:
        listing = object_store.client("s3://evergreen").list_objects_v2(
            Bucket="evergreen", Prefix=f"{object_store.split(on_s3)[1]}/{model}/"
        )
        return [each["Key"].rpartition("/")[2] for each in listing.get("Contents", ())]

    for model in ("shop", "shopping"):
        for name in ("first", "second"):
            staging.write(staging.WorkingFile(of=model, run="2026-01-05", name=name), ROWS, task="extract")
    staging.clean("shop")
    assert files("shop") == ["first.parquet", "second.parquet"]
    monkeypatch.setattr(staging, "datetime", later(timedelta(days=6.9)))
    staging.clean("shop")
    assert files("shop") == ["first.parquet", "second.parquet"]
    monkeypatch.setattr(staging, "datetime", later(timedelta(days=7.1)))
    monkeypatch.setattr(object_store, "_MOST_DELETED", 1)
    staging.clean("shop")
    assert files("shop") == [] and len(files("shopping")) == 2, "the model's own alone"


def later(by: timedelta) -> type[datetime]:
    """A clock that is ahead."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + by

    return Clock


WORK: dict[str, Callable[[], object]] = {
    "write": lambda: staging.write(
        staging.WorkingFile(of="shop", run="2026-01-05", name="visits"), ROWS, task="extract"
    ),
    "read": lambda: staging.read(
        Staged(path=staging.WorkingFile(of="shop", run="2026-01-05", name="visits").path, rows=3, task="extract")
    ),
    "clean": lambda: staging.clean("shop"),
}


@pytest.mark.parametrize("work", WORK)
def test_a_store_that_does_not_answer_is_worth_a_retry(on_s3: str, work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from evergreen.addresses import free_port

    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ServiceUnavailable, match=r"(?s)next step: .*AWS_ENDPOINT_URL"):
        WORK[work]()


@pytest.mark.parametrize("work", WORK)
def test_a_login_that_the_store_refuses_is_not_tried_again(
    on_s3: str, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x" * 40)
    with pytest.raises(RequestRefused, match=r"(?s)403.*next step: .*AWS_SECRET_ACCESS_KEY") as raised:
        WORK[work]()
    assert "x" * 40 not in str(raised.value)


@pytest.mark.parametrize("work", ["write", "clean"])
def test_a_bucket_that_is_not_there_is_told(on_s3: str, work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_STAGING", "s3://nowhere/staging")
    settings.cache_clear()
    with pytest.raises(RequestRefused, match=r"(?s)no bucket nowhere.*EVERGREEN_STAGING"):
        WORK[work]()
