"""Numbered migrations: what brings the tables of an earlier release to those of this one.

A new table, a new column, a change of what stands in them: one more module here, whose number is the next one, and one
more line in `MIGRATIONS`. What was released is never edited, and knows nothing of today's code: the tables that it
finds are those of its own day.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psycopg
from psycopg import Connection

from evergreen.database.locks import alone
from evergreen.database.migrations import (
    m0001_first_tables,
    m0002_ledger,
    m0003_probabilities,
    m0004_alarms,
    m0005_training_sets,
    m0006_reach,
    m0007_exemptions,
    m0008_publications,
    m0009_prediction_days,
    m0010_erasures,
    m0011_calendars,
    m0012_windows,
    m0013_nothing_noted,
    m0014_understudies,
    m0015_decided,
    m0016_replicas,
    m0017_roles,
    m0018_client_keys,
)
from evergreen.errors import RequestRefused, StoreNewer

log = logging.getLogger(__name__)

_DOING = "looking at the tables of the database evergreen"
_TABLE = (
    "create table if not exists migrations (number int primary key, name text not null, at timestamptz not null "
    "default now())"
)


@dataclass(frozen=True)
class Migration:
    """One step."""

    number: int
    name: str  # what it does, for logs
    step: str | Callable[[Connection], None]  # statements, or a function that runs them


MIGRATIONS = (
    Migration(1, "the first tables", m0001_first_tables.STATEMENTS),
    Migration(2, "the ledger, with the audit trail of before", m0002_ledger.step),
    Migration(3, "predictions by class", m0003_probabilities.STATEMENTS),
    Migration(4, "which missing intervals were told", m0004_alarms.STATEMENTS),
    Migration(5, "what training sets were built from", m0005_training_sets.STATEMENTS),
    Migration(6, "how far the rows of a partition reach", m0006_reach.STATEMENTS),
    Migration(7, "rows that are released from quarantine", m0007_exemptions.STATEMENTS),
    Migration(8, "what partitions were made from", m0008_publications.STATEMENTS),
    Migration(9, "the prediction log by days", m0009_prediction_days.STATEMENTS),
    Migration(10, "erasures that have not ended", m0010_erasures.STATEMENTS),
    Migration(11, "by which calendar partitions were made", m0011_calendars.STATEMENTS),
    Migration(12, "decisions by their windows", m0012_windows.STATEMENTS),
    Migration(13, "statistics without people", m0013_nothing_noted.STATEMENTS),
    Migration(14, "fits that are compared again", m0014_understudies.STATEMENTS),
    Migration(15, "answered classes", m0015_decided.STATEMENTS),
    Migration(16, "model servers and what they have loaded", m0016_replicas.STATEMENTS),
    Migration(17, "roles in the prediction log, and several answers of one request", m0017_roles.STATEMENTS),
    Migration(18, "who may ask the model servers", m0018_client_keys.STATEMENTS),
)


def bring_up(connection: Connection, steps: tuple[Migration, ...] = MIGRATIONS) -> list[Migration]:
    """Take the migrations that the database has not seen, all or none; processes that start at once take them once.

    Args:
        connection: in autocommit, of a login that may make tables, or to a database that has seen all.

    Returns:
        Those that were taken, in order.

    Raises:
        StoreNewer: the database has seen one that this release does not know.
        RequestRefused: the login may not do this.
    """
    try:
        if not _unseen(_seen(connection), steps):
            return []
        with connection.transaction():
            alone(connection, "evergreen migrations")
            # And with it a fresh look at what there is: `to_regclass` takes none within a transaction.
            connection.execute(_TABLE)
            unseen = _unseen(_listed(connection), steps)  # another process may have been faster
            for migration in unseen:
                if callable(migration.step):
                    migration.step(connection)
                else:
                    connection.execute(migration.step.encode())
                connection.execute(
                    "insert into migrations (number, name) values (%s, %s)", [migration.number, migration.name]
                )
    except psycopg.errors.InsufficientPrivilege as error:
        raise RequestRefused(
            _DOING,
            found=str(error).strip(),
            expected="the tables of this release, or a login that may make and change them",
            next_step="run `evergreen migrate` with the login that owns the database (docs/upgrade.md)",
        ) from error
    for migration in unseen:
        log.info("Migration %d of the database evergreen: %s", migration.number, migration.name)
    return unseen


def _seen(connection: Connection) -> dict[int, str]:
    """The migrations that the database has seen, by number."""
    there = connection.execute("select to_regclass('migrations')").fetchone()
    return {} if there is None or there[0] is None else _listed(connection)


def _listed(connection: Connection) -> dict[int, str]:
    return dict(connection.execute("select number, name from migrations order by number").fetchall())


def _unseen(seen: Mapping[int, str], steps: tuple[Migration, ...]) -> list[Migration]:
    """The migrations that a database has not seen.

    Raises:
        StoreNewer: it has seen one that is not among them.
    """
    known = {migration.number: migration.name for migration in steps}
    foreign = [f"{number} ({name})" for number, name in seen.items() if known.get(number) != name]
    if foreign:
        raise StoreNewer(
            _DOING,
            found=f"migrations that this release does not know: {', '.join(foreign)}; a newer release took them",
            expected=f"a database that has seen no others than 1 to {len(known)}",
            next_step="run that release again, or put back the copy of the database from before it (docs/upgrade.md)",
        )
    return [migration for migration in steps if migration.number not in seen]
