"""A query on a real Postgres as a source: bounded, read-only, typed like files, and errors that say what to do."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from evergreen.addresses import free_port
from evergreen.errors import (
    BatchUnreadable,
    ConnectionUnknown,
    EvergreenError,
    PermanentError,
    ServiceUnavailable,
    TransientError,
)
from evergreen.handovers.ingest import Batch
from evergreen.ingest import stages
from evergreen.interval import Interval
from evergreen.lake import staging
from evergreen.local import postgres
from evergreen.run import DatasetRun
from evergreen.settings import PROJECT, Settings
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from evergreen.validate import stages as validation

SQL = """
-- 100 %% of the day's visits
SELECT visit_id, reader_id, visited_at, pages FROM visits
WHERE visited_at >= %(start)s AND visited_at < %(end)s
ORDER BY visited_at -- oldest first
"""
DAY = date(2026, 1, 5)


@pytest.fixture(scope="module")
def shop(postgres_url: str) -> str:
    """The URI of a database of somebody else's, with a table of visits."""
    name = f"t{os.getpid()}_shop"
    postgres.create_databases(postgres_url, [name])
    with psycopg.connect(f"{postgres_url}/{name}") as connection:
        connection.execute("create table visits (visit_id text, reader_id text, visited_at timestamptz, pages numeric)")
        connection.execute(
            """
            insert into visits values
                ('d', 'r1', '2026-01-05 23:59:59.999999+00', 4),
                ('a', 'r1', '2026-01-05 02:00:00+02', 1.0),
                ('b', null, '2026-01-05 09:30:00+00', null),
                ('c', e'é, "x"\\n', '2026-01-05 10:00:00+00', 2.5),
                ('n', '', '2026-01-05 11:00:00+00', 'NaN'),
                ('before', 'r1', '2026-01-04 23:59:59+00', 9),
                ('after', 'r1', '2026-01-06 00:00:00+00', 9)
            """
        )
    return f"{postgres_url}/{name}"


@pytest.fixture
def spec_of(home: Settings, tmp_path: Path) -> Callable[..., ModelSpec]:
    """A model whose source `visits` is a query; a fresh home."""
    folder = shutil.copytree(PROJECT / "tests" / "specs" / "valid" / "renewals", tmp_path / "renewals")

    def made(sql: str = SQL) -> ModelSpec:
        (folder / "sources").mkdir(exist_ok=True)
        (folder / "sources" / "visits.sql").write_text(sql)
        text = (PROJECT / "tests" / "specs" / "valid" / "renewals" / "model.yaml").read_text()
        (folder / "model.yaml").write_text(text.replace("path: renewals/visits/{partition}.csv", "connection: shop_db"))
        landed = Path(home.landing) / "renewals" / "readers" / f"{DAY}.csv"
        landed.parent.mkdir(parents=True, exist_ok=True)
        landed.write_text(f"reader_id,snapshot_at,plan\nr1,{DAY}T00:00:00Z,basic\n")
        return load_spec(folder)

    return made


def run_of(spec: ModelSpec, uri: str | None) -> DatasetRun:
    known = {} if uri is None else {"shop_db": uri}
    return DatasetRun(spec.own_data(), Interval.of_day(DAY), connections=known.__getitem__)


def extracted(run: DatasetRun) -> tuple[Batch, list[dict[str, Any]]]:
    source = stages.extract(run).sources["visits"]
    return source, staging.read(source.staged).to_pylist()


def test_the_rows_of_the_interval_in_the_querys_order_with_the_declared_types(
    shop: str, spec_of: Callable[..., ModelSpec]
) -> None:
    source, rows = extracted(run_of(spec_of(), shop))
    at = datetime(2026, 1, 5, tzinfo=UTC)
    assert [(r["visit_id"], r["reader_id"], r["visited_at"], r["pages"], r["_unparsed"], r["_row"]) for r in rows] == [
        ("a", "r1", at, 1, None, 0),
        ("b", None, at.replace(hour=9, minute=30), None, None, 1),
        ("c", 'é, "x"\n', at.replace(hour=10), None, "pages=2.5", 2),
        ("n", "", at.replace(hour=11), None, "pages=NaN", 3),
        ("d", "r1", at.replace(hour=23, minute=59, second=59, microsecond=999999), 4, None, 4),
    ]
    assert (source.staged.rows, source.origin) == (5, "shop_db by sources/visits.sql")
    assert source.known_at == datetime(2026, 1, 6, tzinfo=UTC)


