"""Wrong passwords are slowed at Airflow's own login."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from evergreen.throttle import Scope, SlowedLogin


def _tries(scope: Scope) -> bool:
    return scope["method"] == "POST" and scope["path"].endswith(("/auth/token", "/auth/token/cli"))


class EvergreenLogin(AirflowPlugin):
    """Stands before the api-server: the form in the browser and `POST /auth/token` are one login."""

    name = "evergreen_login"
    fastapi_root_middlewares = [  # noqa: RUF012 - Airflow's own way
        {
            "name": "slowed_login",
            "middleware": SlowedLogin,
            "kwargs": {"tries": _tries, "right": lambda status: status == 201},  # made a token; a redirect made none
        }
    ]
