"""What a service's HTTP status means for a retry, whichever service answers:
asked over a socket, by the clients of each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from optuna.exceptions import StorageInternalError

from evergreen.airflow_client.api import AirflowApi
from evergreen.errors import EvergreenError, PermanentError, RequestRefused, TransientError
from evergreen.ingest import landing
from evergreen.lake import catalogue
from evergreen.lake.schema import RAW
from evergreen.local import postgres as local_postgres
from evergreen.registry import store, tracking
from evergreen.serve import client
from evergreen.settings import DATABASES, Settings, settings
from evergreen.train import tuning


class Refusing(BaseHTTPRequestHandler):
    """Answers everything with the server's status, and a page as a proxy's or JSON as the service's own."""

    server: Any

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json" if self.server.body.startswith(b"{") else "text/html")
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_POST = do_PUT = do_PATCH = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: pytest shows what is asked in the assertion."""


@pytest.fixture(scope="module")
def refusing() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    server.status, server.body = 500, b"no"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def refusing_services(refusing: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The refusing server, in the place of every service."""
    url = f"http://127.0.0.1:{refusing.server_address[1]}"
    for name in ("EVERGREEN_MLFLOW_URL", "EVERGREEN_SERVER_URL", "EVERGREEN_AIRFLOW_URL", "AWS_ENDPOINT_URL"):
        monkeypatch.setenv(name, url)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "EVERGREENTESTKEY0001")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # it keeps the credentials of its first client
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    settings.cache_clear()
    yield refusing
    settings.cache_clear()


def _airflow() -> None:
    api = AirflowApi(settings().airflow_url, "admin", "admin")
    api._http.headers["Authorization"] = "Bearer x"
    api.get("/dags")


def _airflow_login() -> None:
    AirflowApi(settings().airflow_url, "admin", "wrong").get("/dags")


ASKING: dict[str, tuple[Callable[[], object], str]] = {
    "airflow": (_airflow, "EVERGREEN_AIRFLOW_PASSWORD"),
    "airflow's login": (_airflow_login, "EVERGREEN_AIRFLOW_PASSWORD"),
    "server": (lambda: client.serving("churn"), "what stands before it"),
    "registry": (lambda: store.registered("churn"), "MLFLOW_TRACKING_PASSWORD"),
    "tracking": (
        lambda: tracking.find("churn", "key", "mlp", study="a study", is_idle=lambda _: True),
        "MLFLOW_TRACKING_PASSWORD",
    ),
    "s3": (
        lambda: landing.read("s3://evergreen", "a/{partition}.csv", "2026-01-05", "churn/a"),
        "AWS_SECRET_ACCESS_KEY",
    ),
}
BODIES = {"json": b'{"error_code": "%s", "message": "no", "detail": "no"}', "page": b"<html>no</html>"}


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("service", ASKING)
def test_a_status_is_permanent_or_transient_whoever_answers_it(refusing_services: Any, service: str, body: str) -> None:
    ask, setting = ASKING[service]
    errors: dict[int, EvergreenError] = {}
    for status in (400, 401, 403, 404, 408, 409, 422, 425, 429, 500, 502, 503, 504):
        refusing_services.status = status
        refusing_services.body = BODIES[body].replace(b"%s", CODES.get(status, "NO_SUCH_CODE").encode())
        with_none = service == "server" and status == 404  # it serves none of the model
        try:
            assert ask() is None and with_none, f"{service} took {status} for an answer"
        except EvergreenError as error:
            errors[status] = error
    transient = {status for status, error in errors.items() if isinstance(error, TransientError)}
    permanent = {status for status, error in errors.items() if isinstance(error, PermanentError)}
    assert permanent >= {400, 401, 403, 409, 422} and transient >= {408, 425, 429, 500, 502, 503, 504}
    assert not permanent & {408, 425, 429, 500, 502, 503, 504}
    for status in (401, 403):
        assert setting in errors[status].next_step and str(status) in errors[status].found, str(errors[status])
    assert "retried" not in errors[422].next_step and "retried" in errors[503].next_step


# MLflow's own codes stand in its JSON; what else answers in its place says only a status.
CODES = {
    400: "INVALID_PARAMETER_VALUE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    408: "408",
    409: "409",
    422: "INVALID_PARAMETER_VALUE",
    425: "425",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    502: "502",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def test_a_login_that_the_database_keeps_out_is_permanent_and_its_setting_is_named(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each database has a login of its own, which may connect to no other."""
    with psycopg.connect(f"{home.database}/postgres", autocommit=True) as admin:
        admin.execute("create role kept_out login password 'hush'")
        admin.execute("create database closed")
        admin.execute("revoke connect on database closed from public")
    server = home.database.rpartition("@")[2]
    try:
        for name, ask in {
            "evergreen": lambda: catalogue.published(RAW.of("shop", "visits")),
            "optuna": lambda: tuning.is_idle("a study"),
        }.items():
            monkeypatch.setenv(DATABASES[name], f"postgresql://kept_out:hush@{server}/closed")
            settings.cache_clear()
            with pytest.raises(
                RequestRefused, match=rf"permission denied for database[\s\S]*{DATABASES[name]};"
            ) as raised:
                ask()
            assert "hush" not in str(raised.value), name
    finally:
        with psycopg.connect(f"{home.database}/postgres", autocommit=True) as admin:
            admin.execute("drop database closed")
            admin.execute("drop role kept_out")


def _search() -> None:
    tuning.search("a study", lambda _: iter([1.0]), trials=1, seed=1, maximize=True)


def test_a_search_whose_login_is_refused_midway_is_permanent(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optuna connects by itself, and tells of the refusal in two ways: at its tables, and in words of its own later."""
    from sqlalchemy.exc import OperationalError

    for at in ("create_study", "storages.RDBStorage"):
        with monkeypatch.context() as patch:

            def refuse(*_: object, at: str = at, **__: object) -> None:
                cause = OperationalError(
                    "select 1", {}, Exception('FATAL:  password authentication failed for user "o"')
                )
                raise (StorageInternalError("guesses") if at == "create_study" else cause) from cause

            patch.setattr(f"optuna.{at}", refuse)
            with pytest.raises(RequestRefused, match="password authentication failed") as raised:
                _search()
            assert "EVERGREEN_DATABASE" in raised.value.next_step and "guesses" not in str(raised.value)


def test_a_wrong_password_of_the_database_is_permanent(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    password = str(urlsplit(home.database).password)
    monkeypatch.setenv("EVERGREEN_DATABASE", home.database.replace(password, "wrong-hush"))
    settings.cache_clear()
    asking = {
        "the lake's catalogue": lambda: catalogue.published(RAW.of("shop", "visits")),
        "the stack": lambda: local_postgres.create_databases(settings().database, ["one"]),
    }
    for name, ask in asking.items():
        with pytest.raises(RequestRefused, match=r"password authentication failed[\s\S]*EVERGREEN_DATABASE") as raised:
            ask()
        assert "hush" not in str(raised.value), name
