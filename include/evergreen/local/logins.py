"""One Postgres login per database: it owns that one, may connect to no other, and is no superuser."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from evergreen.answers import Remote, of_postgres
from evergreen.errors import PermanentError

if TYPE_CHECKING:
    import psycopg

_DOING = "making a login for each database"
# What a database holds that somebody else owns, as the start of `alter … owner to`. The
# sequences of columns follow their tables.
_FOREIGN = """
select format(
         'alter %%s %%s',
         case c.relkind
           when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' else 'table'
         end,
         c.oid::regclass
       )
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind in ('r', 'p', 'v', 'm', 'S')
   and c.relowner <> (select oid from pg_roles where rolname = %(owner)s)
   and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
   and not exists (
         select from pg_depend d
          where d.objid = c.oid and d.classid = 'pg_class'::regclass
            and d.deptype in ('a', 'i', 'e') and d.refobjsubid > 0
       )
union all
select format('alter type %%s', t.oid::regtype)
  from pg_type t join pg_namespace n on n.oid = t.typnamespace
 where t.typtype in ('e', 'd')
   and t.typowner <> (select oid from pg_roles where rolname = %(owner)s)
   and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
union all
select format('alter routine %%s', p.oid::regprocedure)
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
 where p.proowner <> (select oid from pg_roles where rolname = %(owner)s)
   and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
union all
select format('alter schema %%I', nspname)
  from pg_namespace
 where nspname !~ '^pg_' and nspname not in ('information_schema', 'public')
   and nspowner <> (select oid from pg_roles where rolname = %(owner)s)
"""


def create_logins(admin: str, urls: Iterable[str], *, alone: bool) -> None:
    """Create those of the databases that are missing, each with its login; again at every start, and harmless.

    A database that the admin owned until now is handed over, with all that is in it.

    Args:
        admin: postgresql://user:password@host:port, which may create roles and databases.
        urls: whole URLs of the databases on that server.
        alone: the server is only ours: nobody may use its maintenance databases either.

    Raises:
        ServiceUnavailable: the server does not answer, or the admin may not do this.
    """
    import psycopg
    from psycopg import sql

    try:
        with psycopg.connect(f"{admin}/postgres", autocommit=True) as connection:
            for url in urls:
                _create(connection, admin, url)
            if alone:
                for name in ("postgres", "template1"):
                    connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(name)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise PermanentError(
            _DOING,
            found=str(error).strip(),
            expected="a login that may create roles and databases",
            next_step="give EVERGREEN_DATABASE such a login, or make the logins by hand (docs/deployment.md)",
        ) from error
    except psycopg.OperationalError as error:
        server = Remote(
            "the database server", "EVERGREEN_DATABASE (postgresql://user:password@host:port)", "EVERGREEN_DATABASE"
        )
        raise of_postgres(_DOING, error, server) from error


def _create(connection: psycopg.Connection, admin: str, url: str) -> None:
    import psycopg
    from psycopg import sql

    parts = urlsplit(url)
    name, login, password = (unquote(part or "") for part in (parts.path.lstrip("/"), parts.username, parts.password))
    role, database = sql.Identifier(login), sql.Identifier(name)
    # The server sees the password's hash alone: a statement that fails stands in its log.
    hashed = connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256")
    there = connection.execute("select 1 from pg_roles where rolname = %s", [login]).fetchone()
    connection.execute(
        sql.SQL("{} role {} with login nosuperuser nocreatedb nocreaterole password {}").format(
            sql.SQL("alter" if there else "create"), role, sql.Literal(hashed.decode())
        )
    )
    mine = connection.execute("select rolsuper from pg_roles where rolname = current_user").fetchone()
    if mine is not None and not mine[0]:  # who is no superuser gives away only to a role that it is a member of
        connection.execute(sql.SQL("grant {} to current_user").format(role))
    owner = connection.execute("select pg_get_userbyid(datdba) from pg_database where datname = %s", [name]).fetchone()
    if owner is None:
        connection.execute(sql.SQL("create database {} owner {}").format(database, role))
    elif owner[0] != login:
        with psycopg.connect(f"{admin}/{parts.path.lstrip('/')}") as inside:
            for (what,) in inside.execute(_FOREIGN, {"owner": login}).fetchall():
                inside.execute(sql.SQL(what) + sql.SQL(" owner to {}").format(role))
            inside.execute(sql.SQL("alter database {} owner to {}").format(database, role))
    connection.execute(sql.SQL("revoke all on database {} from public").format(database))
