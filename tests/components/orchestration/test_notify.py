"""Who hears of a failed task, by each channel: the message goes over a real socket to a server of the test's own."""

from __future__ import annotations

import asyncio
import email
import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from evergreen.errors import BatchMissing
from evergreen.settings import PROJECT, Settings, settings
from evergreen.spec.load import load_spec
from tests.listeners import Http, Listener, Smtp

FAILURE = BatchMissing(
    "reading the batch of churn/usage of 2026-01-05",
    found="no such file",
    expected="landing/churn/usage/2026-01-05.csv",
    next_step="ask the upstream system for the file",
)


@pytest.fixture
def listener(request: pytest.FixtureRequest) -> Iterator[Listener]:
    with Listener(request.param) as server:
        yield server


def notify(
    monkeypatch: pytest.MonkeyPatch,
    channels: str,
    warnings: list[str] | None = None,
    reason: str | None = None,
    told_as: str | None = None,
    **connections: dict[str, Any],
) -> None:
    """Call every notifier of the churn model, as Airflow does after a task failed,
    after one that warns, or after a failed run."""
    monkeypatch.setenv("EVERGREEN_ALERTS", channels)
    for name, connection in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
    settings.cache_clear()
    from airflow.sdk import DAG

    from evergreen.orchestration import notify

    spec = load_spec(PROJECT / "include" / "models" / "churn")
    task = SimpleNamespace(
        task_id="extract",
        log_url="http://127.0.0.1:8080/log",
        xcom_pull=lambda task_ids: {"warnings": warnings, "told_as": told_as},
    )
    dag = DAG("churn__ingest", dagrun_timeout=timedelta(hours=8))
    context = {"dag": dag, "ti": task, "run_id": "scheduled__2026-01-05"}
    context |= {"exception": FAILURE} if reason is None else {"reason": reason}
    of = notify.of_timeouts if reason else notify.of_failures if warnings is None else notify.of_warnings
    for notifier in of(spec):
        notifier(context)
    settings.cache_clear()


