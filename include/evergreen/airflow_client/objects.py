"""Loads `airflow_settings.yaml` into a running Airflow, as the Astro CLI does for
its own local start: one file for both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from evergreen.airflow_client.api import AirflowApi
from evergreen.settings import Settings


def load_airflow_settings(here: Settings, file: Path) -> None:
    """Create or update the connections, variables and pools of the file (the Astro CLI's format)."""
    api = AirflowApi.of(here)
    for kind, key, body in objects(yaml.safe_load(file.read_text())["airflow"]):
        if api.call("PATCH", f"/{kind}/{body[key]}", json=body, accept=(404,)) is None:
            api.post(f"/{kind}", body)


def objects(declared: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(REST collection, its key field, body) of every object that has a name."""
    for pool in declared.get("pools") or []:
        if pool.get("pool_name"):
            body = {
                "name": pool["pool_name"],
                "slots": pool["pool_slot"],
                "description": pool.get("pool_description", ""),
            }
            yield "pools", "name", body | {"include_deferred": False}
    for variable in declared.get("variables") or []:
        if variable.get("variable_name"):
            yield "variables", "key", {"key": variable["variable_name"], "value": str(variable["variable_value"])}
    for connection in declared.get("connections") or []:
        if connection.get("conn_id"):
            fields = {"host": "host", "schema": "schema", "login": "login", "password": "password", "port": "port"}
            body = {
                field: connection[f"conn_{name}"] for name, field in fields.items() if connection.get(f"conn_{name}")
            }
            extra = connection.get("conn_extra") or {}
            yield (
                "connections",
                "connection_id",
                body
                | {
                    "connection_id": connection["conn_id"],
                    "conn_type": connection["conn_type"],
                    "extra": extra if isinstance(extra, str) else json.dumps(extra),
                },
            )
