"""Tables of every release become those of this one: once, all or none, whoever starts at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from evergreen import database
from evergreen.database import connections
from evergreen.database.migrations import MIGRATIONS, Migration, bring_up
from evergreen.errors import RequestRefused, StoreNewer
from evergreen.settings import Settings
from tests.components.database.conftest import STORED, TABLES, restore

COLUMNS = (
    "select table_name, column_name, data_type, is_nullable, coalesce(column_default, '')"
    " from information_schema.columns where table_schema = %s order by 1, 2"
)
INDEXES = (
    "select tablename, replace(indexdef, schemaname || '.', '') from pg_indexes where schemaname = %s order by 1, 2"
)
NOTED = (
    "select relname, attname from pg_attribute join pg_class on pg_class.oid = attrelid where attstattarget = 0"
    " and relnamespace = %s::regnamespace order by 1, 2"
)
MORE = Migration(len(MIGRATIONS) + 1, "more", "create table more (a int); insert into more values (1)")


@pytest.fixture
def connection(home: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(home.database_url("evergreen"), autocommit=True) as connection:
        yield connection


def shape(connection: psycopg.Connection, schema: str) -> list[tuple[str, ...]]:
    """Columns and indexes of a schema's tables, but for that of the migrations."""
    rows = [row for query in (COLUMNS, INDEXES, NOTED) for row in connection.execute(query, [schema]).fetchall()]
    return [row for row in rows if row[0] != "migrations"]


def test_numbers_count_from_one() -> None:
    assert [migration.number for migration in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))


@pytest.mark.parametrize("before", ["nothing", *sorted(path.name for path in STORED.glob("evergreen_*.sql"))])
def test_the_tables_of_every_release_become_those_that_the_code_declares(
    home: Settings, connection: psycopg.Connection, before: str
) -> None:
    if before != "nothing":
        restore(home, "evergreen", STORED / before)
    assert [migration.number for migration in bring_up(connection)] == [migration.number for migration in MIGRATIONS]
    declared = {table.name for table in TABLES}
    connection.execute("create schema declared; set search_path to declared")
    for table in TABLES:
        connection.execute(table.ddl.encode())
    migrated = [row for row in shape(connection, "public") if row[0] in declared]
    assert migrated == shape(connection, "declared") and len({row[0] for row in migrated}) == len(TABLES)


def test_a_second_look_changes_nothing(connection: psycopg.Connection) -> None:
    assert bring_up(connection) == list(MIGRATIONS)
    taken = connection.execute("select * from migrations").fetchall()
    assert bring_up(connection) == [] and database.migrate() == []
    assert connection.execute("select * from migrations").fetchall() == taken


def test_processes_that_start_at_once_migrate_once(home: Settings) -> None:
    ready = threading.Barrier(8)

    def start(_: int) -> int:
        with psycopg.connect(home.database_url("evergreen"), autocommit=True) as own:
            ready.wait()
            return len(bring_up(own, (*MIGRATIONS, MORE)))

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(start, range(8))) == [0] * 7 + [len(MIGRATIONS) + 1]
    with database.connect("feast") as other, psycopg.connect(home.database_url("evergreen")) as own:
        assert own.execute("select count(*) from more").fetchone() == (1,)
        assert other.execute("select to_regclass('migrations')").fetchone() == (None,), "only Evergreen's own database"


def test_a_migration_that_fails_leaves_the_store_as_it_was(connection: psycopg.Connection) -> None:
    bring_up(connection)

    def fail(inside: psycopg.Connection) -> None:
        inside.execute("alter table partitions add column late int")
        raise RuntimeError("half-way")

    before = shape(connection, "public")
    with pytest.raises(RuntimeError, match="half-way"):
        bring_up(connection, (*MIGRATIONS, MORE, Migration(MORE.number + 1, "fails", fail)))
    assert shape(connection, "public") == before
    assert bring_up(connection, (*MIGRATIONS, MORE)) == [MORE]


def test_a_store_of_a_newer_release_is_refused(connection: psycopg.Connection) -> None:
    bring_up(connection, (*MIGRATIONS, MORE))
    for _ in range(2):  # what was refused is not remembered as looked at
        with (
            pytest.raises(StoreNewer, match=rf"{MORE.number} \(more\).*\n.*expected.*\n.*run that release again"),
            database.connect(),
        ):
            pass
    with pytest.raises(StoreNewer), database.locked("a key"):
        pass
    renamed = replace(MORE, name="another of the same number")
    with pytest.raises(StoreNewer, match=r"\(more\)"):
        bring_up(connection, (*MIGRATIONS, renamed))


def test_a_login_that_may_make_no_tables_opens_what_another_has_prepared(
    home: Settings, connection: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = f"{home.database_prefix}reader"
    connection.execute(f"create role {login} login password 'reads'")
    try:
        theirs = home.database_url("evergreen").replace("//evergreen:", "//").partition("@")[2]
        with psycopg.connect(f"postgresql://{login}:reads@{theirs}", autocommit=True) as reader:
            with pytest.raises(RequestRefused, match="evergreen migrate"):
                bring_up(reader)
            bring_up(connection)
            connection.execute(f"grant select on all tables in schema public to {login}")
            assert bring_up(reader) == []
            with pytest.raises(RequestRefused, match="permission denied"):
                bring_up(reader, (*MIGRATIONS, MORE))
    finally:
        connection.execute(f"drop owned by {login}; drop role {login}")


def test_a_process_looks_once(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    real = connections.migrations.bring_up
    monkeypatch.setattr(connections.migrations, "bring_up", lambda connection: looks.append(1) or real(connection))
    for _ in range(3):
        with database.connect():
            pass
    assert len(looks) == 1