def test_the_hash_is_of_the_rows_and_not_of_their_order(shop: str, spec_of: Callable[..., ModelSpec]) -> None:
    first = extracted(run_of(spec_of(), shop))[0].digest
    assert extracted(run_of(spec_of(), shop))[0].digest == first
    assert extracted(run_of(spec_of(SQL.replace("BY visited_at", "BY visit_id DESC")), shop))[0].digest == first
    assert (
        extracted(
            run_of(spec_of(SQL.replace("visit_id, reader_id,", "visit_id || 'x' AS visit_id, reader_id,")), shop)
        )[0].digest
        != first
    )


def test_cells_that_do_not_fit_cost_their_rows(shop: str, spec_of: Callable[..., ModelSpec]) -> None:
    sql = SQL.replace(
        "reader_id, visited_at, pages",
        "'r1'::text AS reader_id, visited_at, CASE visit_id WHEN 'a' THEN 'many' ELSE '3' END AS pages",
    )
    run = run_of(spec_of(sql), shop)
    sources = validation.validate(run, stages.extract(run)).sources["visits"]
    assert (sources.accepted.rows, sources.rejected.rows) == (4, 1)
    (row,) = staging.read(sources.rejected).to_pylist()
    assert (row["visit_id"], row["_reasons"]) == ("a", "unparsable: row 0: pages=many (pages is an int, such as 1299)")


def test_types_of_postgres_that_python_does_not_have(shop: str, spec_of: Callable[..., ModelSpec]) -> None:
    """Infinity is no moment, whatever the session's settings say times look like."""
    query = """
        SELECT
            visit_id,
            'r1'::varchar AS reader_id,
            CASE visit_id WHEN 'a' THEN 'infinity' ELSE visited_at END AS visited_at,
            pages::money::numeric AS pages
        FROM visits"""
    rows = extracted(
        run_of(
            spec_of(f"{query} WHERE visited_at >= %(start)s AND visited_at < %(end)s AND visit_id IN ('a', 'd')"),
            f"{shop}?options=-cTimeZone%3DAsia%2FTokyo%20-cDateStyle%3DSQL%2CDMY",
        )
    )[1]
    visits = {row["visit_id"]: (row["visited_at"], row["pages"], row["_unparsed"]) for row in rows}
    assert visits["a"] == (None, 1, "visited_at=infinity")
    assert visits["d"][0] == datetime(2026, 1, 5, 23, 59, 59, 999999, tzinfo=UTC)


def test_a_day_without_rows_is_an_empty_batch(shop: str, spec_of: Callable[..., ModelSpec]) -> None:
    source, rows = extracted(run_of(spec_of(f"SELECT * FROM ({SQL}) q WHERE false"), shop))
    assert (source.staged.rows, rows) == (0, [])


def failure(run: DatasetRun, kind: type[EvergreenError]) -> EvergreenError:
    with pytest.raises(kind) as caught:
        stages.extract(run)
    assert caught.value.doing == "reading the batch of renewals/visits of 2026-01-05 from shop_db by sources/visits.sql"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    return caught.value


