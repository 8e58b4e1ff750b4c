"""The deployment files agree with the lock, with the settings, and with one another."""

from __future__ import annotations

import ast
import re
import tomllib
from typing import Any

import pytest
import yaml

from evergreen.settings import PROJECT, Settings

DEPLOY = PROJECT / "deploy"


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return read


def test_the_conda_environment_is_the_lock() -> None:
    declared = yaml.safe_load((DEPLOY / "environment.yml").read_text())["dependencies"]
    conda = {line.split()[0] for line in declared if isinstance(line, str)}
    (pip,) = [line["pip"] for line in declared if isinstance(line, dict)]
    assert conda == {"python", "pip"}, "conda's own builds of a locked package would be another version of it"
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert f"python {project['requires-python']}" in declared
    assert pip == ["-r ../requirements.txt", "-e .."]
    assert (DEPLOY / ".." / "requirements.txt").resolve() == PROJECT / "requirements.txt"


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "deploy/server.Dockerfile"])
def test_an_image_has_the_runtime_lock_and_all_that_it_copies_is_in_the_build_context(dockerfile: str) -> None:
    text = (PROJECT / dockerfile).read_text()
    context = (PROJECT / ".dockerignore").read_text().splitlines()
    copied = [name for line in re.findall(r"^COPY (?:--\S+ )?(.+)$", text, re.MULTILINE) for name in line.split()[:-1]]
    assert "requirements-runtime.txt" in copied and "include" in copied and "requirements.txt" not in copied
    assert not [name for name in copied if f"!{name}" not in context or not (PROJECT / name).exists()]
    assert re.search(r"^FROM .*python:?3\.11", text, re.MULTILINE), "both have one Python"
    assert "--python-version 3.11" in (PROJECT / "Makefile").read_text(), "the oldest that the lock is made for"


def test_airflows_image_is_the_locked_airflow() -> None:
    (locked,) = re.findall(r"^apache-airflow==(\S+)", (PROJECT / "requirements.txt").read_text(), re.MULTILINE)
    assert f"FROM apache/airflow:slim-{locked}-python3.11" in (PROJECT / "Dockerfile").read_text()


def test_no_password_has_a_default() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    example = (DEPLOY / "example.env").read_text()
    empty = set(re.findall(r"^(\w+)=$", example, re.MULTILINE))
    demanded = set(re.findall(r"\$\{(\w+):\?set it in deploy/\.env\}", text))
    defaulted = set(re.findall(r"\$\{(\w+):-", text))
    assert demanded == empty and len(demanded) == 16
    assert defaulted == set(re.findall(r"^# (\w+)=", example, re.MULTILINE)), "example.env tells every setting"
    secret = re.compile("PASSWORD|SECRET|TOKEN|FERNET|ACCESS_KEY")
    assert not [name for name in defaulted if secret.search(name)]


