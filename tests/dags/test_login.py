"""Wrong passwords at Airflow's own login."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from evergreen.settings import PROJECT
from evergreen.throttle import FREE


def test_a_redirect_of_the_login_is_no_right_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.api_fastapi.auth.managers.simple.routes.login import login_router

    module_spec = importlib.util.spec_from_file_location("evergreen_login", PROJECT / "plugins" / "login.py")
    assert module_spec is not None and module_spec.loader is not None
    plugin = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(plugin)
    (passwords := tmp_path / "passwords.json").write_text('{"admin": "right"}')
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin")
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", str(passwords))
    app = FastAPI()
    app.include_router(login_router, prefix="/auth")
    for middleware in plugin.EvergreenLogin.fastapi_root_middlewares:
        app.add_middleware(middleware["middleware"], **middleware["kwargs"])
    client, statuses = TestClient(app, follow_redirects=False), []
    for number in range(FREE + 2):
        body = {"username": "admin", "password": f"guess {number}"}
        statuses.append(client.post("/auth/token", json=body).status_code)
        assert client.post("/auth/token/", json=body).status_code == 307
    assert statuses[:FREE] == [401] * FREE and 429 in statuses[FREE:]
