"""Settings come from the process, then from what the local stack chose, then from the embedded defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from evergreen.errors import PermanentError
from evergreen.settings import DATABASES, Settings, connection_uri


def test_the_process_wins_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "environment").write_text(
        "# chosen\nEVERGREEN_MLFLOW_URL=http://127.0.0.1:1\nEVERGREEN_SERVER_URL=http://127.0.0.1:2\n"
    )
    loaded = Settings.from_environment({"EVERGREEN_HOME": str(tmp_path), "EVERGREEN_SERVER_URL": "http://127.0.0.1:3"})
    assert (loaded.mlflow_url, loaded.server_url, loaded.reports_url) == (
        "http://127.0.0.1:1",
        "http://127.0.0.1:3",
        "http://127.0.0.1:8091",
    )


def test_one_setting_names_a_server_of_the_users(tmp_path: Path) -> None:
    embedded = Settings.from_environment({"EVERGREEN_HOME": str(tmp_path), "EVERGREEN_POSTGRES_PORT": "6000"})
    assert embedded.embedded_database
    assert embedded.database_url("mlflow").endswith("@127.0.0.1:6000/mlflow")
    theirs = Settings.from_environment(
        {
            "EVERGREEN_HOME": str(tmp_path),
            "EVERGREEN_DATABASE": "postgresql://u:p@db:5432",
            "EVERGREEN_DATABASE_PREFIX": "ev_",
        }
    )
    assert not theirs.embedded_database
    assert theirs.database_url("feast", "postgresql+psycopg") == "postgresql+psycopg://u:p@db:5432/ev_feast"


def test_a_database_has_a_url_of_its_own_where_one_is_given(tmp_path: Path) -> None:
    own = "postgresql://feast_owner:p@db:5432/feast?sslmode=require"
    admin = {"EVERGREEN_HOME": str(tmp_path), "EVERGREEN_DATABASE": "postgresql://u:p@db:5432"}
    loaded = Settings.from_environment(admin | {"EVERGREEN_DATABASE_FEAST": own})
    assert loaded.database_url("feast", "postgresql+psycopg") == own.replace("postgresql", "postgresql+psycopg")
    assert loaded.database_url("evergreen") == "postgresql://u:p@db:5432/evergreen"
    six = {variable: f"postgresql://o:p@db/{name}" for name, variable in DATABASES.items()}
    alone = Settings.from_environment({"EVERGREEN_HOME": str(tmp_path)} | six)
    assert not alone.embedded_database and alone.database == ""
    assert alone.database_url("mlflow_auth") == "postgresql://o:p@db/mlflow_auth"


def test_the_channels_of_alerts_are_known_ones() -> None:
    def alerts(stated: str) -> frozenset[str]:
        return Settings.from_environment({"EVERGREEN_ALERTS": stated}).alerts

    assert alerts("log, smtp") == {"log", "smtp"}
    assert alerts("slack,") == {"log", "slack"}
    assert alerts("") == {"log"}
    with pytest.raises(PermanentError, match=r"EVERGREEN_ALERTS\n.*smpt\n.*log, slack, smtp"):
        alerts("log,smpt")


@pytest.mark.parametrize(
    "line",
    [
        "half-of-the-hush-hush",
        "A PASSWORD=hush-hush",
        "the/rest+of/hush+in+base64==",
        "EVERGREEN_AIRFLOW_PASSWORD=hush\0-hush",
        "\x1b[2J=hush-hush",
    ],
)
def test_a_damaged_file_shows_no_secret(tmp_path: Path, line: str) -> None:
    (tmp_path / "environment").write_text(f"EVERGREEN_BIND=x\n{line}\n")
    with pytest.raises(PermanentError, match="line 2 of 3") as raised:
        Settings.from_environment({"EVERGREEN_HOME": str(tmp_path)})
    assert "hush" not in str(raised.value) and "\x1b" not in str(raised.value)


def test_each_database_has_the_setting_that_holds_its_login(tmp_path: Path) -> None:
    theirs = {"EVERGREEN_HOME": str(tmp_path), "EVERGREEN_DATABASE": "postgresql://u:p@db:5432"}
    loaded = Settings.from_environment(theirs | {"EVERGREEN_DATABASE_OPTUNA": "postgresql://o:p@db/optuna"})
    assert (loaded.database_setting("optuna"), loaded.database_setting("feast")) == (
        "EVERGREEN_DATABASE_OPTUNA",
        "EVERGREEN_DATABASE",
    )


def test_secrets_are_not_shown() -> None:
    loaded = Settings.from_environment(
        {
            "EVERGREEN_AIRFLOW_PASSWORD": "quiet-quiet",
            "MLFLOW_TRACKING_PASSWORD": "hush-quiet",
            "EVERGREEN_DATABASE": "postgresql://u:quiet-hush@h",
            "EVERGREEN_DATABASE_FEAST": "postgresql://u:quiet-hush@h/feast",
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "hush-key",
        }
    )
    assert "hush" not in repr(loaded) and "quiet" not in repr(loaded)


@pytest.mark.parametrize(
    ("stated", "uri"),
    [
        ("postgresql://u:p@h:5432/d?sslmode=require", "postgresql://u:p@h:5432/d?sslmode=require"),
        ('{"conn_type": "postgres", "host": "h", "schema": "d"}', "postgres://h/d"),
        (
            '{"conn_type": "postgres", "login": "u@x", "password": "p/:@", "host": "h", "port": 5432, "schema": "d",'
            ' "extra": {"sslmode": "require"}}',
            "postgres://u%40x:p%2F%3A%40@h:5432/d?sslmode=require",
        ),
        ('{"conn_type": "postgres", "host": "/run/pg", "extra": "{\\"a\\": 1}"}', "postgres://%2Frun%2Fpg/?a=1"),
    ],
)
def test_a_connection_of_the_environment_is_a_uri_in_both_of_airflows_forms(
    stated: str, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", stated)
    assert connection_uri("shop_db") == uri


@pytest.mark.parametrize("stated", ["{secret", '{"extra": "secret"}', '{"host": 5, "password": "secret"}'])
def test_a_connection_that_cannot_be_read_shows_nothing_of_it(stated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_DB", stated)
    with pytest.raises(ValueError, match="AIRFLOW_CONN_SHOP_DB is no JSON of a connection") as caught:
        connection_uri("shop_db")
    assert "secret" not in str(caught.value)
    with pytest.raises(LookupError):
        connection_uri("other")


def test_limits_are_whole_numbers_and_the_embedded_data_is_none_of_a_server_of_the_users(tmp_path: Path) -> None:
    def of(**stated: str) -> Settings:
        return Settings.from_environment(
            {"EVERGREEN_HOME": str(tmp_path)} | {f"EVERGREEN_{k}": v for k, v in stated.items()}
        )

    assert (of().client_entities, of().client_requests, of().disk_reserve, of().database_bound) == (2_000, 64, 10**9, 0)
    assert of(DISK_RESERVE_MB="0", DATABASE_BOUND_MB="20000").disk_reserve == 0, "no reserve is a choice"
    assert (of().largest_batch, of(LARGEST_BATCH_MB="5").largest_batch) == (10**9, 5 * 10**6)
    for name, wrong in (
        ("CLIENT_REQUESTS", "0"),
        ("DISK_RESERVE_MB", "-1"),
        ("DATABASE_BOUND_MB", "20 GB"),
        ("LARGEST_BATCH_MB", "0"),
        ("LARGEST_BATCH_MB", "9" * 5_000),
        ("LARGEST_BATCH_MB", "\uff11"),
    ):
        with pytest.raises(PermanentError, match=f"EVERGREEN_{name}"):
            of(**{name: wrong})
    assert of(POSTGRES_DATA="/data").database_folder == Path("/data")
    theirs = of(POSTGRES_DATA="/data", DATABASE="postgresql://u:p@db:5432")
    assert theirs.database_folder is None, "left over from the stack's own"


def test_working_files_stand_below_the_home_for_a_week_unless_said_otherwise(tmp_path: Path) -> None:
    home = {"EVERGREEN_HOME": str(tmp_path)}
    here = Settings.from_environment(home)
    assert (here.staging, here.staging_kept.days) == (str(tmp_path / "staging"), 7)
    elsewhere = {"EVERGREEN_STAGING": "s3://bucket/passes", "EVERGREEN_STAGING_DAYS": "30"}
    here = Settings.from_environment(home | elsewhere)
    assert (here.staging, here.staging_kept.days) == ("s3://bucket/passes", 30)
    with pytest.raises(PermanentError, match=r"EVERGREEN_STAGING_DAYS\n.*'0'"):
        Settings.from_environment(home | {"EVERGREEN_STAGING_DAYS": "0"})


@pytest.mark.parametrize("name", ["EVERGREEN_WHEN_UNCONFIRMED", "EVERGREEN_WHEN_CUT_OFF"])
def test_a_policy_is_one_of_those_that_there_are(name: str) -> None:
    assert Settings.from_environment({}).when_unconfirmed == "undo"
    assert Settings.from_environment({}).when_cut_off == "serve"
    with pytest.raises(PermanentError, match=name) as raised:
        Settings.from_environment({name: "halt"})
    assert " or " in raised.value.expected
