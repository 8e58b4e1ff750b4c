"""The audit trail: every promotion, rollback and alert; who, when, what, why, with which evidence. Rows are only ever added."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from evergreen.lake import postgres

_DDL = """
create table if not exists audit (
    id text primary key, at timestamptz not null default now(), as_of timestamptz, model text not null,
    event text not null, version bigint, actor text not null, reason text not null, evidence jsonb not null
)"""


def record(
    *,
    id: str,
    as_of: datetime | None,
    model: str,
    event: str,
    version: int | None,
    actor: str,
    reason: str,
    evidence: dict[str, Any],
) -> None:
    """Add an event; a rerun of what caused it, which has the same `id`, adds nothing."""
    postgres.ensure_table(_DDL)
    with postgres.connect() as connection:
        connection.execute(
            "insert into audit (id, as_of, model, event, version, actor, reason, evidence)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict (id) do nothing",
            [id, as_of, model, event, version, actor, reason, Jsonb(evidence)],
        )


def trail(model: str) -> list[dict[str, Any]]:
    """The model's events, oldest first; `at` is the wall clock, `as_of` what the event's run or version knew about."""
    postgres.ensure_table(_DDL)
    with postgres.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("select * from audit where model = %s order by at, id", [model]).fetchall()
