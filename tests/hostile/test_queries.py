"""The SQL of a model's folder as somebody hostile writes it: it reads what it declares, writes nothing, and ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import psycopg
import pytest

from evergreen.errors import BatchUnreadable, EvergreenError, ServiceUnavailable
from evergreen.ingest import database
from evergreen.ingest import postgres as postgres_source
from evergreen.ingest.origin import Origin
from evergreen.interval import Interval
from evergreen.local import postgres
from evergreen.settings import settings
from evergreen.spec import query, source_query
from evergreen.spec.dataset import Source

BOUNDED = "at >= %(start)s AND at < %(end)s"
READ = f"SELECT id, at FROM orders WHERE {BOUNDED}"
DAY = Interval.of_day(date(2026, 1, 5))

# Queries of a source, on the real Postgres, by a login that may do everything.
WRITES: dict[str, str] = {
    "a second statement": f"{READ}; DELETE FROM orders",
    "a transaction of its own": f"{READ}; COMMIT; BEGIN READ WRITE; DELETE FROM orders; COMMIT",
    "out of the parenthesis": f"{READ}) TO STDOUT; COMMIT; DELETE FROM orders; COPY (SELECT 1",
    "out of the parenthesis, to a program": (
        f"{READ}) TO STDOUT; COPY (SELECT 1) TO PROGRAM 'touch {{marker}}'; COPY (SELECT 1"
    ),
    "out of the parenthesis, to a file": f"{READ}) TO '{{marker}}' --",
    "a setting": f"SET TRANSACTION READ WRITE; DELETE FROM orders -- {BOUNDED}",
    "a setting by a function": (
        "WITH s AS MATERIALIZED (SELECT set_config('transaction_read_only', 'off', false))"
        f" SELECT id, at FROM orders, s WHERE {BOUNDED}"
    ),
    "a write in WITH": f"WITH gone AS (DELETE FROM orders RETURNING *) SELECT id, at FROM gone WHERE {BOUNDED}",
    "a write that returns": f"DELETE FROM orders WHERE {BOUNDED} RETURNING id, at",
    "a table": f"SELECT id, at INTO stolen FROM orders WHERE {BOUNDED}",
    "a lock": f"{READ} FOR UPDATE",
    "a sequence": f"SELECT nextval('numbers')::text AS id, at FROM orders WHERE {BOUNDED}",
    "a write in XML": (
        f"SELECT query_to_xml('DELETE FROM orders', true, true, '')::text AS id, at FROM orders WHERE {BOUNDED}"
    ),
    "a function that writes": f"SELECT emptied()::text AS id, at FROM orders WHERE {BOUNDED}",
    "a block of code": f"DO $$ BEGIN DELETE FROM orders; END $$ -- {BOUNDED}",
    "an explanation that runs": f"EXPLAIN ANALYZE DELETE FROM orders -- {BOUNDED}",
    "a copy": "COPY orders TO PROGRAM 'touch {marker}' -- " + BOUNDED,
    "a call": f"CALL gone() -- {BOUNDED}",
    "a large object": f"SELECT lo_from_bytea(0, 'x')::text AS id, at FROM orders WHERE {BOUNDED}",
}
# What `evergreen check` sees of these in the text alone, without the database.
UNSEEN = {"out of the parenthesis, to a file", "a function that writes"}


@pytest.fixture(scope="module")
def shop(postgres_url: str) -> Iterator[str]:
    """The URI of somebody's database, with ten orders that must stay."""
    name = f"t{os.getpid()}_hostile"
    postgres.create_databases(postgres_url, [name])
    uri = f"{postgres_url}/{name}"
    with psycopg.connect(uri) as connection:
        connection.execute("create table orders (id text, at timestamptz)")
        connection.execute("insert into orders select n, '2026-01-05 12:00:00+00' from generate_series(1, 10) n")
        connection.execute("create sequence numbers")
        connection.execute("create function emptied() returns int language sql as 'delete from orders returning 1'")
        connection.execute("create procedure gone() language sql as 'delete from orders'")
    yield uri


def _read(uri: str, text: str) -> int:
    source = Source.model_validate_json(
        '{"connection": "shop", "event_time": "at", "keys": ["id"], "columns": {"id": "string", "at": "timestamp"}}'
    )
    origin = Origin("m/orders of 2026-01-05", "shop by sources/orders.sql", "correct sources/orders.sql")
    return database.read(lambda _: uri, source, text, DAY, origin, [].append).num_rows


@pytest.mark.parametrize("name", WRITES)
def test_a_sources_query_writes_nothing(name: str, shop: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)  # the server's user could write the marker
    marker = tmp_path / "marker"
    text = WRITES[name].format(marker=marker)
    with pytest.raises(EvergreenError) as caught:
        _read(shop, text)
    assert isinstance(caught.value, BatchUnreadable), caught.value
    with psycopg.connect(shop) as connection:
        (state,) = connection.execute(
            "select array[(select count(*) from orders), (select count(*) from pg_largeobject_metadata),"
            " (select count(*) from pg_tables where tablename = 'stolen'), (select is_called::int from numbers)]"
        ).fetchone() or (None,)
        assert state == [10, 0, 0, 0]
        assert connection.execute("select count(*) from pg_locks where relation = 'orders'::regclass").fetchone() == (
            1,
        )
    assert not marker.exists()


