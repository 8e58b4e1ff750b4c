"""The lake in a real S3 server: the same calls, the same rows."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest

from evergreen import folders
from evergreen.errors import RequestRefused, ServiceUnavailable, VersionGone
from evergreen.lake import hashing, rewriting, tables
from evergreen.lake.schema import RAW
from evergreen.settings import settings

from .ranges import corrected


@pytest.fixture
def lake(s3: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh prefix of the bucket."""
    url = f"s3://evergreen/lake/{request.node.name}"
    monkeypatch.setenv("EVERGREEN_LAKE", url)
    settings.cache_clear()
    with corrected(s3) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        yield url
    settings.cache_clear()


def test_a_partition_is_replaced_and_read_back(lake: str) -> None:
    first = pa.table({"key": ["a", "b"], "value": [1.0, None]})
    assert tables.read(RAW.of("shop", "visits")) is None
    assert tables.replace(RAW.of("shop", "visits").at("2026-01-05"), first) == 1
    tables.replace(RAW.of("shop", "visits").at("2026-01-06"), pa.table({"key": ["c"], "value": [3.0]}))
    tables.replace(RAW.of("shop", "visits").at("2026-01-05"), first.slice(1))
    table = tables.read(RAW.of("shop", "visits"), partitions=["2026-01-05"])
    assert table is not None
    assert table.to_pylist() == [{"key": "b", "value": None, "partition": "2026-01-05"}]
    old = tables.read(RAW.of("shop", "visits"), version=1, columns=["key", "value"])
    assert old is not None and hashing.content_hash(old) == hashing.content_hash(first)
    tables.replace(RAW.of("shop", "visits").at("2026-01-05"), first.slice(0, 0))
    assert [row["key"] for row in tables.read(RAW.of("shop", "visits")).to_pylist()] == ["c"]  # type: ignore[union-attr]


def test_rows_of_one_key_are_erased_from_every_version(lake: str) -> None:
    table, key = RAW.of("shop", "visits"), rewriting.Key(frozenset({"guest"}), "guest-0417")
    for day in (1, 2, 2):
        rows = pa.table({"guest": ["guest-0417", "guest-1"], "spent": [1.0, float(day)]})
        newest = tables.replace(table.at(f"2026-01-0{day}"), rows)
    assert rewriting.erase(table, key) == 3 and not rewriting.held(table, key)
    for version in range(1, newest + 1):
        left = tables.read(table, version=version)
        assert left is not None and set(left["guest"].to_pylist()) == {"guest-1"}
    assert not [file for file in rewriting.of(table) if b"guest-0417" in folders.read(file, tables.SETTING)]


def test_engines_read_it_as_an_arrow_dataset(lake: str) -> None:
    tables.replace(RAW.of("shop", "visits").at("2026-01-05"), pa.table({"value": [1.0, 2.0]}))
    with duckdb.connect() as connection:
        connection.register("visits", tables.dataset(tables.table_path(RAW.of("shop", "visits"))))
        assert connection.sql("select sum(value) from visits").fetchall() == [(3.0,)]


def test_a_server_that_does_not_answer_is_transient(lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from evergreen.addresses import free_port

    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ServiceUnavailable, match=r"(?s)shop/raw/visits.*next step: .*AWS_ENDPOINT_URL"):
        tables.read(RAW.of("shop", "visits"))
    with pytest.raises(ServiceUnavailable, match=r"(?s)shop/raw/visits.*next step: .*AWS_ENDPOINT_URL"):
        tables.replace(RAW.of("shop", "visits").at("2026-01-05"), pa.table({"value": [1.0]}))


def test_a_login_that_the_store_refuses_is_not_tried_again(lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x" * 40)
    rows = pa.table({"value": [1.0]})
    for ask in (
        lambda: tables.read(RAW.of("shop", "visits")),
        lambda: tables.replace(RAW.of("shop", "visits").at("2026-01-05"), rows),
    ):
        with pytest.raises(RequestRefused, match=r"(?s)403.*next step: .*AWS_SECRET_ACCESS_KEY") as raised:
            ask()
        assert "\x1b" not in str(raised.value) and "x" * 40 not in str(raised.value)


def test_a_version_whose_files_or_log_are_gone_is_told_from_a_table_that_never_was(lake: str) -> None:
    from evergreen import object_store

    visits = RAW.of("shop", "visits")
    for value in (1.0, 2.0):
        tables.replace(visits.at("2026-01-05"), pa.table({"value": [value]}))
    bucket, key = object_store.split(tables.table_path(visits))
    client = object_store.client("s3://evergreen")
    with tables.pinned({visits: 1}):
        (first,) = tables.dataset(tables.table_path(visits)).files
    client.delete_object(Bucket=bucket, Key=f"{key}/{first}")
    assert tables.missing(visits, 1) == [first.rpartition("/")[2]] and tables.missing(visits, 2) == []
    with pytest.raises(VersionGone, match=first.rpartition("/")[2]):
        tables.read(visits, version=1)
    client.delete_object(Bucket=bucket, Key=f"{key}/_delta_log/{1:020}.json")
    with pytest.raises(VersionGone, match="a log that cannot be read"):
        tables.read(visits, version=1)
    assert tables.read(RAW.of("shop", "baskets"), version=1) is None
