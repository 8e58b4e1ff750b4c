"""MLflow's server, asked by its own client, or by plain HTTP where something is only read; what it answers, as errors
of ours: the one place that knows how its client tells of a refusal or a silence.

The client takes seconds to import and a hundred megabytes: it is when it is first needed, and the model server, which
only reads, does without.
"""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from evergreen.answers import Remote, refusal, silence
from evergreen.registry.login import sign_in
from evergreen.settings import settings

if TYPE_CHECKING:
    import mlflow

# An answer without JSON (a proxy's page) is told by the client with its status in the
# message alone (mlflow.utils.rest_utils).
_STATUS = re.compile(r"failed with error code (\d{3})")
_MISWRITTEN = (requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL)
_LOGIN = tuple(f"MLFLOW_TRACKING_{name}" for name in ("USERNAME", "PASSWORD", "TOKEN"))
_PASSING = (408, 429, 500, 502, 503, 504)  # statuses after which a search is tried again, as the client does


def client() -> mlflow.MlflowClient:
    """MLflow's client of the server that the settings name; what a process has told
    MLflow of other servers does not count."""
    import mlflow
    from mlflow.environment_variables import MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT

    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)  # a task's log is our report
    sign_in()
    return mlflow.MlflowClient(tracking_uri=settings().mlflow_url, registry_uri=settings().mlflow_url)


def get(path: str, query: Mapping[str, str], *, timeout: tuple[float, float], retries: int = 0) -> requests.Response:
    """The server's answer to one GET request, with the client's credentials; its
    status is good, its body still to be read.

    Args:
        timeout: seconds to connect, and to wait for bytes.
        retries: of a request that is not answered, or not now.
    """
    sign_in()
    response = (_get_by_client if _known_otherwise() else _get)(path, query, timeout, retries)
    response.raise_for_status()
    return response


def _known_otherwise() -> bool:
    """Whether MLflow knows its client by more than a login or a token: certificates, signatures, what plugins bring."""
    stated = {name for name in os.environ if name.startswith("MLFLOW_TRACKING_")} - {*_LOGIN, "MLFLOW_TRACKING_URI"}
    return bool(stated) or "MLFLOW_WORKSPACE" in os.environ or Path("~/.mlflow/credentials").expanduser().exists()


def _get_by_client(
    path: str, query: Mapping[str, str], timeout: tuple[float, float], retries: int
) -> requests.Response:
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    response: requests.Response = http_request(
        get_default_host_creds(settings().mlflow_url),
        path,
        "GET",
        params=dict(query),
        timeout=timeout,
        stream=True,
        max_retries=retries,
        raise_on_status=False,
        allow_redirects=False,
    )
    return response


def _get(path: str, query: Mapping[str, str], timeout: tuple[float, float], retries: int) -> requests.Response:
    user, password, token = (os.environ.get(name) for name in _LOGIN)
    headers = {"User-Agent": "evergreen"}
    if user and password:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    elif token:
        headers["Authorization"] = f"Bearer {token}"
    session = requests.Session()
    again = Retry(retries, backoff_factor=2, status_forcelist=_PASSING, raise_on_status=False) if retries else retries
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=again))
    return session.get(
        settings().mlflow_url.rstrip("/") + path,
        params=dict(query),
        headers=headers,
        timeout=timeout,
        stream=True,
        allow_redirects=False,
    )


def search(what: str, only: str, page: int) -> Iterator[dict[str, Any]]:
    """Everything in the registry that a search finds, as the server writes it.

    Args:
        what: "registered-models" or "model-versions".
        only: the search, in MLflow's words; empty: all.
        page: how many the server answers at a time.
    """
    retries = int(os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7"))
    seconds = float(os.environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT", "120"))
    token = ""
    while True:
        query = {"filter": only, "max_results": str(page), **({"page_token": token} if token else {})}
        path = f"/api/2.0/mlflow/{what}/search"
        with get(path, query, timeout=(seconds, seconds), retries=retries) as response:
            found = response.json()
        yield from found.get(what.replace("-", "_"), ())
        token = found.get("next_page_token", "")
        if not token:
            return


def check() -> None:
    """Ask the server for a sign of life, once: its client would try for minutes.

    Raises:
        ServiceUnavailable, RequestRefused: it gives none.
    """
    with answering("asking MLflow whether it is there"), get("/health", {}, timeout=(2.0, 10.0)):
        pass


@contextmanager
def answering(doing: str) -> Iterator[None]:
    """A block that asks MLflow's server.

    Raises:
        ServiceUnavailable: it did not answer, or answered that it cannot now.
        RequestRefused: it answered that it will not. What the client raises without
            asking the server is passed on as it is.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, requests.RequestException) and not _of_client(error):
            raise
        service = Remote(
            f"MLflow at {settings().mlflow_url}",
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
            "EVERGREEN_MLFLOW_URL",
            "MLflow's log",
        )
        message = (str(error).splitlines() or [repr(error)])[0]
        if status := status_of(error):
            raise refusal(doing, status, message, service) from error
        if silent(error):
            raise silence(doing, message, service) from error
        raise


@contextmanager
def asking(doing: str) -> Iterator[mlflow.MlflowClient]:
    """The client, for a block that asks the server; raises as `answering` does."""
    with answering(doing):
        yield client()


def _of_client(error: BaseException, kind: str = "MlflowException") -> bool:
    """Whether MLflow's client raised it: not where that was never imported."""
    exceptions = sys.modules.get("mlflow.exceptions")
    return exceptions is not None and isinstance(error, getattr(exceptions, kind))


def code_of(error: BaseException) -> str:
    """MLflow's own code of an error that its server answered to the client; empty: it is none."""
    return str(error.error_code) if _of_client(error, "RestException") else ""  # type: ignore[attr-defined]  # as above


@contextmanager
def unless(*codes: str) -> Iterator[None]:
    """A block of the client's in which the server may answer with these codes."""
    try:
        yield
    except Exception as error:
        if code_of(error) not in codes:
            raise


def status_of(error: Exception) -> int | None:
    """The HTTP status of the server's answer; None when the error is not an answer."""
    if code_of(error):
        status: int = error.get_http_status_code()  # type: ignore[attr-defined]  # the client's own
        return status
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return error.response.status_code
    if match := _STATUS.search(str(error)):
        return int(match[1])
    return status_of(error.__cause__) if isinstance(error.__cause__, requests.HTTPError) else None


def silent(error: BaseException) -> bool:
    """Whether no answer came; the client wraps what `requests` raised."""
    return any(
        isinstance(cause, requests.RequestException) and not isinstance(cause, _MISWRITTEN)
        for cause in (error, error.__cause__, error.__context__)
    )
