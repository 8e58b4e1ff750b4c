"""The ledger, and in it what stood in the table `audit`: each event of the
release before, in its order and with its time.

The table keeps what it has under the name `audit_before_ledger`. Nobody reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection

_TABLES = """
create table ledger (
    number bigint primary key, id text not null unique, at timestamptz not null, model text not null,
    event text not null, body text not null, previous text not null unique, hash text not null
);
create index ledger_of_a_kind on ledger (event, model, number);
create index ledger_of_a_model on ledger (model, number);
create function ledger_is_only_added_to() returns trigger language plpgsql as
    $$ begin raise exception 'the ledger is only added to'; end $$;
create trigger ledger_is_only_added_to before update or delete or truncate on ledger
    for each statement execute function ledger_is_only_added_to();
lock table audit in access exclusive mode
"""
_AUDITED = """
select id, at, as_of, model, event, version, actor, reason, evidence from audit
union all
select 'registered/' || v.model || '/' || v.number, v.at, v.as_of, v.model, 'registration', v.number,
    'a release before the ledger', 'registered',
    jsonb_build_object('run_id', v.run_id, 'key', v.key, 'family', c.family)
from versions v join candidates c using (run_id)
order by 2, 1
"""


def step(connection: Connection) -> None:
    """Make the ledger and take the events over."""
    connection.execute(_TABLES)
    previous = "0" * 64
    for number, audited in enumerate(connection.execute(_AUDITED).fetchall(), 1):
        id, at, as_of, model, event, version, actor, reason, evidence = audited
        kind, more = _event(event, version, evidence)
        content = {
            "id": id,
            "model": model,
            "as_of": None if as_of is None else _moment(as_of),
            "actor": actor,
            "reason": reason,
            "taken_over": True,
            "event": kind,
            **more,
        }
        body = json.dumps(content, sort_keys=True, separators=(",", ":"))
        row = [number, id, at.astimezone(UTC).isoformat(timespec="microseconds"), model, kind, body, previous]
        hashed = hashlib.sha256(json.dumps(row, separators=(",", ":")).encode()).hexdigest()
        connection.execute(
            "insert into ledger values (%s, %s, %s, %s, %s, %s, %s, %s)",
            [number, id, at, model, kind, body, previous, hashed],
        )
        previous = hashed
    connection.execute("alter table audit rename to audit_before_ledger")


def _event(event: str, version: int | None, evidence: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind of an audited event, and the fields that are its own."""
    match event:
        case "promotion":
            return "promoted", {
                "version": version,
                "replaced": evidence.get("replaced"),
                "run_id": evidence.get("mlflow_run_id"),
                "key": evidence.get("key"),
                "decision_id": evidence.get("decision_id"),
            }
        case "rollback":
            return "rolled back", {"version": version, "left": evidence["from"]}
        case "adoption":
            return "adopted", {
                "version": version,
                "run_id": evidence["mlflow_run_id"],
                "sha256": evidence["sha256"],
            }
        case "alert":
            return "alerted", {"decision_id": evidence["decision_id"]}
        case "registration":
            return "registered", {"version": version, **evidence}
    raise ValueError(f"the table audit has an event {event!r}, which no release wrote")


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
