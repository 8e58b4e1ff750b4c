"""Who is not meant to: another database's login, somebody without a password, somebody who guesses,
another user of the machine."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest

from evergreen.addresses import free_port
from evergreen.errors import PermanentError
from evergreen.local import environment, logins, permissions, postgres, stack
from evergreen.local import services as local_services
from evergreen.local.processes import Processes, Service, answers
from evergreen.settings import Settings
from evergreen.throttle import FREE, LONGEST

HERE = f"t{os.getpid()}_hostile_"


def owned(server: str, name: str) -> str:
    """The URL of a database of this test, as its own login."""
    address = urlsplit(server).netloc.rpartition("@")[2]
    return f"postgresql://{HERE}{name}_owner:{secrets.token_hex(8)}@{address}/{HERE}{name}"


def test_a_databases_login_reaches_its_own_and_no_other(postgres_url: str) -> None:
    mine, other = owned(postgres_url, "mine"), owned(postgres_url, "other")
    for _ in range(2):  # at every start
        logins.create_logins(postgres_url, [mine, other], alone=False)
    with psycopg.connect(mine, autocommit=True) as connection:
        connection.execute("create table t (a int)")
        for forbidden in (
            "create database x",
            "create role x",
            "alter role current_user superuser",
            "copy t from program 'id'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden.replace("current_user", f'"{urlsplit(mine).username}"').encode())
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(f"{mine.rpartition('/')[0]}/{HERE}other")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(mine.replace(str(urlsplit(mine).password), "guess"))


def test_a_database_from_before_is_handed_over_with_all_that_is_in_it(postgres_url: str) -> None:
    postgres.create_databases(postgres_url, [f"{HERE}before"])
    with psycopg.connect(f"{postgres_url}/{HERE}before", autocommit=True) as connection:
        connection.execute(
            "create type mood as enum ('a'); create table t (id serial primary key, m mood); create sequence s"
        )
        connection.execute(
            "insert into t (m) values ('a'); create view v as select * from t;"
            " create schema extra; create table extra.u ()"
        )
        connection.execute("create function f() returns int language sql as 'select 1'")
    mine = owned(postgres_url, "before")
    logins.create_logins(postgres_url, [mine], alone=False)
    with psycopg.connect(mine) as connection:
        assert connection.execute("insert into t (m) values ('a') returning id, nextval('s')").fetchone() == (2, 1)
        connection.execute(
            "alter table t add column b int; alter type mood add value 'b'; drop view v; drop table extra.u"
        )
        connection.execute("drop schema extra; drop function f; alter sequence s restart")


@pytest.fixture(scope="module")
def mlflow(services: Processes, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """MLflow with its login, as the stack starts it."""
    home = tmp_path_factory.mktemp("mlflow-login")
    url = f"http://127.0.0.1:{free_port()}"
    chosen = {"EVERGREEN_MLFLOW_URL": url, "EVERGREEN_DATABASE": postgres_url, "EVERGREEN_DATABASE_PREFIX": HERE}
    environment.remember(home, chosen)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATABASE", "DATABASE_PREFIX", "MLFLOW_URL"):
            patch.delenv(f"EVERGREEN_{name}", raising=False)
        here = Settings.from_environment({"EVERGREEN_HOME": str(home)})
        postgres.create_databases(postgres_url, [f"{HERE}mlflow", f"{HERE}mlflow_auth"])
        wanted = local_services.services(here)["mlflow"]
    service = Service("mlflow-login", wanted.command, wanted.environment, lambda: answers(f"{url}/health"))
    services.start(service)
    services.wait(service)
    yield here
    services.stop("mlflow-login")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/models/m/artifacts/MLmodel"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts/1/models/m/artifacts/MLmodel"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts"),
        ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/1/models"),
        ("POST", "/api/2.0/mlflow-artifacts/mpu/create/1/x"),
        ("PUT", "/ajax-api/2.0/mlflow-artifacts/artifacts/1/x"),
        ("POST", "/api/2.0/mlflow/experiments/search"),
        ("POST", "/api/2.0/mlflow/registered-models/alias"),
        ("POST", "/graphql"),
        ("POST", "/ajax-api/3.0/jobs/search"),
        ("GET", "/ajax-api/3.0/jobs/1"),
        ("GET", "/ajax-api/3.0/mlflow/assistant/config"),
        ("POST", "/v1/traces"),
        ("POST", "/gateway/any/mlflow/invocations"),
        ("POST", "/api/2.0/mlflow/users/create"),
    ],
)
def test_mlflow_answers_nobody_without_a_login(mlflow: Settings, method: str, path: str) -> None:
    answer = httpx.request(method, mlflow.mlflow_url + path, content=b"{}", timeout=20)
    assert answer.status_code == 401 and "Basic" in answer.headers["www-authenticate"], "a browser asks for the login"


def test_mlflow_serves_its_own_login_and_sends_nothing_home(mlflow: Settings) -> None:
    login = (mlflow.mlflow_user, mlflow.mlflow_password)
    with httpx.Client(base_url=mlflow.mlflow_url, auth=login, timeout=20) as client:
        assert client.get("/").status_code == 200
        path = "/api/2.0/mlflow-artifacts/artifacts/9/x"
        assert client.put(path, content=b"ours").status_code == 200 and client.get(path).content == b"ours"
        answer = client.get("/ajax-api/3.0/mlflow/ui-telemetry").json()
        assert answer["disable_ui_telemetry"] is True
    assert httpx.get(f"{mlflow.mlflow_url}/health", timeout=20).status_code == 200, "a health check needs no password"


def test_who_guesses_mlflows_password_waits_and_the_tasks_do_not(mlflow: Settings) -> None:
    def ask(password: str) -> httpx.Response:
        return httpx.get(f"{mlflow.mlflow_url}/version", auth=(mlflow.mlflow_user, password), timeout=20)

    refused = []
    while len(refused) < FREE + 6 and 429 not in [
        answer.status_code for answer in refused
    ]:  # a slow machine waits anyway
        refused.append(ask(f"guess {len(refused)}"))
        healthy = httpx.get(f"{mlflow.mlflow_url}/health", auth=(mlflow.mlflow_user, "guess"), timeout=20)
        assert healthy.status_code == 200, "it looks at no password: neither a wrong try nor a right one"
    assert [answer.status_code for answer in refused[:FREE]] == [401] * FREE
    assert refused[-1].status_code == 429 and 0 < int(refused[-1].headers["retry-after"]) <= LONGEST
    assert ask(mlflow.mlflow_password).status_code == 200, "from the same address"


def test_guesses_at_once_that_say_to_come_from_elsewhere_are_one_address(mlflow: Settings) -> None:
    def guess(number: int) -> int:
        elsewhere = {"x-forwarded-for": f"198.51.100.{number}"}
        request = (f"{mlflow.mlflow_url}/version", ("nobody", f"guess {number}"))
        return httpx.get(request[0], auth=request[1], headers=elsewhere, timeout=20).status_code

    with ThreadPoolExecutor(16) as threads:
        statuses = Counter(threads.map(guess, range(40)))
    assert statuses[401] <= FREE + 2 and statuses.total() == statuses[401] + statuses[429], statuses


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address")
@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "//health", {}),  # a page without a login, by another name
        ("OPTIONS", "/version", {"origin": "http://127.0.0.1:3000", "access-control-request-method": "GET"}),
        ("POST", "/api/2.0/mlflow/experiments/search", {"origin": "http://elsewhere.example"}),
        ("POST", "/gateway/any/mlflow/invocations", {"x-mlflow-authorization": "Basic YWRtaW46Z3Vlc3M="}),
    ],
)
def test_what_mlflow_answers_without_a_look_makes_nobody_known(
    mlflow: Settings, method: str, path: str, headers: dict[str, str]
) -> None:
    own = httpx.HTTPTransport(local_address=f"127.0.1.{len(method + path)}")
    with httpx.Client(transport=own, base_url=mlflow.mlflow_url, timeout=20) as client:
        guess, statuses = ("nobody", "guess"), []
        for _ in range(FREE):
            given = None if "x-mlflow-authorization" in headers else guess
            client.request(method, mlflow.mlflow_url + path, headers=headers, auth=given, content=b"{}")
            statuses.append(client.get("/version", auth=guess).status_code)
        assert statuses[:4] == [401] * 4 and 429 in statuses, "each of the two is a try"


def test_no_secret_is_an_argument_or_in_a_log(mlflow: Settings, services: Processes) -> None:
    import psutil

    log = services.log("mlflow-login").read_text()
    (process,) = [p for p in psutil.Process().children(recursive=True) if "--app-name" in p.cmdline()]
    for name, value in environment.secret_values(mlflow).items():
        assert value not in " ".join(process.cmdline()), f"{name} is readable by every user of the machine"
        assert value not in log, f"{name} stands in a log"


def test_an_open_door_with_a_default_password_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(**variables: str) -> Settings:
        return Settings.from_environment({"EVERGREEN_HOME": str(tmp_path), "EVERGREEN_BIND": "0.0.0.0"} | variables)

    stack.check_exposed(bind())  # what is generated is strong
    for name in ("EVERGREEN_AIRFLOW_PASSWORD", "MLFLOW_TRACKING_PASSWORD"):
        for weak in ("admin", "short-but-odd", "a" * 40):
            with pytest.raises(PermanentError, match=name) as raised:
                stack.check_exposed(bind(**{name: weak}))
            assert weak not in str(raised.value).replace("admin's", "") or weak == "admin"
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "passwords.json").write_text('{"admin": "admin"}')  # as a home from before has it
    with pytest.raises(PermanentError, match="EVERGREEN_AIRFLOW_PASSWORD"):
        stack.check_exposed(bind())


def test_a_home_that_others_could_read_is_closed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for folder in ("lake/churn", "logs/airflow", "staging", "postgres/data"):
        (home / folder).mkdir(parents=True)
        (home / folder / "file").write_text("x")
        (home / folder / "file").chmod(0o644)
    (home / "out").symlink_to(tmp_path)
    (home / "environment").write_text("x")
    outside = stat.S_IMODE(tmp_path.stat().st_mode)
    home.chmod(0o755)
    permissions.close_to_others(home)
    assert stat.S_IMODE(home.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)
    loose = [path for path in home.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o077]
    assert all((home / "postgres") in path.parents for path in loose), loose  # in a folder that is closed
    assert stat.S_IMODE(tmp_path.stat().st_mode) == outside


def test_what_a_process_of_the_stack_writes_is_its_owners(services: Processes, tmp_path: Path) -> None:
    code = (
        "import pathlib\n"
        f"pathlib.Path({str(tmp_path / 'x')!r}).mkdir()\n"
        f"pathlib.Path({str(tmp_path / 'x' / 'y')!r}).write_text('')"
    )
    services.start(Service("writer", [sys.executable, "-c", code], dict(os.environ), lambda: True))
    while services.running("writer"):
        pass
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "x" / "y").stat().st_mode) == 0o600
