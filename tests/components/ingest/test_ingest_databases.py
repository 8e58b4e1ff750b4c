"""One suite for every kind of database: the same rows, and the same answers to what goes wrong.

Postgres, DuckDB and SQLite (by SQLAlchemy, as any other database) always; MariaDB in the long run.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from subprocess import PIPE
from typing import Any

import duckdb
import pytest

from evergreen.errors import BatchUnreadable, ConnectionUnknown, EvergreenError, RequestRefused, ServiceUnavailable
from evergreen.ingest import database
from evergreen.ingest.origin import Origin
from evergreen.interval import Interval
from evergreen.settings import settings
from evergreen.spec.dataset import Source

from .databases import Place, made

DAY = Interval.of_day(date(2026, 1, 5))
ORIGIN = Origin("shop/visits of 2026-01-05", "shop_db by sources/visits.sql", "correct sources/visits.sql")
BOUNDED = "visited_at >= %(start)s AND visited_at < %(end)s"
SQL = f"""
-- 100 %% of the day's visits, "all" of them
SELECT visit_id, visited_at, pages, price, mobile, born, note FROM visits
WHERE {BOUNDED} AND note <> '100%%: :it''s'
ORDER BY visited_at -- oldest first
;"""
TYPES = {
    "visit_id": "string",
    "visited_at": "timestamp",
    "pages": "int",
    "price": "float",
    "mobile": "bool",
    "born": "date",
    "note": "string",
}
SMALL = {"visit_id": "string", "visited_at": "timestamp"}
KINDS = ("postgres", "duckdb", "sqlite", pytest.param("mariadb", marks=pytest.mark.long))


@pytest.fixture(scope="module", params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return made(request.param, request, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A batch has at most a megabyte."""
    monkeypatch.setenv("EVERGREEN_LARGEST_BATCH_MB", "1")
    settings.cache_clear()
    yield
    settings.cache_clear()


def source_of(types: dict[str, str], zone: str = "UTC") -> Source:
    columns: dict[str, Any] = {**types, "visited_at": {"type": "timestamp", "zone": zone}}
    declared = {"connection": "shop_db", "event_time": "visited_at", "keys": ("visit_id",), "columns": columns}
    return Source.model_validate(declared)


def read(uri: str, sql: str = SQL, types: dict[str, str] = TYPES, zone: str = "UTC") -> list[dict[str, Any]]:
    source = source_of(types, zone)
    rows: list[dict[str, Any]] = database.read(
        {"shop_db": uri}.__getitem__, source, sql, DAY, ORIGIN, pytest.fail
    ).to_pylist()
    return rows


def failure(
    kind: type[EvergreenError], uri: str, sql: str = SQL, types: dict[str, str] = TYPES, zone: str = "UTC"
) -> EvergreenError:
    with pytest.raises(kind) as caught:
        read(uri, sql, types, zone)
    assert caught.value.doing == f"reading the batch of {ORIGIN.subject} from {ORIGIN.name}"
    return caught.value


def many(count: int) -> str:
    """The table as often as that, with every row of one beside every row of the others."""
    return ", ".join(f"visits v{number}" for number in range(count))


