"""A small client of Airflow's public REST API, for the stack's start, the demo and the tests."""

from __future__ import annotations

import time
from typing import Any

import httpx

from evergreen.answers import Remote, refusal, silence
from evergreen.settings import ADMIN_USER, Settings


class AirflowApi:
    """Talks to one Airflow with a user's name and password; renews its token by itself."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._login = {"username": user, "password": password}
        self.url = url
        self._remote = Remote(
            f"Airflow at {url}", "EVERGREEN_AIRFLOW_PASSWORD", "EVERGREEN_AIRFLOW_URL", "the api-server's log"
        )
        self._http = httpx.Client(base_url=url, timeout=60)

    @classmethod
    def of(cls, here: Settings) -> AirflowApi:
        """The local stack's Airflow, as its administrator."""
        return cls(here.airflow_url, ADMIN_USER, here.airflow_password)

    def get(self, path: str, **query: Any) -> Any:
        """The JSON answer of a GET below /api/v2."""
        return self.call("GET", path, params=query)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self.call("POST", path, json=body)

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        return self.call("PATCH", path, json=body)

    def call(self, method: str, path: str, *, accept: tuple[int, ...] = (), **options: Any) -> Any:
        """One request; the answer is None where its status is in `accept`.

        Raises:
            ServiceUnavailable: no answer, or one that may be another in a while.
            RequestRefused: a wrong login, or a request that Airflow does not take.
        """
        response = self._send(method, path, options)
        if response.status_code == 401:
            self._http.headers.pop("Authorization", None)
            response = self._send(method, path, options)
        if response.status_code in accept:
            return None
        if response.is_error:
            raise refusal(f"asking Airflow: {method} {path}", response.status_code, response.text, self._remote)
        return response.json() if response.content else None

    def _send(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        for attempt in range(5):
            try:
                if "Authorization" not in self._http.headers:
                    answer = self._http.post("/auth/token", json=self._login)
                    if answer.is_error:
                        doing = f"logging in to Airflow as {self._login['username']}"
                        raise refusal(doing, answer.status_code, answer.text, self._remote)
                    self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
                return self._http.request(method, f"/api/v2{path}", **options)
            except httpx.TransportError as error:
                failure = error
                time.sleep(0.5 * (attempt + 1))
        raise silence(f"asking Airflow: {method} {path}", repr(failure), self._remote)