def test_the_settings_of_compose_are_evergreens() -> None:
    source = (PROJECT / "include" / "evergreen" / "settings.py").read_text()
    preload = (PROJECT / "config" / "airflow_local_settings.py").read_text()
    for name, service in compose()["services"].items():
        for variable in service.get("environment") or {}:
            if variable.startswith("EVERGREEN_"):
                assert f'"{variable}"' in source + preload, f"{name} sets {variable}, which nothing reads"
    server = compose()["services"]["server"]["environment"]
    unset = {name: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", str(value)) for name, value in server.items()}
    read = Settings.from_environment(unset)
    for name in ("SERVER_HOSTS", "TRUSTED_PROXIES", "CLIENT_ENTITIES_PER_SECOND", "CLIENT_REQUESTS"):
        assert server[f"EVERGREEN_{name}"] == f"${{EVERGREEN_{name}:-}}", "what is empty is not set"
    without = Settings.from_environment({"EVERGREEN_HOME": "/nowhere"})
    for name in ("server_hosts", "trusted_proxies", "client_entities", "client_requests"):
        assert getattr(read, name) == getattr(without, name)
    reports = compose()["services"]["reports"]["environment"]
    assert {"EVERGREEN_SERVER_HOSTS", "EVERGREEN_TRUSTED_PROXIES", "EVERGREEN_REPORTS_URL"} <= set(reports)
    assert not read.embedded_database and read.lake.startswith("s3://") and read.alerts == {"log"}


def test_every_setting_is_documented() -> None:
    source = (PROJECT / "include" / "evergreen" / "settings.py").read_text()
    named = set(re.findall(r"EVERGREEN_[A-Z_]+", source))
    assert len(named) > 15
    documented = set(re.findall(r"EVERGREEN_[A-Z_]+", (PROJECT / "docs" / "deployment.md").read_text()))
    assert not named - documented


def test_every_service_has_a_health_check_and_waits_for_what_it_needs() -> None:
    services = compose()["services"]
    assert len(services) == 12
    in_image = "HEALTHCHECK" in (DEPLOY / "server.Dockerfile").read_text()
    for name, service in services.items():
        checked = "healthcheck" in service or (name == "server" and in_image) or name == "init"
        assert checked, f"{name} has no health check"
        for needed, how in (service.get("depends_on") or {}).items():
            wanted = "service_completed_successfully" if needed == "init" else "service_healthy"
            assert how["condition"] == wanted, f"{name} waits for {needed}"
    ours = set(services) - {"postgres", "redis", "s3", "init"}
    assert all("init" in services[name]["depends_on"] for name in ours)


def of_images(service: dict[str, Any]) -> str:
    """The Dockerfile of a service that runs our code; empty for all others."""
    return str((service.get("build") or {}).get("dockerfile", ""))


def test_every_service_of_ours_has_its_name_and_a_home_that_its_user_reads() -> None:
    for name, service in compose()["services"].items():
        if not of_images(service):
            continue
        variables, image = service["environment"], (PROJECT / of_images(service)).read_text()
        assert variables.get("EVERGREEN_SERVICE"), f"{name} would look for a file of settings"
        if "user" in service:  # not the image's: its home is closed (mode 700), and so is what lies in it
            (closed,) = re.findall(r"EVERGREEN_HOME=(\S+)", image)
            closed = closed.rpartition("/")[0]
            mounted = [volume.split(":")[1] for volume in service["volumes"]]
            used = [variables["EVERGREEN_HOME"], service["working_dir"], *mounted, *service["command"]]
            assert not [path for path in used if path.startswith(closed)], f"{name} cannot read below {closed}"
            assert variables["EVERGREEN_HOME"] in mounted


def test_the_stores_keys_are_of_those_that_read_it() -> None:
    services = compose()["services"]
    knowing = {name for name, service in services.items() if "AWS_SECRET_ACCESS_KEY" in str(service.get("environment"))}
    assert knowing == {"s3", "init", "mlflow", "airflow-worker"}
    for name in knowing - {"s3"}:
        assert sum(variable.startswith("AWS_") for variable in services[name]["environment"]) == 4
    document = (PROJECT / "docs" / "security.md").read_text()
    assert "(`AWS_…`) reach `airflow-worker`, `mlflow` and `init`" in document


def test_a_server_of_evergreen_alone_is_said_to_be_one() -> None:
    init = compose()["services"]["init"]["environment"]
    assert init["EVERGREEN_DATABASE_ALONE"] == "1"
    url = {"EVERGREEN_HOME": "/nowhere", "EVERGREEN_DATABASE": "postgresql://u:p@db:5432"}
    assert Settings.from_environment(url | {"EVERGREEN_DATABASE_ALONE": "1"}).database_alone
    assert not Settings.from_environment(url).database_alone, "others may use it"
    assert Settings.from_environment({"EVERGREEN_HOME": "/nowhere"}).database_alone


def test_what_is_loaded_before_tasks_are_forked_is_there() -> None:
    """The scheduler and the worker do not start with a module that was renamed."""
    settings = ast.parse((PROJECT / "config" / "airflow_local_settings.py").read_text())
    (named,) = (
        ast.literal_eval(node.value)
        for node in settings.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PRELOADED"
    )
    ours = [name for name in named if name.startswith("evergreen.")]
    assert len(ours) > 5
    files = [PROJECT.joinpath("include", *name.split(".")) for name in ours]
    missing = [str(file) for file in files if not (file.with_suffix(".py").exists() or file.is_dir())]
    assert not missing, f"config/airflow_local_settings.py names what is not there: {missing}"
