"""MLflow's login: its own `basic-auth` app, with wrong passwords slowed (`mlflow server
--app-name evergreen`), and its clients.

MLflow reads its login's settings from a file. They stand in the environment here, so that no other process needs a file
with passwords in it; the file lives for as long as MLflow's module is imported.
"""

from __future__ import annotations

import hmac
import os
import tempfile
from base64 import b64encode
from typing import TYPE_CHECKING

from evergreen.settings import settings
from evergreen.throttle import Scope, SlowedLogin, was_right

if TYPE_CHECKING:
    from fastapi import FastAPI

# MLflow hashes passwords slowly on purpose, and its clients send theirs with every request.
_REMEMBERED = 60  # seconds for which a right one is
_PASSWORDS = (b"authorization", b"x-mlflow-authorization")  # the second one on its gateway


def create_app() -> FastAPI:
    """MLflow's server with its login; the administrator is the login of the
    settings, with that password from now on."""
    from evergreen import database

    with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:  # of mode 600
        address = settings().database_url("mlflow_auth").replace("%", "%%")
        file.write(
            f"[mlflow]\ndefault_permission = READ\ndatabase_uri = {address}\nauth_cache_ttl_seconds = {_REMEMBERED}\n"
        )
        file.flush()
        os.environ["MLFLOW_AUTH_CONFIG_PATH"] = file.name
        from mlflow.server import auth
    del os.environ["MLFLOW_AUTH_CONFIG_PATH"]
    user, password = auth.auth_config.admin_username, auth.auth_config.admin_password
    # MLflow's workers start at once, and each would make the tables.
    with database.locked("evergreen mlflow_auth", "mlflow_auth"):
        app: FastAPI = auth.create_app()
        if not auth.store.authenticate_user(user, password):
            auth.store.update_user(user, password=password)
    own = b"Basic " + b64encode(f"{user}:{password}".encode())
    # Its pages, its check of hosts and its redirects answer without a look at the
    # password: only here is one known to be right.
    looked = auth._authenticate_cached

    def look(username: str, password: str) -> object:
        if user := looked(username, password):
            was_right()
        return user

    auth._authenticate_cached = look
    app.add_middleware(
        SlowedLogin, tries=lambda scope: not auth.is_unprotected_route(scope["path"]) and _guesses(scope, own)
    )
    return app


def _guesses(scope: Scope, own: bytes) -> bool:
    """Whether a request brings a password to be looked at. That of the stack itself, long and random, is known at
    sight: who guesses wrong ones from the same address must not stop the tasks."""
    given = [value for name, value in scope["headers"] if name in _PASSWORDS]
    return any(value and not hmac.compare_digest(value, own) for value in given)


def sign_in() -> None:
    """Give MLflow's client in this process the login of the settings; a client with a login of its own keeps that."""
    if settings().mlflow_password:
        os.environ["MLFLOW_TRACKING_USERNAME"] = settings().mlflow_user
        os.environ["MLFLOW_TRACKING_PASSWORD"] = settings().mlflow_password
