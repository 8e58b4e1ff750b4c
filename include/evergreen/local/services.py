"""The parts of the local stack, and the processes of each with its command, its
environment and how it shows that it answers."""

from __future__ import annotations

import sys
from functools import partial
from urllib.parse import urlsplit

import httpx

from evergreen.local import environment
from evergreen.local.processes import Service, answers
from evergreen.settings import Settings

PARTS = ("postgres", "mlflow", "airflow", "server", "reports")
# Every background process after Postgres, in the order in which they start.
SERVICES = (
    "mlflow",
    "airflow-scheduler",
    "airflow-api-server",
    "airflow-dag-processor",
    "airflow-triggerer",
    "server",
    "reports",
)


def services(here: Settings) -> dict[str, Service]:
    """The background processes after Postgres, in the order in which they start."""
    python = sys.executable
    mlflow, server, reports = (urlsplit(url) for url in (here.mlflow_url, here.server_url, here.reports_url))
    here.reports.mkdir(parents=True, exist_ok=True)
    variables = partial(environment.of_service, settings=here)
    return {
        "mlflow": Service(
            "mlflow",
            [
                *(python, "-m", "mlflow", "server", "--host", here.bind, "--port", str(mlflow.port), "--workers", "1"),
                *("--app-name", "evergreen", "--artifacts-destination", str(here.home / "mlflow")),
            ],
            variables("mlflow")
            | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_AUTH_ADMIN_USERNAME": here.mlflow_user}
            | {"MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true"}  # a route that MLflow's login knows nothing of is refused
            | {"FORWARDED_ALLOW_IPS": ",".join(map(str, here.trusted_proxies))},  # uvicorn's own is all of loopback
            lambda: answers(f"{here.mlflow_url}/health"),
        ),
        "airflow-scheduler": Service(
            "airflow-scheduler",
            [python, "-m", "airflow", "scheduler", "--skip-serve-logs"],
            variables("airflow-scheduler"),
            lambda: _airflow_healthy(here, "scheduler"),
        ),
        "airflow-api-server": Service(
            "airflow-api-server",
            [python, "-m", "airflow", "api-server"],
            variables("airflow-api-server"),
            lambda: answers(f"{here.airflow_url}/api/v2/monitor/health"),
        ),
        "airflow-dag-processor": Service(
            "airflow-dag-processor",
            [python, "-m", "airflow", "dag-processor"],
            variables("airflow-dag-processor"),
            lambda: _airflow_healthy(here, "dag_processor"),
        ),
        "airflow-triggerer": Service(
            "airflow-triggerer",
            [python, "-m", "airflow", "triggerer", "--skip-serve-logs"],
            variables("airflow-triggerer"),
            lambda: _airflow_healthy(here, "triggerer"),
        ),
        "server": Service(
            "server",
            [python, "-m", "evergreen.serve", "--host", here.bind, "--port", str(server.port)],
            variables("server"),
            lambda: answers(f"{here.server_url}/healthz"),
        ),
        "reports": Service(
            "reports",
            [
                *(python, "-m", "evergreen.reports", "--host", here.bind, "--port", str(reports.port)),
                *("--folder", str(here.reports)),
            ],
            variables("reports"),
            lambda: answers(here.reports_url),
        ),
    }


def part(service: str) -> str:
    """The part that a service belongs to."""
    return "airflow" if service.startswith("airflow-") else service


def _airflow_healthy(here: Settings, component: str) -> bool:
    try:
        health = httpx.get(f"{here.airflow_url}/api/v2/monitor/health", timeout=5).json()
    except (httpx.TransportError, ValueError):
        return False
    return bool((health.get(component) or {}).get("status") == "healthy")
