"""Takes the screenshots of the documentation from a running local stack, in headless Chromium.

    make demo && make up
    uv run --no-project --with playwright docs/screenshots/take.py --chromium /usr/bin/chromium \\
        --password … --mlflow-password …

Both passwords stand in .evergreen/environment. Playwright is no dependency of Evergreen, and no browser is downloaded:
--chromium is one that is installed (Debian: chromium). The backfill is really started: of the model's first two days,
run again.
"""

from __future__ import annotations

import argparse
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

HERE = Path(__file__).parent
SIZE: ViewportSize = {"width": 1500, "height": 900}


class Airflow:
    """The REST API, as far as the pictures need it."""

    def __init__(self, url: str, password: str) -> None:
        self.url = url
        self.password = password
        self._token = self._call("/auth/token", {"username": "admin", "password": password})["access_token"]

    def run(self, dag_id: str, wanted: Callable[[dict[str, Any]], bool] = lambda run: True) -> dict[str, Any]:
        """The newest successful run that is wanted."""
        path = f"/api/v2/dags/{dag_id}/dagRuns?state=success&order_by=-run_after&limit=200"
        return next(run for run in self._call(path)["dag_runs"] if wanted(run))

    def links(self, run: dict[str, Any], task: str) -> dict[str, str]:
        """The buttons of a task's page."""
        path = f"/api/v2/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances/{task}/links"
        found: dict[str, str] = self._call(path)["extra_links"]
        return found

    def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {getattr(self, '_token', '')}"}
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=60) as answer:
            return json.load(answer)


def main() -> None:
    """Take all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="the browser (default %(default)s)")
    parser.add_argument("--airflow", default="http://127.0.0.1:8080", help="Airflow's address (default %(default)s)")
    parser.add_argument("--password", required=True, help="of Airflow's login admin: EVERGREEN_AIRFLOW_PASSWORD")
    parser.add_argument("--mlflow-password", required=True, help="of MLflow's: MLFLOW_TRACKING_PASSWORD")
    parser.add_argument("--model", default="churn", help="whose pages (default %(default)s)")
    options = parser.parse_args()
    airflow = Airflow(options.airflow, options.password)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = _logged_in(browser, airflow)
        retraining = airflow.run(f"{options.model}__train", lambda run: run["dag_run_id"].startswith("loss__"))
        decided = airflow.run(f"{options.model}__monitor", lambda run: run["run_after"] <= retraining["run_after"])
        for loop, run in (
            ("ingest", airflow.run(f"{options.model}__ingest")),
            ("train", retraining),
            ("monitor", decided),
        ):
            _graph(page, airflow, loop, run)
        promoted = airflow.run(f"{options.model}__rollout", lambda run: _moved(airflow, run) == "promote")
        _graph(page, airflow, "rollout", promoted)
        _approval(page, airflow, retraining)
        _backfill(page, airflow, f"{options.model}__ingest")
        _rollback(page, airflow, f"{options.model}__rollback")
        _page(browser, airflow.links(retraining, "gates")["Gate report"], "gate-report", 1_000, whole=True)
        _page(browser, airflow.links(retraining, "card")["Model card"], "model-card", 1_000, whole=True)
        _page(browser, airflow.links(decided, "report")["Drift report"], "drift-report", 8_000)
        _page(browser, airflow.links(retraining, "deploy")["MLflow run"], "mlflow-run", 8_000, options.mlflow_password)
        browser.close()


def _logged_in(browser: Browser, airflow: Airflow) -> Page:
    page = browser.new_page(viewport=SIZE, color_scheme="light")
    page.goto(f"{airflow.url}/auth/login/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(airflow.password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/auth/login" not in url)
    page.evaluate("localStorage.setItem('default_dag_view', JSON.stringify('graph'))")
    return page


def _graph(page: Page, airflow: Airflow, loop: str, run: dict[str, Any]) -> None:
    page.goto(f"{airflow.url}/dags/{run['dag_id']}/runs/{run['dag_run_id']}")
    page.wait_for_selector(".react-flow__node")
    page.wait_for_timeout(3_000)  # the layout moves nodes into their places
    _save(page, f"graph-{loop}")


def _moved(airflow: Airflow, run: dict[str, Any]) -> str | None:
    """Which way a run of the rollout's loop moved it."""
    task = f"/api/v2/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances/move"
    if airflow._call(task)["state"] != "success":
        return None
    kind: str = airflow._call(f"{task}/xcomEntries/return_value?deserialize=false")["value"]["kind"]
    return kind


