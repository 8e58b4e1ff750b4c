"""What `evergreen up` closes by itself, and what it tells of and leaves to the owner."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evergreen.local import environment, permissions, stack
from evergreen.settings import DATABASES, Settings, settings


def of(home: Path, **variables: str) -> Settings:
    return Settings.from_environment({"EVERGREEN_HOME": str(home)} | variables)


def test_a_file_that_vanishes_meanwhile_does_not_keep_a_home_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o755)
    for name in ("gone", "stays"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o644)
    walk = os.walk

    def while_somebody_works(home: Path) -> Iterator[Any]:
        for step in walk(home):
            (tmp_path / "gone").unlink(missing_ok=True)
            yield step

    monkeypatch.setattr(os, "walk", while_somebody_works)
    permissions.close_to_others(tmp_path)
    assert not (tmp_path / "gone").exists() and not (tmp_path / "stays").stat().st_mode & 0o077
    assert not tmp_path.stat().st_mode & 0o066


def test_a_folder_elsewhere_that_others_read_is_told(tmp_path: Path) -> None:
    home, lake, closed = (tmp_path / name for name in ("home", "lake", "closed"))
    for folder, mode in ((home, 0o755), (home / "landing", 0o755), (lake, 0o755), (closed, 0o700)):
        folder.mkdir()
        folder.chmod(mode)
    places = {"EVERGREEN_LAKE": str(lake), "EVERGREEN_REPORTS": str(closed), "EVERGREEN_LANDING": str(home / "landing")}
    (line,) = permissions.readable_elsewhere(home, places | {"BUCKET": "s3://b/lake", "MISSING": str(tmp_path / "no")})
    assert f"{lake} (EVERGREEN_LAKE)" in line and f"chmod 700 {lake}" in line
    environment.remember(home, {})
    assert [line] == stack.weaknesses(of(home, EVERGREEN_LAKE=str(lake)))


def test_a_default_password_of_before_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "airflow").mkdir()
    (tmp_path / "airflow" / "passwords.json").write_text(json.dumps({"admin": "admin"}))
    environment.remember(tmp_path, {})
    (line,) = stack.weaknesses(of(tmp_path))
    assert line.startswith("EVERGREEN_AIRFLOW_PASSWORD is a default") and "airflow/passwords.json" in line
    file = tmp_path / "environment"
    file.write_text("".join(row for row in file.open() if not row.startswith("EVERGREEN_AIRFLOW_PASSWORD")))
    (tmp_path / "airflow" / "passwords.json").unlink()
    assert "EVERGREEN_AIRFLOW_PASSWORD" in environment.remember(tmp_path, {}), "as the line says"
    assert stack.weaknesses(of(tmp_path)) == []


def test_one_login_for_every_database_is_told(tmp_path: Path) -> None:
    environment.remember(tmp_path, {})
    own = {"EVERGREEN_DATABASE": "postgresql://u:p@db:5432"}
    (line,) = stack.weaknesses(of(tmp_path, **own))
    assert "every process has the login of EVERGREEN_DATABASE" in line and all(
        name in line for name in DATABASES.values()
    )
    owned = {variable: f"postgresql://{name}_owner:p@db/{name}" for name, variable in DATABASES.items()}
    assert stack.weaknesses(of(tmp_path, **own, **owned)) == []


def test_an_administrator_that_is_left_behind_is_told(tmp_path: Path) -> None:
    environment.remember(tmp_path, {})
    said: list[str] = []
    renamed = of(tmp_path, MLFLOW_TRACKING_USERNAME="operator")
    try:
        stack._remember(renamed, False, said.append)
        (line,) = said
        assert line.startswith("WARNING: admin is still an administrator of MLflow") and "beside operator" in line
        stack._remember(of(tmp_path), False, said.append)
        assert len(said) == 1, "told once"
    finally:
        settings.cache_clear()