@pytest.mark.parametrize("name", sorted(WRITES.keys() - UNSEEN))
def test_the_check_refuses_what_it_can_see(name: str) -> None:
    mistakes = [mistake.found for mistake in source_query.mistakes("sources/orders.sql", f"{WRITES[name]} {BOUNDED}")]
    assert mistakes, "seen by the database alone"


@pytest.mark.parametrize(
    "text",
    [
        READ,
        f"{READ};",
        f"{READ} -- ; delete from orders\n",
        f"/* insert */ ({READ}) UNION ALL ({READ}) ;  ",
        "WITH o AS (SELECT *, 'a;b' AS \"into\", $x$; drop$x$ AS t, E'it\\'s; x' AS e FROM orders)"
        f" SELECT id, at FROM o WHERE {BOUNDED}",
        f"SELECT id, at FROM orders WHERE {BOUNDED} AND id NOT IN ('nextval(', 'for update') AND id LIKE '%%'",
    ],
)
def test_a_query_that_reads_is_left_alone(text: str, shop: str) -> None:
    assert list(source_query.mistakes("sources/orders.sql", text)) == []
    assert _read(shop, text) in (10, 20)


def test_no_parameter_leads_out_of_a_text(shop: str, tmp_path: Path) -> None:
    """Its quotes would end the text, and what follows would be SQL."""
    tmp_path.chmod(0o777)
    marker = tmp_path / "marker"
    text = f"SELECT 'x%(start)s) TO PROGRAM $a$touch {marker}$a$ -- ' AS id, at FROM orders WHERE {BOUNDED}"
    assert _read(shop, text) == 10
    assert not marker.exists()


def test_a_query_that_does_not_end_is_ended(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_source, "_SETTINGS", postgres_source._SETTINGS.replace("20min", "300ms"))
    before = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="statement timeout"):
        _read(shop, f"SELECT pg_sleep(60)::text AS id, at FROM orders WHERE {BOUNDED}")
    assert time.monotonic() - before < 20


