"""What each process of the stack may see, and what is kept between starts."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from evergreen.errors import PermanentError
from evergreen.local import environment
from evergreen.settings import Settings

PASSING = "AWS_SECRET_ACCESS_KEY"  # the caller's own: the object store's


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    environment.remember(tmp_path, {"EVERGREEN_POSTGRES_PORT": "6000"})
    monkeypatch.setenv(PASSING, "of-the-object-store")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "postgres://u:of-a-source@h/d")
    monkeypatch.setenv("AIRFLOW__SMTP__SMTP_PASSWORD", "of-the-mail")
    monkeypatch.setenv("EVERGREEN_MODELS", "/models")
    monkeypatch.setenv("EVERGREEN_SERVER_KEY", "evg-of-a-client")
    stated = {"EVERGREEN_SERVER_KEY": "evg-of-a-client", "EVERGREEN_SIGNING_KEY": "of-the-tasks.key"}
    return Settings.from_environment({"EVERGREEN_HOME": str(tmp_path)} | stated)


@pytest.mark.parametrize("name", environment.SEES)
def test_a_process_sees_the_secrets_of_its_line_and_no_other(name: str, here: Settings) -> None:
    values, seen = environment.secret_values(here), environment.of_service(name, here)
    assert len(values) > 15 and all(values.values())
    assert {key for key in values if key in seen} == environment.SEES[name].secrets
    allowed = " ".join(values[key] for key in environment.SEES[name].secrets)
    everything = " ".join(seen.values())
    assert not [key for key, value in values.items() if value in everything and value not in allowed]


def test_what_is_not_ours_passes_and_the_reports_get_nothing(here: Settings) -> None:
    seen = {name: environment.of_service(name, here) for name in environment.SEES}
    assert {name for name in seen if PASSING in seen[name]} == set(environment.SEES) - {"reports"}
    assert {name for name in seen if "AIRFLOW_CONN_SHOP" in seen[name]} == {
        "airflow",
        "airflow-scheduler",
        "airflow-dag-processor",
        "airflow-triggerer",
    }
    mail = {name for name in seen if "AIRFLOW__SMTP__SMTP_PASSWORD" in seen[name]}
    assert mail == {name for name in seen if name.startswith("airflow")}
    assert seen["server"]["EVERGREEN_MODELS"] == "/models" and "EVERGREEN_MODELS" not in seen["reports"]


def test_a_part_of_the_stack_reads_no_file_and_has_no_login_but_its_own(here: Settings) -> None:
    inside = Settings.from_environment(environment.of_service("server", here))
    assert inside.home == here.home and inside.cut_off == here.cut_off
    assert inside.database_url("feast") == here.database_url("feast")
    assert "feast_owner:" in inside.database_url("feast") and inside.airflow_password == ""
    with pytest.raises(PermanentError, match="EVERGREEN_DATABASE_OPTUNA"):
        inside.database_url("optuna")


def test_generated_secrets_are_told_once_and_stay(tmp_path: Path) -> None:
    new = environment.remember(tmp_path, {})
    file = tmp_path / "environment"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    kept = file.read_text()
    assert len(set(new.values())) == len(new) and all(
        len(new[name]) >= 24 for name in new if "PASSWORD" in name or "TOKEN" in name
    )
    assert environment.remember(tmp_path, {}) == {} and file.read_text() == kept
    assert environment.remember(tmp_path, {"EVERGREEN_AIRFLOW_PASSWORD": "chosen"}) == {}
    assert "EVERGREEN_AIRFLOW_PASSWORD=chosen" in file.read_text()


def test_a_new_home_has_keys_that_sign_and_one_that_is_there_gets_none(tmp_path: Path) -> None:
    told = environment.signing_keys(tmp_path)
    environment.remember(tmp_path, told)
    here = Settings.from_environment({"EVERGREEN_HOME": str(tmp_path)})
    private, (public,) = Path(here.signing_key), here.public_keys
    assert stat.S_IMODE(private.stat().st_mode) == 0o600 and private.parent == tmp_path
    assert b"PRIVATE" in private.read_bytes() and b"PUBLIC" in Path(public).read_bytes()
    assert environment.signing_keys(tmp_path) == {}, "what it registered is signed by the first ones, or not at all"
    server = Settings.from_environment(environment.of_service("server", here))
    assert (server.signing_key, server.public_keys) == ("", (public,)), "a server verifies, and cannot sign"
    assert Settings.from_environment(environment.of_service("airflow-scheduler", here)).signing_key == str(private)


def test_a_home_from_before_keeps_its_password(tmp_path: Path) -> None:
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "passwords.json").write_text(json.dumps({"admin": "admin"}))
    (tmp_path / "environment").write_text("# Written by `evergreen up`.\nEVERGREEN_POSTGRES_PASSWORD=superuser\n")
    assert "EVERGREEN_POSTGRES_PASSWORD" not in environment.remember(tmp_path, {})
    loaded = Settings.from_environment({"EVERGREEN_HOME": str(tmp_path)})
    assert loaded.airflow_password == "admin" and ":superuser@" in loaded.database
