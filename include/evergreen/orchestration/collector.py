"""How Airflow's OpenLineage provider finds the collector that `EVERGREEN_OPENLINEAGE_URL` names.

Off by default. The provider reads its settings once in a process, so this module is used before any of it is loaded,
and loads nothing itself.
"""

from __future__ import annotations

import json
from collections.abc import MutableMapping

# A task waits for the collector so many seconds at most, at its start and at its end.
LONGEST_WAIT = 3
_ANSWER_WITHIN = 1  # seconds, of one of the two attempts for an event


def configure(url: str, environment: MutableMapping[str, str]) -> None:
    """Tell the provider of the collector's address, if there is one; what an environment says to the provider itself
    stays."""
    if not url:
        return
    transport = {"type": "http", "url": url, "timeout": _ANSWER_WITHIN, "retry": {"total": 1}}
    variables = {
        "TRANSPORT": json.dumps(transport),
        "NAMESPACE": "evergreen",
        "EXECUTION_TIMEOUT": str(LONGEST_WAIT),
        # A process that is forked for it can leave the task's line to its supervisor broken, and the task running.
        "EXECUTE_IN_THREAD": "True",
    }
    for name, value in variables.items():
        environment.setdefault(f"AIRFLOW__OPENLINEAGE__{name}", value)