WRONG: dict[str, tuple[str, str]] = {
    "a misspelt table": (SQL.replace("FROM visits", "FROM visit"), 'relation "visit" does not exist'),
    "a misspelt column": (SQL.replace("reader_id,", "reader,"), 'column "reader" does not exist'),
    "no SQL": (SQL.replace("SELECT", "SELEC"), 'syntax error at or near "SELEC"'),
    "two statements": (SQL.replace("ORDER BY", "; DELETE FROM visits ORDER BY"), 'syntax error at or near "ORDER"'),
    "two whole statements": (
        SQL.replace("ORDER BY", "; DELETE FROM visits; --"),
        "cannot insert multiple commands into a prepared statement",
    ),
    "no rows": ("SET ROLE none -- %(start)s %(end)s", "a statement that returns no rows"),
    "a write": (
        "DELETE FROM visits WHERE visited_at >= %(start)s AND visited_at < %(end)s RETURNING *",
        "read-only transaction",
    ),
    "a hidden write": (SQL.replace("SELECT visit_id", "SELECT nextval('numbers'), visit_id"), "read-only transaction"),
    "an impossible cast": (
        SQL.replace("pages FROM", "reader_id::int AS pages FROM"),
        "invalid input syntax for type integer",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_query_that_the_database_refuses_is_named_with_its_words(
    name: str, shop: str, spec_of: Callable[..., ModelSpec]
) -> None:
    sql, said = WRONG[name]
    with psycopg.connect(shop) as connection:
        connection.execute("create sequence if not exists numbers")
    spec = spec_of()
    spec.own_data().source_sql("visits").write_text(
        sql
    )  # what `evergreen check` would have refused must not run either
    error = failure(run_of(spec, shop), BatchUnreadable)
    assert said in error.found
    assert error.next_step == "correct sources/visits.sql, then clear this task"
    with psycopg.connect(shop) as connection:
        assert connection.execute("select count(*) from visits").fetchone() == (7,)


def test_a_query_of_other_columns_says_which(shop: str, spec_of: Callable[..., ModelSpec]) -> None:
    error = failure(
        run_of(spec_of(SQL.replace("reader_id,", "reader_id AS reader, 1 AS pages,")), shop), BatchUnreadable
    )
    assert error.found == "columns missing: reader_id; unexpected: 'reader'; twice: 'pages'"
    assert (
        error.next_step == "correct sources/visits.sql, or declare what it sends for the source; then clear this task"
    )


def test_a_database_that_does_not_answer_may_answer_later(shop: str, spec_of: Callable[..., ModelSpec]) -> None:
    parts = urlsplit(shop)
    away = f"postgresql://somebody:secret@127.0.0.1:{free_port()}{parts.path}"
    for uri in (away, f"{shop}_gone"):
        error = failure(run_of(spec_of(), uri), ServiceUnavailable)
        assert isinstance(error, TransientError)
        assert "connection shop_db" in error.expected and "connection shop_db" in error.next_step
        assert "secret" not in str(error) and str(parts.password) not in str(error), "a password in a task's log"


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        (None, "no connection shop_db"),
        ("secret", "a connection shop_db of type unknown"),
        ("postgres://u:sec/ret@h:port/d", "a connection shop_db whose URI cannot be read"),
        ("postgres://[secret", "a connection shop_db that cannot be read"),
    ],
)
def test_a_connection_that_is_not_there_says_how_to_make_it(
    uri: str | None, found: str, spec_of: Callable[..., ModelSpec]
) -> None:
    error = failure(run_of(spec_of(), uri), ConnectionUnknown)
    assert isinstance(error, PermanentError)
    assert (error.found, error.expected) == (found, "a connection shop_db to a database")
    for way in ("Admin, Connections", "AIRFLOW_CONN_SHOP_DB=postgresql://", "airflow_settings.yaml"):
        assert way in error.next_step
    assert "sec" not in str(error).replace("sources", ""), "a password in a task's log"


@pytest.fixture
def environment(shop: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets the connection in the environment, as Airflow reads it."""
    yield lambda text: monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", text)


def as_json(uri: str, **extra: Any) -> str:
    parts = urlsplit(uri)
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": parts.hostname,
            "port": parts.port,
            "login": parts.username,
            "password": parts.password,
            "schema": parts.path[1:],
            "extra": extra,
        }
    )


def test_a_run_without_airflow_reads_the_connection_from_the_environment(
    shop: str, spec_of: Callable[..., ModelSpec], environment: Callable[[str], None]
) -> None:
    run = DatasetRun(spec_of().own_data(), Interval.of_day(DAY))
    for text in (
        shop,
        shop.replace("postgresql:", "postgres:"),
        as_json(shop),
        as_json(shop, sslmode="prefer", cursor="dictcursor"),
    ):
        environment(text)
        assert len(extracted(run)[1]) == 5
    environment("{oops: secret")
    assert failure(run, ConnectionUnknown).found == "a connection shop_db that cannot be read"


@pytest.mark.parametrize(
    "extra", [{"sslmode": "require"}, {"sslmode": "require", "keepalives_idle": 30, "more": {"a": [1]}}]
)
def test_airflows_own_form_of_a_connection_is_understood(
    extra: dict[str, Any], shop: str, spec_of: Callable[..., ModelSpec], environment: Callable[[str], None]
) -> None:
    """Extras that are no flat texts are written as one JSON;
    to lose `sslmode` with them would be to lose encryption."""
    from evergreen.orchestration.connections import connection_uri

    environment(as_json(shop))
    run = DatasetRun(spec_of().own_data(), Interval.of_day(DAY), connections=connection_uri)
    assert connection_uri("shop_db").startswith("postgres://")
    assert len(extracted(run)[1]) == 5
    environment(as_json(shop, **extra))
    assert "SSL" in failure(run, ServiceUnavailable).found, "the test's server has no SSL, so it was not asked for"
    with pytest.raises(LookupError):
        connection_uri("no_such_connection")
