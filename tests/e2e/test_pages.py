"""The pages of Airflow and MLflow, in a browser that reaches this machine alone: they are whole, and load nothing from
elsewhere."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from evergreen.settings import ADMIN_USER
from tests.e2e.conftest import Stack
from tests.hostile.browser import Page, started

_OURS = {"127.0.0.1", ""}  # "": of blob: and about:, which load nothing


def elsewhere(page: Page) -> list[str]:
    """What the page asked of others."""
    return [url for url in page.requests if (urlsplit(url).hostname or "") not in _OURS]


def test_no_page_of_airflow_or_mlflow_loads_anything_from_elsewhere(running: Stack, tmp_path: Path) -> None:
    here = running.settings
    body = {"username": ADMIN_USER, "password": here.airflow_password}
    answer = httpx.post(f"{here.airflow_url}/auth/token", json=body, timeout=60).raise_for_status()
    airflow = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    login = base64.b64encode(f"{here.mlflow_user}:{here.mlflow_password}".encode()).decode()
    mlflow = {"Authorization": f"Basic {login}"}
    pages = (
        (f"{here.airflow_url}/dags", airflow, "churn__ingest"),
        (f"{here.airflow_url}/dags/churn__ingest", airflow, "extract"),
        (f"{here.mlflow_url}/#/experiments", mlflow, "Default"),
        (f"{here.mlflow_url}/#/models", mlflow, "Settings"),
    )
    with started(tmp_path) as browser:
        for url, headers, shown in pages:
            page = browser.open(url, headers)
            page.until(f"document.body.innerText.includes({shown!r})")
            assert elsewhere(page) == [], url
