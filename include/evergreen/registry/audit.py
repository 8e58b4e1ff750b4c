"""The audit trail: every promotion, rollback, adoption and alert; who, when, what, why, with which evidence. Rows are only ever added.

Which version is the champion is what its promotions and rollbacks have led to. MLflow's aliases follow, for people to look at.
"""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import Any

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from evergreen import database
from evergreen.registry import rules


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
    with database.connect() as connection:
        connection.execute(
            "insert into audit (id, as_of, model, event, version, actor, reason, evidence)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict (id) do nothing",
            [id, as_of, model, event, version, actor, reason, Jsonb(evidence)],
        )


def trail(model: str) -> list[dict[str, Any]]:
    """The model's events, oldest first; `at` is the wall clock, `as_of` what the event's run or version knew about."""
    with database.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute("select * from audit where model = %s order by at, id", [model]).fetchall()


def standing(model: str) -> rules.Standing:
    """The model's champion and last known good version."""
    return rules.standing(trail(model))


def standings() -> dict[str, rules.Standing]:
    """Those of every model that has any."""
    with database.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
        events = cursor.execute(
            "select model, event, version, evidence from audit where event in ('promotion', 'rollback') order by model, at, id"
        ).fetchall()
    return {model: rules.standing(own) for model, own in groupby(events, key=lambda event: event["model"])}
