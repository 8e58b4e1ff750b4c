"""The person who allows the demo's versions. They answer by Airflow's REST API, with a login of their own, as each of a
model's approvers may from any program."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from evergreen.airflow_client.api import AirflowApi
from evergreen.airflow_client.runs import AirflowRuns, moment
from evergreen.handovers.train import Judged
from evergreen.settings import Settings

# Airflow 3.3.2 takes an answer within a second of the question for a failure of the task that asked, whose worker has
# not ended yet, and asks again after the retry's delay. No person is as quick.
PAUSE = timedelta(seconds=2)


class Approver:
    """One user of the local Airflow."""

    def __init__(self, here: Settings, name: str) -> None:
        passwords = json.loads((here.home / "airflow" / "passwords.json").read_text())
        self.name = name
        self.runs = AirflowRuns(AirflowApi(here.airflow_url, name, passwords[name]))

    def look(self, run: dict[str, Any]) -> str | None:
        """Allow the version of a training that waits for somebody; the reason that was given, None where nothing was
        asked, or was answered already."""
        path = f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances/approve/-1/hitlDetails"
        asked = self.runs.api.call("GET", path, accept=(404,))
        if asked is None or asked["response_received"] or asked["task_instance"]["state"] != "awaiting_input":
            return None
        if datetime.now(UTC) - moment(asked["created_at"]) < PAUSE:
            return None
        gates = Judged.from_json(self.runs.result(run, "gates"), task="gates", subject=run["dag_run_id"])
        reason = _reason(gates)
        self.runs.api.patch(path, {"chosen_options": ["Approve"], "params_input": {"reason": reason}})
        return reason


def _reason(judged: Judged) -> str:
    """What speaks for a version, to who looked at its gates."""
    score = f"a {judged.metric} of {judged.score:.3f}" if judged.score is not None else "no score"
    gates = f"all {len(judged.gates)} gates passed, with {score} on days that no search saw"
    if judged.compared_with is None:
        return f"a wrong call costs 4 EUR, and {gates}"
    return f"version {judged.compared_with} no longer tells who leaves; {gates}"
