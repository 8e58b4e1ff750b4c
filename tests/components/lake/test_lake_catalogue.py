"""The catalogue on a real Postgres, the hash that says whether a partition has changed, and the files between tasks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given, strategies

from evergreen.errors import ServiceUnavailable, TransientError
from evergreen.handovers.handover import Staged
from evergreen.lake import catalogue, hashing, partitions, staging
from evergreen.lake.schema import RAW
from evergreen.settings import Settings, settings

KNOWN = datetime(2026, 1, 6, tzinfo=UTC)


def entry(partition: str, **changed: Any) -> catalogue.Entry:
    said: dict[str, Any] = {
        "model": "shop",
        "layer": "raw",
        "name": "visits",
        "partition": partition,
        "rows": 3,
        "content_hash": "h",
        "inputs_hash": None,
        "table_version": 0,
        "known_at": KNOWN,
    }
    return catalogue.Entry(**said | changed)


def test_what_is_recorded_is_published_and_can_be_replaced(home: Settings) -> None:
    assert catalogue.published(RAW.of("shop", "visits")) == {}
    first, second = entry("2026-01-05"), entry("2026-01-06", inputs_hash="i")
    catalogue.record(first, second)
    assert catalogue.published(RAW.of("shop", "visits")) == {"2026-01-05": first, "2026-01-06": second}
    assert catalogue.published(RAW.of("shop", "visits"), ["2026-01-06", "2026-01-07"]) == {"2026-01-06": second}
    assert catalogue.published(RAW.of("shop", "visits"), []) == {}
    corrected = entry("2026-01-05", rows=2, content_hash="other", table_version=7)
    catalogue.record(corrected)
    assert catalogue.published(RAW.of("shop", "visits"))["2026-01-05"] == corrected


def test_another_model_layer_or_table_is_another_entry(home: Settings) -> None:
    ours = entry("2026-01-05")
    catalogue.record(ours, *(entry("2026-01-05", **{field: "another"}) for field in ("model", "layer", "name")))
    assert catalogue.published(RAW.of("shop", "visits")) == {"2026-01-05": ours}


def test_entries_that_belong_together_are_recorded_all_or_none(home: Settings) -> None:
    with pytest.raises(psycopg.errors.NotNullViolation):
        catalogue.record(entry("2026-01-05"), entry("2026-01-06", content_hash=None))
    assert catalogue.published(RAW.of("shop", "visits")) == {}


def test_the_first_processes_may_all_make_the_table(home: Settings) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda day: catalogue.record(entry(f"2026-01-0{day}")), range(1, 7)))
    assert len(catalogue.published(RAW.of("shop", "visits"))) == 6


def test_a_database_that_does_not_answer_is_transient(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from evergreen.addresses import free_port

    monkeypatch.setenv("EVERGREEN_DATABASE", f"postgresql://evergreen:secret@127.0.0.1:{free_port()}")
    settings.cache_clear()
    with pytest.raises(ServiceUnavailable, match="next step: start it") as caught:
        catalogue.published(RAW.of("shop", "visits"))
    assert isinstance(caught.value, TransientError)
    assert "secret" not in str(caught.value), "a password in a task's log"


def test_a_written_partition_is_described_by_what_was_written(home: Settings) -> None:
    table = pa.table({"value": [1.0, 2.0]})
    made = partitions.replace(RAW.of("shop", "visits").at("2026-01-05"), table, known_at=KNOWN)
    assert made == entry("2026-01-05", rows=2, content_hash=hashing.content_hash(table), table_version=1)
    assert catalogue.published(RAW.of("shop", "visits")) == {}, "recorded only with all that belongs together"


ROWS = pa.table({"key": ["a", "b", "c"], "value": [1.0, None, 3.0], "count": pa.array([1, 2, None], pa.int64())})


def test_the_order_of_rows_and_columns_and_chunks_do_not_matter_to_the_hash() -> None:
    same = hashing.content_hash(ROWS)
    assert hashing.content_hash(ROWS.take([2, 0, 1])) == same
    assert hashing.content_hash(ROWS.select(["count", "key", "value"])) == same
    assert hashing.content_hash(pa.concat_tables([ROWS.slice(0, 1), ROWS.slice(1)])) == same


@pytest.mark.parametrize(
    "other",
    [
        ROWS.slice(1),
        pa.concat_tables([ROWS, ROWS.slice(0, 1)]),
        ROWS.rename_columns(["key", "values", "count"]),
        ROWS.set_column(1, "value", pa.array([1.0, 0.0, 3.0])),
        ROWS.set_column(1, "value", pa.array([1.0, 3.0, None])),
        ROWS.set_column(1, "value", pa.array([1.0, None, 3.0], pa.float32())),
        ROWS.set_column(0, "key", pa.array(["a", "b", None])),
        ROWS.set_column(0, "key", pa.array(["a", "b", ""])),
        ROWS.slice(0, 0),
    ],
    ids=[
        "a row less",
        "a row twice",
        "a name",
        "a null",
        "values swapped",
        "a type",
        "a null text",
        "an empty text",
        "none",
    ],
)
def test_any_change_changes_the_hash(other: pa.Table) -> None:
    assert hashing.content_hash(other) != hashing.content_hash(ROWS)


def test_whole_numbers_beside_a_null_are_told_apart_to_the_last_digit() -> None:
    """As floats, 2**53 and 2**53 + 1 are the same number; an order number may be as long."""
    longest, next_one = (pa.table({"number": pa.array([2**53 + more, None], pa.int64())}) for more in (0, 1))
    assert hashing.content_hash(longest) != hashing.content_hash(next_one)


_CELLS = strategies.tuples(strategies.none() | strategies.integers(-9, 9), strategies.sampled_from(["a", "b", None]))


@given(strategies.lists(_CELLS, max_size=6), strategies.lists(_CELLS, max_size=6))
def test_two_tables_have_the_same_hash_exactly_when_they_hold_the_same_rows(
    one: list[tuple[int | None, str | None]], other: list[tuple[int | None, str | None]]
) -> None:
    def table(rows: list[tuple[int | None, str | None]]) -> pa.Table:
        schema = pa.schema([("number", pa.int64()), ("text", pa.string())])
        return pa.Table.from_pylist([{"number": number, "text": text} for number, text in rows], schema)

    same = sorted(map(str, one)) == sorted(map(str, other))
    assert (hashing.content_hash(table(one)) == hashing.content_hash(table(other))) is same


def test_the_hash_is_the_same_on_every_machine() -> None:
    """It stands in the catalogue and in the training's key: another value makes every partition due again, once."""
    fixed = pa.table(
        {"key": ["a", "b"], "value": [1.5, None], "at": pa.array([KNOWN, None], pa.timestamp("us", "UTC"))}
    )
    assert hashing.content_hash(fixed) == "772cbbc21037f0245134bc706c209517"