@pytest.mark.parametrize("listener", [Smtp], indirect=True)
def test_a_mail_goes_to_the_models_owner_with_the_message_and_the_next_step(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port = listener.server_address[:2]
    connection = {
        "conn_type": "smtp",
        "host": host,
        "port": port,
        "extra": {"disable_ssl": True, "disable_tls": True, "from_email": "evergreen@example.com"},
    }
    notify(monkeypatch, "smtp", SMTP_DEFAULT=connection)
    mail = email.message_from_string(listener.heard[0])
    assert mail["To"] == "retention@example.com"
    assert mail["Subject"].startswith("Evergreen: churn__ingest extract failed")
    (body,) = [part.get_payload(decode=True).decode() for part in mail.walk() if not part.is_multipart()]
    assert "next step: ask the upstream system for the file" in body


@pytest.mark.parametrize("listener", [Http], indirect=True)
def test_a_task_that_warns_tells_of_what_and_one_that_does_not_is_silent(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port = listener.server_address[:2]
    connection = {"conn_type": "slackwebhook", "password": f"http://{host}:{port}/services/T0/B0/X"}
    notify(monkeypatch, "slack", warnings=[], SLACK_DEFAULT=connection)
    warnings = ["nulls of spent grew by 90%", "a data incident: nothing is retrained"]
    notify(monkeypatch, "slack", warnings=warnings, SLACK_DEFAULT=connection)
    (said,) = listener.heard
    assert (
        "churn__ingest extract warns" in said
        and "nulls of spent grew by 90%" in said
        and "nothing is retrained" in said
    )


@pytest.mark.parametrize("listener", [Http], indirect=True)
def test_what_the_ledger_has_told_is_sent_once_however_often_its_task_is_cleared(
    home: Settings, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port = listener.server_address[:2]
    connection = {"conn_type": "slackwebhook", "password": f"http://{host}:{port}/services/T0/B0/X"}
    for told_as in ("alert/a", "alert/a", "alert/b", "alert/b"):
        notify(monkeypatch, "slack", [f"it began, {told_as}"], told_as=told_as, SLACK_DEFAULT=connection)
    assert ["alert/a" in listener.heard[0], "alert/b" in listener.heard[1], len(listener.heard)] == [True, True, 2]


@pytest.mark.parametrize("listener", [Http], indirect=True)
def test_a_run_that_its_time_limit_ended_is_told_and_one_whose_task_failed_was_told_already(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port = listener.server_address[:2]
    connection = {"conn_type": "slackwebhook", "password": f"http://{host}:{port}/services/T0/B0/X"}
    for reason in ("task_failure", "timed_out"):
        notify(monkeypatch, "slack", reason=reason, SLACK_DEFAULT=connection)
    (said,) = listener.heard
    assert "churn__ingest extract failed" in said and "time limit (8:00:00)" in said


@pytest.mark.parametrize("listener", [Http], indirect=True)
def test_a_run_that_is_late_is_told_once_it_is_and_not_after_it_has_ended(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the triggerer calls it: with the run as JSON, on its event loop."""
    host, port = listener.server_address[:2]
    monkeypatch.setenv("EVERGREEN_ALERTS", "slack")
    monkeypatch.setenv("EVERGREEN_MODELS", str(PROJECT / "include" / "models"))
    webhook = {"conn_type": "slackwebhook", "password": f"http://{host}:{port}/services/T0/B0/X"}
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_DEFAULT", json.dumps(webhook))
    settings.cache_clear()
    from evergreen.orchestration import notify

    run = {"dag_id": "churn__ingest", "dag_run_id": "scheduled__1", "data_interval_start": "2026-01-05T00:00:00Z"}
    for of, state in (("dataset", "running"), ("model", "queued"), ("dataset", "failed"), ("model", "success")):
        context = {"dag_run": run | {"state": state}, "deadline": {"id": "1", "deadline_time": "2026-01-06 03:00"}}
        asyncio.run(notify.late("churn", of, context))
    settings.cache_clear()
    assert len(listener.heard) == 2, "a failed task has told already"
    for said, state in zip(listener.heard, ("running", "queued"), strict=True):
        assert "churn__ingest is late" in said and f"it is {state}" in said and "2026-01-06 03:00" in said


@pytest.mark.parametrize("listener", [Http], indirect=True)
def test_slack_gets_the_message_and_the_next_step(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    host, port = listener.server_address[:2]
    connection = {"conn_type": "slackwebhook", "password": f"http://{host}:{port}/services/T0/B0/X"}
    notify(monkeypatch, "slack", SLACK_DEFAULT=connection)
    (said,) = listener.heard
    assert "churn__ingest extract failed" in said and "ask the upstream system for the file" in said


def test_the_log_ends_with_the_next_step(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, logger="evergreen.alerts"):
        notify(monkeypatch, "log")
    lines = [record.getMessage() for record in caplog.records]
    assert "retention <retention@example.com>" in lines[0]
    assert lines[-1] == "Next step: ask the upstream system for the file"


@pytest.mark.parametrize("listener", [Smtp], indirect=True)
def test_the_owners_of_the_models_that_use_a_broken_dataset_hear_what_they_miss(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from airflow.sdk import DAG

    from evergreen.orchestration import notify
    from evergreen.spec.load import load

    host, port = listener.server_address[:2]
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "evergreen@example.com"}
    monkeypatch.setenv("EVERGREEN_ALERTS", "smtp")
    monkeypatch.setenv(
        "AIRFLOW_CONN_SMTP_DEFAULT", json.dumps({"conn_type": "smtp", "host": host, "port": port, "extra": extra})
    )
    settings.cache_clear()
    declared = load(PROJECT / "include" / "models")
    (churn,) = (dataset for dataset in declared.valid_datasets if dataset.name == "churn")
    users = [model for model in declared.valid_models if "churn" in model.data]
    task = SimpleNamespace(task_id="validate", log_url="http://127.0.0.1:8080/log")
    context = {"dag": DAG("churn__ingest"), "ti": task, "run_id": "r", "exception": FAILURE}
    with caplog.at_level(logging.ERROR, logger="evergreen.alerts"):
        for notifier in notify.of_failures(churn, users):
            notifier(context)
    settings.cache_clear()
    mails = [email.message_from_string(heard) for heard in listener.heard]
    assert sorted(mail["To"] for mail in mails) == [
        "marketing@example.com",
        "retention@example.com",
        "support@example.com",
    ]
    (mail,) = (mail for mail in mails if mail["To"] == "support@example.com")
    (body,) = [part.get_payload(decode=True).decode() for part in mail.walk() if not part.is_multipart()]
    missing = (
        "the model tickets misses the features of account, activity, payments_support and the rows of customers, "
        "tickets for its label"
    )
    assert missing in body and "next step: ask the upstream system for the file" in body
    lines = [record.getMessage() for record in caplog.records]
    assert f"support <support@example.com> is told: {missing}" in lines
    assert any(line.startswith("retention <retention@example.com> is told: the model churn misses") for line in lines)
    assert lines[-1].startswith("Next step:"), "the log still ends with what to do"
