"""MLflow's server, asked by its own client; what it answers, as errors of ours: the one place that knows how its client
tells of a refusal or a silence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import mlflow
import requests
from mlflow.environment_variables import MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT
from mlflow.exceptions import MlflowException, RestException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from evergreen.answers import Remote, refusal, silence
from evergreen.registry.login import sign_in
from evergreen.settings import settings

# An answer without JSON (a proxy's page) is told by the client with its status in the
# message alone (mlflow.utils.rest_utils).
_STATUS = re.compile(r"failed with error code (\d{3})")
_MISWRITTEN = (requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL)


def client() -> mlflow.MlflowClient:
    """MLflow's client of the server that the settings name; what a process has told
    MLflow of other servers does not count."""
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)  # a task's log is our report
    sign_in()
    return mlflow.MlflowClient(tracking_uri=settings().mlflow_url, registry_uri=settings().mlflow_url)


def get(path: str, query: Mapping[str, str], *, timeout: tuple[float, float]) -> requests.Response:
    """The server's answer to one GET request, with the client's credentials; its
    status is good, its body still to be read.

    Args:
        timeout: seconds to connect, and to wait for bytes.
    """
    sign_in()
    response: requests.Response = http_request(
        get_default_host_creds(settings().mlflow_url),
        path,
        "GET",
        params=dict(query),
        timeout=timeout,
        stream=True,
        max_retries=0,
        raise_on_status=False,
        allow_redirects=False,
    )
    response.raise_for_status()
    return response


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
    except (MlflowException, requests.RequestException) as error:
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


def status_of(error: Exception) -> int | None:
    """The HTTP status of the server's answer; None when the error is not an answer."""
    if isinstance(error, RestException):
        status: int = error.get_http_status_code()
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
