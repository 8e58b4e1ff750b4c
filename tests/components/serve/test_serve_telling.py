"""The owner hears of what is wrong with what serves, once for as long as it lasts, by a run that looks each hour."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException

from evergreen.orchestration import serving
from evergreen.settings import settings
from tests.listeners import Http, Listener

from .conftest import ServedModel, until


def test_what_a_person_changes_in_mlflow_is_told_to_the_owner_once(
    alone: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone.serve()
    alone.champion(3)
    alone.champion(5)
    context: dict[str, Any] = {
        "dag": DAG(serving.DAG_ID),
        "ti": SimpleNamespace(task_id="look", log_url="http://127.0.0.1:8080/log"),
        "run_id": "scheduled__2026-01-05T0117Z",
    }
    with Listener(Http) as channel:
        host, port = channel.server_address[:2]
        connection = {"conn_type": "slackwebhook", "password": f"http://{host}:{port}/services/T0/B0/X"}
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", json.dumps(connection))
        monkeypatch.setenv("EVERGREEN_ALERTS", "slack")
        settings.cache_clear()

        def looked() -> list[str]:
            """What is said by a run that looks now."""
            channel.heard.clear()
            serving.look(alone.spec, context)
            return list(channel.heard)

        person = mlflow.MlflowClient()
        until(lambda: alone.server.describe(alone.name)["problem"] is None, "all is well", 50)
        assert looked() == []
        for _ in range(2):  # what was right in between is told again
            person.set_registered_model_alias(alone.name, "champion", "1")
            until(lambda: alone.server.describe(alone.name)["problem"], "the server notices", 50)
            (said,) = looked()
            assert alone.name in said and "the alias champion names version 1" in said
            assert looked() == looked() == [], "once, as long as it lasts"
            person.set_registered_model_alias(alone.name, "champion", "2")
            until(lambda: alone.server.describe(alone.name)["problem"] is None, "all is well again", 50)
            assert looked() == []

        person.delete_registered_model_alias(alone.name, "champion")
        monkeypatch.setenv("EVERGREEN_SERVER_URL", "http://127.0.0.1:1")
        settings.cache_clear()
        (said,) = looked()
        assert "the alias champion names none" in said, "also while the server is away"
    channel.heard.clear()
    person.set_registered_model_alias(alone.name, "champion", "1")
    serving.look(alone.spec, context)
    with Listener(Http) as channel:
        host, port = channel.server_address[:2]
        connection["password"] = f"http://{host}:{port}/services/T0/B0/X"
        monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", json.dumps(connection))
        serving.look(alone.spec, context)
        assert "names version 1" in channel.heard[0], "what no channel took is told by the next run"


def test_what_cannot_be_looked_at_waits_for_the_next_run(alone: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVER", "MLFLOW"):
        monkeypatch.setenv(f"EVERGREEN_{name}_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings.cache_clear()
    monkeypatch.setattr(serving, "load", lambda *_: SimpleNamespace(models={alone.name: alone.spec}))
    with pytest.raises(AirflowSkipException, match="not looked at"):
        serving.ServingOperator(task_id="look", name_of=alone.name).execute({})
    serving.ServingOperator(task_id="look", name_of="gone").execute({})
