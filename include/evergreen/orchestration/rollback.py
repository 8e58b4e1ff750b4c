"""Rollback from the Airflow UI: what `evergreen rollback` does, with the form's answers and the name of who filled it in."""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import task

from evergreen.orchestration import assets
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)


def rollback(spec: ModelSpec) -> None:
    """The task `rollback`. Cleared later, it does nothing more: it names the version that it rolls back from."""
    champion = assets.champion(spec)

    @task
    def rollback(**context: Any) -> dict[str, Any]:
        """Let the last known good version serve again, in place of the one that the form names."""
        from evergreen.serve.rollback import rollback

        dag_run, params = context["dag_run"], context["params"]
        actor = f"{dag_run.triggering_user_name or 'unknown'}, run {dag_run.run_id}"
        result = rollback(spec.model, reason=params["reason"], actor=actor, version=params["version"])
        log.info("%s", result["message"])
        context["outlet_events"][champion].extra["version"] = result["to"]
        return result

    rollback.override(outlets=[champion])()