def _approval(page: Page, airflow: Airflow, run: dict[str, Any]) -> None:
    """What was asked, and who answered why, in one picture: on a high window, with the task's side drawn wide."""
    page.set_viewport_size({"width": 1500, "height": 1560})
    page.goto(f"{airflow.url}/dags/{run['dag_id']}/runs/{run['dag_run_id']}/tasks/approve/required_actions")
    page.wait_for_selector(".react-flow__node")
    edge = page.locator("[role=separator]").first.bounding_box()
    assert edge is not None
    page.mouse.move(edge["x"] + edge["width"] / 2, 1_200)
    page.mouse.down()
    page.mouse.move(160, 1_200, steps=10)
    page.mouse.up()
    page.wait_for_timeout(3_000)
    _save(page, "approval")
    page.set_viewport_size(SIZE)


def _backfill(page: Page, airflow: Airflow, dag_id: str) -> None:
    page.goto(f"{airflow.url}/dags/{dag_id}")
    page.get_by_role("button", name="Trigger").first.click()
    page.get_by_text("Backfill", exact=True).first.click()
    first = _first_day(airflow, dag_id)
    for position in (0, 1):
        page.get_by_text("Select date and time").first.click()
        page.get_by_placeholder("YYYY/MM/DD").last.fill(_shift(first, position).replace("-", "/"))
        page.get_by_placeholder("HH:mm").last.fill("00:00")
        page.keyboard.press("Escape")
    page.locator("[data-scope=radio-group]").get_by_text("All Runs", exact=True).click()
    page.wait_for_timeout(2_000)
    _save(page, "backfill-form")
    page.get_by_role("button", name="Run Backfill").click()
    expect(page.get_by_role("dialog")).to_be_hidden(timeout=30_000)
    page.wait_for_timeout(5_000)  # the first runs appear
    _save(page, "backfill")


def _rollback(page: Page, airflow: Airflow, dag_id: str) -> None:
    """The form, filled in and not sent."""
    page.goto(f"{airflow.url}/dags/{dag_id}")
    page.get_by_role("button", name="Trigger").first.click()
    page.locator("[name=element_version]").fill("2")
    page.locator("[name=element_reason]").fill("wrong prices in March")
    page.wait_for_timeout(2_000)
    _save(page, "rollback-form")


def _first_day(airflow: Airflow, dag_id: str) -> str:
    path = f"/api/v2/dags/{dag_id}/dagRuns?order_by=logical_date&limit=1"
    day: str = airflow._call(path)["dag_runs"][0]["data_interval_start"]
    return day[:10]


def _shift(day: str, days: int) -> str:
    from datetime import date, timedelta

    return (date.fromisoformat(day) + timedelta(days=days)).isoformat()


def _page(
    browser: Browser, url: str, name: str, patience: int, password: str | None = None, *, whole: bool = False
) -> None:
    login: Any = None if password is None else {"username": "admin", "password": password}
    page = browser.new_page(viewport=SIZE, color_scheme="light", http_credentials=login)
    page.goto(url)
    page.wait_for_timeout(patience)  # both draw by script, long after their files are there
    _save(page, name, whole=whole)
    page.close()


def _save(page: Page, name: str, *, whole: bool = False) -> None:
    page.screenshot(path=HERE / f"{name}.png", full_page=whole)
    print(HERE / f"{name}.png")


if __name__ == "__main__":
    main()