def test_a_query_that_returns_without_end_is_bounded(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_LARGEST_BATCH_MB", "1")
    settings.cache_clear()
    with pytest.raises(BatchUnreadable, match=r"more than 1,000,000 bytes[\s\S]*EVERGREEN_LARGEST_BATCH_MB"):
        _read(shop, f"SELECT generate_series(1, 1000000000)::text AS id, at FROM orders WHERE {BOUNDED}")
    settings.cache_clear()


def test_a_row_that_is_too_long_is_told_in_our_words(shop: str) -> None:
    with pytest.raises(BatchUnreadable, match="a row of more than 16 MiB") as raised:
        _read(shop, f"SELECT repeat('x', 40000000) AS id, at FROM orders WHERE {BOUNDED} LIMIT 1")
    assert "straddling" not in str(raised.value), "Arrow's words"


# Queries of features, labels and requests, in DuckDB.


REFUSED: dict[str, str] = {
    "a clock": "SELECT now(), a FROM t",
    "a clock without parentheses": "SELECT * FROM t WHERE moment < CURRENT_DATE",
    "a local clock": "SELECT localtimestamp",
    "a clock that DuckDB calls consistent": "SELECT current_localtimestamp()",
    "a clock by a macro": "SELECT ago(INTERVAL 1 DAY)",
    "a clock in the age of a moment": "SELECT age(moment) FROM t",
    "a clock by its whole name": 'SELECT "system".main."now"()',
    "a clock in a text": "SELECT * FROM query('SELECT now()')",
    "a clock of the catalogue": "SELECT pg_postmaster_start_time()",
    "a transaction's number": "SELECT txid_current()",
    "chance": "SELECT * FROM t ORDER BY random()",
    "chance in WITH": "WITH x AS (SELECT uuid() AS u) SELECT * FROM x",
    "chance in a lambda": "SELECT list_transform([1], lambda x: random())",
    "chance in a comprehension": "SELECT [random() FOR x IN [1]]",
    "chance in a window": "SELECT row_number() OVER (ORDER BY random()) FROM t",
    "chance in a filter": "SELECT count(*) FILTER (WHERE random() > 0.5) FROM t",
    "chance in a limit": "SELECT * FROM t LIMIT random()",
    "chance below a union": "SELECT 1 UNION ALL (SELECT gen_random_uuid()::int)",
    "a sample": "SELECT * FROM t TABLESAMPLE 10%",
    "a sample of the result": "SELECT * FROM t USING SAMPLE 3 ROWS",
    "a seed": "SELECT setseed(0.5)",
    "a sequence": "SELECT nextval('s')",
    "a setting": "SELECT current_setting('threads')",
    "a file": "SELECT * FROM read_csv('/etc/passwd')",
    "a file as a table": "SELECT * FROM '/etc/passwd'",
    "a list of files": "SELECT * FROM glob('/etc/*')",
    "the network": "SELECT * FROM 'http://127.0.0.1:1/x.parquet'",
    "secrets": "SELECT * FROM duckdb_secrets()",
    "settings as a table": "SELECT * FROM duckdb_settings",
    "the catalogue": "SELECT * FROM information_schema.tables",
    "a log": "SELECT write_log('x')",
    "sleep": "SELECT sleep_ms(100000)",
    "a copy": "COPY t TO '/tmp/stolen.csv'",
    "an attached file": "ATTACH '/tmp/x.db'",
    "an extension": "INSTALL httpfs",
    "two statements": "SELECT 1; SELECT 2",
    "a description": "DESCRIBE t",
    "depth": "SELECT * FROM " + "(SELECT * FROM " * 2000 + "t" + ")" * 2000,
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_query_that_depends_on_more_than_its_rows_is_refused_before_it_runs(name: str) -> None:
    (refusal, *_) = query.refusals(REFUSED[name], ["t"], ["as_of"])
    assert refusal.found and refusal.allowed and refusal.fix


@pytest.mark.parametrize(
    "text",
    [
        "WITH x AS (SELECT a, max(moment) AS moment FROM t GROUP BY a)"
        " SELECT *, date_diff('day', moment, $as_of) FROM x ASOF JOIN t USING (a, moment)",
        "SELECT t.a AS now, 'random()' AS today, age(moment, $as_of) FROM T WHERE moment >= $as_of - INTERVAL 7 DAY",
        "FROM (PIVOT t ON a IN (1, 2) USING count(*))",
        "SELECT unnest([1, 2]), g FROM generate_series(1, 3) s(g)",
        "SELECT a, hash(a) % 10 FROM t WHERE " + " OR ".join(["a = 1"] * 200),
    ],
)
def test_a_query_of_its_rows_and_moments_is_left_alone(text: str) -> None:
    assert query.refusals(text, ["t"], ["as_of"]) == []


def test_the_refusal_names_the_line_and_what_to_write() -> None:
    (refusal,) = query.refusals("SELECT a\nFROM t\nWHERE moment < now()", ["t"], ["cutoff", "horizon_end"])
    assert (refusal.found, refusal.line) == ("now(), which is another at each run", 3)
    assert refusal.fix == "write $cutoff or $horizon_end in place of now()"


def test_every_function_of_this_duckdb_that_changes_by_itself_is_refused() -> None:
    """A sweep over all that can be called with nothing or one value:
    DuckDB's own word for what is stable is not always true."""
    arguments = ["", "DATE '2020-01-01'", "TIMESTAMP '2020-01-01'", "INTERVAL 1 DAY", "1"]
    with duckdb.connect() as connection:
        names = [
            name
            for (name,) in connection.execute(
                "select distinct function_name from duckdb_functions()"
                " where function_type in ('scalar', 'macro') and function_name ~ '^[a-z_0-9]+$'"
            ).fetchall()
        ]
    calls = [
        f"{name}({argument})"
        for name in names
        for argument in arguments
        if name not in ("sleep_ms", "pg_sleep", "error")
    ]

    def results() -> dict[str, str]:
        values = {}
        with query.connected() as connection:
            for call in calls:
                try:
                    values[call] = str(connection.execute(f"select {call}").fetchall())
                except duckdb.Error:
                    continue
        return values

    first, second = results(), results()
    changing = [call for call, value in first.items() if second.get(call) != value]
    assert any(call.startswith("now(") for call in changing)
    missed = [call for call in changing if not query.refusals(f"select {call}", [], [])]
    assert not missed


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "COPY (SELECT 1) TO '{marker}'",
        "ATTACH '{marker}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT * FROM 'http://127.0.0.1:1/x.parquet'",
        "SET enable_external_access = true",
        "SET threads = 64",
        "SELECT getenv('HOME')",
        "EXPORT DATABASE '{marker}'",
        "SELECT * FROM glob('/etc/*')",
    ],
)
def test_even_what_is_run_reaches_nothing_outside(text: str, tmp_path: Path) -> None:
    with query.connected() as connection, pytest.raises(duckdb.Error):
        connection.execute(text.format(marker=tmp_path / "marker"))
    assert not list(tmp_path.iterdir())


def test_a_query_is_bounded_in_time_and_memory() -> None:
    with query.connected() as connection:
        (bound,) = connection.execute("select value from duckdb_settings() where name = 'memory_limit'").fetchone() or (
            "",
        )
        assert bound.endswith("iB")
        before = time.monotonic()
        with pytest.raises(duckdb.InterruptException), query.interrupted_after(connection, 0.3):
            connection.execute("select sum(a * b) from range(100000000) r(a), range(100000000) s(b)")
        assert time.monotonic() - before < 10
