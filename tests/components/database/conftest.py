"""Every table of Evergreen's own, and what a release before left in Postgres."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

from evergreen.database import Table
from evergreen.history import erasures, ledger
from evergreen.lake import calendars, catalogue, publications
from evergreen.monitor import kept_fits
from evergreen.registry import records
from evergreen.serve import idempotency, predictions, replicas
from evergreen.settings import PROJECT, Settings
from evergreen.status import alarms
from evergreen.train import records as training_sets
from evergreen.validate import exemptions

STORED = PROJECT / "tests" / "stored"
TABLES: tuple[Table[Any], ...] = (
    alarms.TABLE,
    calendars.TABLE,
    catalogue.TABLE,
    exemptions.TABLE,
    erasures.TABLE,
    idempotency.TABLE,
    kept_fits.TABLE,
    ledger.TABLE,
    predictions.TABLE,
    publications.TABLE,
    records.CANDIDATES,
    records.VERSIONS,
    replicas.LOADINGS,
    replicas.REPLICAS,
    training_sets.TABLE,
)


def restore(home: Settings, database: str, dump: Path) -> None:
    """Put a dump into one of the databases of a home."""
    with psycopg.connect(home.database_url(database)) as connection:
        connection.execute(dump.read_bytes())