class TestEveryDatabase:
    """What holds wherever the rows are."""

    def test_gives_the_rows_of_the_interval_in_the_querys_order_with_the_declared_types(self, place: Place) -> None:
        start = datetime(2026, 1, 5, tzinfo=UTC)
        end = datetime(2026, 1, 5, 23, 59, 59, 500_000, tzinfo=UTC)
        rows = read(place.uri)
        unread = rows[2]["_unparsed"]
        assert [tuple(row.values()) for row in rows] == [
            ("start", start, 1, 1234.5, True, date(2000, 2, 29), 'é, "x" 😀', None, 0, None),
            ("empty", start.replace(hour=9, minute=30), None, None, None, None, "", None, 1, None),
            (
                "half",
                start.replace(hour=10),
                None,
                0.05,
                False,
                date(1999, 12, 31),
                "NA",
                rows[2]["_unparsed"],
                2,
                "row 2",
            ),
            ("end", end, 9007199254740993, -3.0, False, None, "y", None, 3, None),
        ]
        assert unread.rstrip("0") == "pages=2.5"

    def test_leaves_comments_and_texts_as_they_are(self, place: Place) -> None:
        sql = f"""
-- from %(start)s until %(end)s, it's 100 % of them; :start, $1, ?
SELECT visit_id, visited_at, '%(start)s:start 5%% $1 ?' AS note /* %(end)s isn't
one, %s neither */ FROM visits WHERE {BOUNDED} AND note <> '%(end)s' AND note <> '%(day)s'
ORDER BY visited_at -- %(end)s"""
        rows = read(place.uri, sql, {**SMALL, "note": "string"})
        assert [row["visit_id"] for row in rows] == ["start", "empty", "half", "end"]
        assert {row["note"] for row in rows} == {"%(start)s:start 5% $1 ?"}

    def test_takes_times_without_a_zone_and_the_bounds_in_the_declared_one(self, place: Place) -> None:
        sql = f"SELECT visit_id, local_at AS visited_at FROM visits WHERE {BOUNDED.replace('visited', 'local')}"
        rows = read(place.uri, f"{sql} ORDER BY local_at", SMALL, "Europe/Berlin")
        assert [row["visit_id"] for row in rows] == ["start", "empty", "half", "end"]
        assert rows[0]["visited_at"] == datetime(2026, 1, 5, tzinfo=UTC)

    def test_gives_a_table_for_all_intervals(self, place: Place) -> None:
        columns = {"visit_id": "string", "note": "string"}
        source = Source.model_validate(
            {"connection": "shop_db", "refresh": "never", "keys": ("visit_id",), "columns": columns}
        )
        sql = "SELECT visit_id, note FROM visits WHERE note NOT LIKE '100%%' ORDER BY visited_at"
        rows = database.read({"shop_db": place.uri}.__getitem__, source, sql, DAY, ORIGIN, pytest.fail)
        assert rows["visit_id"].to_pylist() == ["before", "start", "empty", "half", "end", "after"]

    def test_gives_an_empty_batch_of_a_day_without_rows(self, place: Place) -> None:
        assert read(place.uri, SQL.replace("ORDER BY", "AND 1 = 0 ORDER BY")) == []

    @pytest.mark.parametrize(
        "wrong",
        [
            SQL.replace("FROM visits", "FROM visit"),
            SQL.replace("pages,", "pagges,"),
            SQL.replace("SELECT", "SELEC"),
            SQL.replace("ORDER BY visited_at -- oldest first\n;", "; DELETE FROM visits"),
            SQL.replace("ORDER BY visited_at -- oldest first\n;", "; SELECT 1"),
            f"DELETE FROM visits WHERE {BOUNDED}",
            f"DELETE FROM visits WHERE {BOUNDED} RETURNING visit_id, visited_at",
            f"INSERT INTO visits SELECT * FROM visits WHERE {BOUNDED}",
            f"CREATE TABLE stolen AS SELECT * FROM visits WHERE {BOUNDED}",
            f"EXPLAIN SELECT visit_id, visited_at FROM visits WHERE {BOUNDED}",
        ],
    )
    def test_runs_one_select_and_nothing_else(self, wrong: str, place: Place) -> None:
        error = failure(BatchUnreadable, place.uri, wrong, SMALL)
        assert error.next_step.startswith("correct sources/visits.sql") and "clear this task" in error.next_step
        assert place.execute("select count(*) from visits")[0][0] == 6

    def test_says_which_columns_are_others_than_the_declared_ones(self, place: Place) -> None:
        error = failure(BatchUnreadable, place.uri, SQL.replace("pages,", "pages AS sheets, price,"))
        assert error.found == "columns missing: pages; unexpected: 'sheets'; twice: 'price'"

    def test_names_the_column_and_type_of_which_no_cell_can_be_made(self, place: Place) -> None:
        if place.kind == "postgres":
            pytest.skip("Postgres writes every type as text")
        sql = f"SELECT visit_id, visited_at, raw FROM visits WHERE {BOUNDED}"
        error = failure(BatchUnreadable, place.uri, sql, SMALL | {"raw": "string"})
        assert error.found == f"the column raw of type {place.binary}"
        assert "raw" in error.next_step and "or leave it out" in error.next_step

    def test_is_tried_again_where_it_does_not_answer_and_shows_no_password(self, place: Place) -> None:
        error = failure(ServiceUnavailable, place.away())
        assert "connection shop_db" in error.expected
        assert "geheim" not in str(error)

    def test_is_not_tried_again_where_it_does_not_know_the_login(self, place: Place) -> None:
        stranger = place.strangers()
        if stranger is None:
            pytest.skip("a file knows no logins")
        error = failure(RequestRefused, stranger)
        assert "nobody" in error.found and "correct the connection shop_db" in error.next_step
        assert "geheim" not in str(error)

    def test_hands_over_no_more_than_a_batch_may_have(self, place: Place, small_batches: None) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sql = f"SELECT v0.visit_id, v0.visited_at FROM {many(9)} WHERE {BOUNDED.replace('visited', 'v0.visited')}"
        error = failure(BatchUnreadable, place.uri, sql, SMALL)
        assert "more than 1,000,000 bytes" in error.found and "EVERGREEN_LARGEST_BATCH_MB" in error.expected
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 200_000, f"{grown:,} KB for a batch of a megabyte: all of ten million rows was fetched"

    def test_is_ended_when_it_takes_too_long(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        place.hurry(monkeypatch)
        sql = f"SELECT count(*) AS n FROM {many(16)} WHERE {BOUNDED.replace('visited', 'v0.visited')}"
        error = failure(ServiceUnavailable, place.uri, sql)
        assert error.expected == "all rows within 20 minutes" and "correct sources/visits.sql" in error.next_step

    def test_is_tried_again_when_its_session_is_lost_amid_a_query(self, place: Place) -> None:
        if place.strangers() is None:
            pytest.skip("a file has no sessions")
        sql = f"SELECT count(*) AS n FROM {many(16)} WHERE {BOUNDED.replace('visited', 'v0.visited')}"
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(failure, ServiceUnavailable, place.uri, sql)
            eventually(place.end_all)
            assert "see that it runs" in reading.result(60).next_step


def eventually(true: Callable[[], bool]) -> None:
    for _ in range(300):
        if true():
            return
        time.sleep(0.1)
    pytest.fail("it never was")


@pytest.mark.parametrize(
    ("uri", "found", "step"),
    [
        ("snowflake://u:geheim@h/d", "of type snowflake, for which no dialect is there", "install the package"),
        ("oracle://u:geheim@h/d", "of type oracle, whose driver is not installed: No module named", "install the pack"),
        ("mysql://u:geh/eim@h:port/d", "whose URI cannot be read", "Admin, Connections"),
        ("oracle://u:geh/eim@h:port/d", "whose URI cannot be read", "Admin, Connections"),
        ("mysql://u:geheim@h/d?ssl_mode=perhaps", "whose URI cannot be read", "Admin, Connections"),
    ],
)
def test_a_connection_that_leads_nowhere_says_what_to_do(uri: str, found: str, step: str) -> None:
    error = failure(ConnectionUnknown, uri)
    assert found in error.found and step in error.next_step
    assert "geh" not in str(error)


def test_a_duckdb_file_that_a_writer_has_is_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "shop.duckdb"
    code = "import duckdb, sys; held = duckdb.connect(sys.argv[1]); print(1, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, str(file)], stdin=PIPE, stdout=PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        assert "lock" in failure(ServiceUnavailable, f"duckdb:///{file}").found
        writer.communicate()


def test_files_beside_a_duckdb_file_are_read_where_its_connection_says_so(tmp_path: Path) -> None:
    beside = tmp_path / "visits.csv"
    beside.write_text("visit_id,visited_at\na,2026-01-05 10:00:00\n")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as session:
        session.execute(f"create view visits as select * from read_csv('{beside}')")
    uri, sql = f"duckdb:///{tmp_path / 'shop.duckdb'}", f"SELECT * FROM visits WHERE {BOUNDED}"
    assert "disabled by configuration" in failure(BatchUnreadable, uri, sql, SMALL).found
    assert [row["visit_id"] for row in read(f"{uri}?enable_external_access=true", sql, SMALL)] == ["a"]
