"""The databases that sources are read from, each with the same table of visits."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import sqlite3
import subprocess
from abc import ABC, abstractmethod
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import duckdb
import psycopg
import pymysql
import pytest

from evergreen.addresses import free_port
from evergreen.ingest import dialects, duckdb_file, mysql
from evergreen.ingest import postgres as of_postgres
from evergreen.local import postgres
from evergreen.local.processes import Processes, Service

# visit_id, moment, its time in Berlin, pages, price, mobile, born, note; as SQL, without the moment's zone
VISITS = (
    ("'before'", "2026-01-04 23:59:59", "2026-01-05 00:59:59", "9", "1.00", "1 = 1", "'2000-01-01'", "'x'"),
    ("'start'", "2026-01-05 00:00:00", "2026-01-05 01:00:00", "1", "1234.50", "1 = 1", "'2000-02-29'", "'é, \"x\" 😀'"),
    ("'empty'", "2026-01-05 09:30:00", "2026-01-05 10:30:00", "null", "null", "null", "null", "''"),
    ("'half'", "2026-01-05 10:00:00", "2026-01-05 11:00:00", "2.5", "0.05", "1 = 0", "'1999-12-31'", "'NA'"),
    ("'end'", "2026-01-05 23:59:59.5", "2026-01-06 00:59:59.5", "9007199254740993", "-3", "1 = 0", "null", "'y'"),
    ("'after'", "2026-01-06 00:00:00", "2026-01-06 01:00:00", "9", "1.00", "1 = 1", "'2000-01-01'", "'x'"),
)


_PROGRAMS = ("mariadbd", "mariadb-install-db", "my_print_defaults")  # the second one calls the third


class Place(ABC):
    """One database.

    Attributes:
        kind: what it is.
        types: how it calls a moment, a time without zone, a number, a price, a truth value, a day and bytes.
        binary: what it calls the type of bytes in an error.
        moment: SQL of a moment, given its time in UTC.
    """

    kind: str
    types: tuple[str, str, str, str, str, str, str]
    binary: str
    moment = "'{}+00'"

    def __init__(self, uri: str) -> None:
        self.uri = uri
        moment, local, number, price, truth, day, raw = self.types
        self.execute(
            f"create table visits (visit_id varchar(20), visited_at {moment}, local_at {local}, pages {number},"
            f" price {price}, mobile {truth}, born {day}, note varchar(50), raw {raw})",
            *(
                f"insert into visits values ({name}, {self.moment.format(at)}, '{local}', {', '.join(rest)}, null)"
                for name, at, local, *rest in VISITS
            ),
            "update visits set raw = '\\x00'" if self.kind == "postgres" else "update visits set raw = 'x'",
        )

    @abstractmethod
    def execute(self, *statements: str) -> list[Any]:
        """Run them by its own client, as one who may write; returns the rows of the last."""

    @abstractmethod
    def away(self) -> str:
        """The URI of one that is not there."""

    @abstractmethod
    def hurry(self, patch: pytest.MonkeyPatch) -> None:
        """Queries may take a second."""

    def strangers(self) -> str | None:
        """A URI with a login that it does not know; None: it knows no logins."""
        return None

    def end_all(self) -> bool:
        """End the sessions that read; whether there was one. A file has none."""
        return False


class Postgres(Place):
    """A server, by its own client."""

    kind, binary = "postgres", ""
    types = ("timestamptz", "timestamp", "numeric", "numeric(12,2)", "boolean", "date", "bytea")

    def execute(self, *statements: str) -> list[Any]:
        with psycopg.connect(self.uri, autocommit=True) as session:
            for each in statements:
                cursor = session.execute(each.encode())
            return cursor.fetchall() if cursor.description else []

    def away(self) -> str:
        return f"postgresql://somebody:geheim@127.0.0.1:{free_port()}/shop"

    def strangers(self) -> str:
        parts = urlsplit(self.uri)
        return f"postgresql://nobody:geheim@{parts.hostname}:{parts.port}{parts.path}"

    def hurry(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(of_postgres, "_SETTINGS", of_postgres._SETTINGS.replace("20min", "1s"))

    def end_all(self) -> bool:
        reads = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'copy%' and datname = "
        return bool(self.execute(f"{reads} current_database()"))


class MariaDB(Place):
    """A server by MySQL's protocol. Its clock shows another zone than UTC."""

    kind, binary = "mariadb", "BINARY or BLOB"
    types = ("timestamp(6) null", "datetime(6)", "decimal(30,3)", "decimal(12,2)", "boolean", "date", "blob")
    moment = "'{}'"

    def __init__(self, uri: str, admin: dict[str, Any]) -> None:
        self._admin = admin
        super().__init__(uri)

    def execute(self, *statements: str) -> list[Any]:
        with closing(pymysql.connect(**self._admin, autocommit=True)) as session, session.cursor() as cursor:
            cursor.execute("set time_zone = '+00:00', sql_mode = ''")
            for each in statements:
                cursor.execute(each)
            return list(cursor.fetchall())

    def away(self) -> str:
        return f"mysql://somebody:geheim@127.0.0.1:{free_port()}/shop"

    def strangers(self) -> str:
        return f"mysql://nobody:geheim@127.0.0.1:{self._admin['port']}/shop"

    def hurry(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(mysql, "MINUTES", 1 / 60)

    def end_all(self) -> bool:
        found = self.execute("select id from information_schema.processlist where user = 'reader' and info is not null")
        for (number,) in found:
            self.execute(f"kill {number}")
        return bool(found)


class DuckDB(Place):
    """A file, by DuckDB."""

    kind, binary = "duckdb", "BLOB"
    types = ("timestamptz", "timestamp", "decimal(38,3)", "decimal(12,2)", "boolean", "date", "blob")

    def execute(self, *statements: str) -> list[Any]:
        with duckdb.connect(urlsplit(self.uri).path[1:]) as session:
            for each in statements:
                session.execute(each)
            return session.fetchall()

    def away(self) -> str:
        return f"{self.uri}.gone"

    def hurry(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(duckdb_file, "MINUTES", 1 / 60)


class SQLite(Place):
    """A file, by SQLAlchemy, as a database of which nothing is known."""

    kind, binary = "sqlite", "bytes"
    types = ("text", "text", "numeric", "numeric", "boolean", "text", "blob")
    moment = "'{}'"

    def execute(self, *statements: str) -> list[Any]:
        with closing(sqlite3.connect(urlsplit(self.uri).path[1:])) as session:
            for each in statements:
                rows = session.execute(each.replace("raw = 'x'", "raw = x'00'")).fetchall()
            session.commit()
            return rows

    def away(self) -> str:
        return f"{self.uri}.gone"

    def hurry(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(dialects, "MINUTES", 1 / 60)


def made(kind: str, request: pytest.FixtureRequest, folder: Path) -> Place:
    """A database with its table, for the tests of a module."""
    match kind:
        case "postgres":
            url, name = request.getfixturevalue("postgres_url"), f"t{os.getpid()}_{folder.name}"
            postgres.create_databases(url, [name])
            return Postgres(f"{url}/{name}")
        case "duckdb":
            return DuckDB(f"duckdb:///{folder / 'shop.duckdb'}")
        case "sqlite":
            return SQLite(f"sqlite:///{folder / 'shop.sqlite'}")
        case _:
            return _mariadb(request.getfixturevalue("services"), folder)


def _mariadb(services: Processes, folder: Path) -> MariaDB:
    """Debian's MariaDB, with a reader who may only read."""
    server, install, called = (shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in _PROGRAMS)
    if server is None or install is None or called is None:
        packages = "mariadb-server-core mariadb-client-core"
        pytest.skip(f"NOT TRIED on MySQL's protocol: no MariaDB here (Debian: apt-get install {packages})")
    data, port = folder / "data", free_port()
    options = ["--no-defaults", f"--datadir={data}", f"--user={getpass.getuser()}"]
    auth = "--auth-root-authentication-method=normal"
    subprocess.run([install, *options, auth, "--skip-test-db"], check=True, capture_output=True, timeout=120)
    command = [server, *options, "--bind-address=127.0.0.1", f"--port={port}", f"--socket={data / 's'}"]
    command += ["--skip-name-resolve", "--default-time-zone=+05:00", "--innodb-flush-log-at-trx-commit=0"]
    admin = {"host": "127.0.0.1", "port": port, "user": "root", "charset": "utf8mb4"}

    def answers() -> bool:
        try:
            pymysql.connect(**admin).close()
        except pymysql.OperationalError:
            return False
        return True

    service = Service(f"mariadb-{port}", command, dict(os.environ), answers, 60)
    services.start(service)
    services.wait(service)
    password = f"{secrets.token_hex(8)}/@é"
    with closing(pymysql.connect(**admin, autocommit=True)) as session, session.cursor() as cursor:
        cursor.execute("create database shop character set utf8mb4")
        cursor.execute("create user reader@127.0.0.1 identified by %s", [password])
        cursor.execute("grant select, insert, delete, execute on shop.* to reader@127.0.0.1")  # more than it needs
    return MariaDB(f"mysql://reader:{quote(password, safe='')}@127.0.0.1:{port}/shop", admin | {"database": "shop"})