def test_two_runs_of_one_interval_may_stage_the_same_file_at_once(home: Settings) -> None:
    """A run by hand beside the scheduled one: each finds a whole file, whoever was last."""
    file = staging.WorkingFile(of="shop", run="2026-01-05", name="visits")
    tables = [pa.table({"value": [float(number)] * 20_000}) for number in range(8)]
    with ThreadPoolExecutor(len(tables)) as pool:
        list(pool.map(lambda table: staging.read(staging.write(file, table, task="extract")), tables * 4))
    rows = staging.read(Staged(path=file.path, rows=20_000, task="extract"))
    assert any(rows.equals(table) for table in tables)
    names = [path.name for path in Path(file.path).parent.iterdir()]
    assert names == ["visits.parquet"], "unfinished files stay behind"


def test_the_hash_of_a_partitions_rows_does_not_depend_on_others() -> None:
    """A null of one day made pandas hold the numbers of all days otherwise."""
    steady = pa.table({"day": ["a"], "count": pa.array([2**60 + 1], pa.int64()), "won": [True]})
    of_others = pa.table({"day": ["b"], "count": pa.array([None], pa.int64()), "won": pa.array([None], pa.bool_())})
    both = pa.concat_tables([steady, of_others])
    whole, by_partition = hashing.content_hashes(both, both["day"].to_pylist())
    assert whole == hashing.content_hash(both)
    assert by_partition == {"a": hashing.content_hash(steady), "b": hashing.content_hash(of_others)}
