"""The owner hears of what is wrong with what serves, once for as long as it lasts, by a run that looks each hour."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException

from evergreen.orchestration import serving
from evergreen.serve import stages as serve
from evergreen.settings import settings
from tests.listeners import Http, Listener

from .conftest import ServedModel, until


@contextmanager
def told_to(alone: ServedModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """What the owner's channel hears of a run that looks now."""
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
            channel.heard.clear()
            serving.look(alone.spec, context)
            return list(channel.heard)

        yield looked


def test_a_server_that_goes_and_comes_makes_no_problem_told_twice(
    alone: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two problems one is known to the server alone, and MLflow has the other, whoever asks it."""
    alone.serve()
    alone.champion(3)
    champion = alone.registered(5, seed=902)
    serve.deploy(alone.run(5), champion)
    alone.server.stop()
    alone.damage(champion.run.id)
    shutil.rmtree(alone.settings.home / "served" / alone.name)  # the server's own copies
    mlflow.MlflowClient().set_registered_model_alias(alone.name, "champion", "1")

    def looked_at() -> bool:
        return bool(alone.server.describe(alone.name)["looked"])

    with told_to(alone, monkeypatch) as looked:
        (said,) = looked()
        assert "the alias champion names version 1" in said, "while the server is away"
        alone.serve()
        until(looked_at, "the server compares", 50)
        (said,) = looked()
        assert "version 2 could not be loaded" in said and "the alias" not in said, "nothing but what is new"
        assert looked() == []
        alone.server.stop()
        assert looked() == [], "nobody can say that it is right"
        alone.serve()
        assert looked() == [], "as soon as it answers"
        until(looked_at, "the server compares", 50)
        assert looked() == []
        mlflow.MlflowClient().set_registered_model_alias(alone.name, "champion", "2")
        until(lambda: len(alone.server.describe(alone.name)["problems"]) == 1, "one is mended", 50)
        assert looked() == [], "the other was told"


def test_what_a_person_changes_in_mlflow_is_told_to_the_owner_once(
    alone: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone.serve()
    alone.champion(3)
    alone.champion(5)
    with told_to(alone, monkeypatch) as looked:
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
    person.set_registered_model_alias(alone.name, "champion", "1")
    assert looked() == [], "the channel is away"
    with told_to(alone, monkeypatch) as looked:
        (said,) = looked()
        assert "names version 1" in said, "what no channel took is told by the next run"


def test_what_cannot_be_looked_at_waits_for_the_next_run(alone: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVER", "MLFLOW"):
        monkeypatch.setenv(f"EVERGREEN_{name}_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings.cache_clear()
    monkeypatch.setattr(serving, "load", lambda *_: SimpleNamespace(models={alone.name: alone.spec}))
    with pytest.raises(AirflowSkipException, match="not looked at"):
        serving.ServingOperator(task_id="look", name_of=alone.name).execute({})
    serving.ServingOperator(task_id="look", name_of="gone").execute({})
