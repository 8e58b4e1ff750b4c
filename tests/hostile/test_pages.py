"""Whoever writes a cell, a request or a model's folder writes into our pages and logs: nothing of it may run there.

Every place that shows data is given values that run where they are taken for markup.
The pages are parsed, and opened in a real Chromium, as files and from the reports' server; CI fails without one.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from evergreen.addresses import free_port
from evergreen.errors import ContractBroken
from evergreen.ingest.stages import extract
from evergreen.interval import Interval
from evergreen.local.postgres import create_databases
from evergreen.local.processes import Processes, Service, answers
from evergreen.monitor import drift_report, live
from evergreen.monitor import stages as monitor
from evergreen.quoting import shown
from evergreen.reports import pages
from evergreen.run import DatasetRun
from evergreen.serve.predictions import Prediction, PredictionLog
from evergreen.settings import PROJECT, Settings, settings
from evergreen.spec.load import load_spec
from evergreen.validate.stages import validate
from tests.components.train.conftest import at, run_as_of, spec_in
from tests.small_models import SHOP, write_shop

from .browser import Browser, Page, started
from .markup import Markup, check_harmless, parsed

RUN = "document.title='planted'"
PLANTS = (
    f"</script><script>{RUN}</script>",
    f'"><img src=x onerror="{RUN}">',
    f"'><svg onload={RUN}>",
    f'<a href="javascript:{RUN}">a report</a>',
    f"<iframe srcdoc='<script>parent.{RUN}</script>'>",
    f"<!--<script>{RUN}",
    "<meta http-equiv=refresh content='0;url=http://planted.example'><base href=http://planted.example>",
    "</style><style>body{display:none}</style>",
    "{{ 7 * 7 }}${7*7}$v__0{% raw %}",
    "a\u202egnp.exe\u200b\x1b[31m\u3164",
)
PLANT = PLANTS[0]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def reports(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings on a home of this module's, in whose reports' folder the pages stay."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVERGREEN_HOME", str(tmp_path_factory.mktemp("home")))
        prefix = f"t{os.getpid()}_pages_"
        create_databases(postgres_url, [f"{prefix}evergreen"])
        patch.setenv("EVERGREEN_DATABASE", postgres_url)
        patch.setenv("EVERGREEN_DATABASE_PREFIX", prefix)
        settings.cache_clear()
        yield settings()
    settings.cache_clear()


@pytest.fixture(scope="module")
def server(reports: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The reports' server as it is started, on this module's reports: its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "evergreen.reports", "--port", str(port), "--folder", str(reports.reports)]
    processes = Processes(tmp_path_factory.mktemp("reports"))
    service = Service("reports", command, dict(os.environ), lambda: answers(url), 30)
    processes.start(service)
    processes.wait(service)
    yield url
    processes.stop("reports")


def quiet(page: Page, title: str) -> None:
    """Nothing of the data ran, asked for anything, or changed what the page is."""
    assert page.value("document.title") == title
    assert (page.dialogs, page.errors, page.refused) == ([], [], [])
    assert len(page.requests) == 1 or all(one.endswith("/favicon.ico") for one in page.requests[1:]), page.requests
    assert page.value("getComputedStyle(document.body).display") == "block"


EXPECTED: list[dict[str, Any]] = [
    {"type": "expect_column_values_to_be_in_set", "column": "kind", "value_set": ["web", *PLANTS]},
    {"type": "expect_column_values_to_be_in_set", "column": "kind", "value_set": ["web"]},
    {"type": "expect_column_distinct_values_to_be_in_set", "column": "kind", "value_set": ["web"]},
    {"type": "expect_column_most_common_value_to_be_in_set", "column": "kind", "value_set": PLANTS[:1]},
    {"type": "expect_column_values_to_match_regex", "column": "kind", "regex": f"^(?<!x)web${PLANT}"},
    {"type": "expect_column_values_to_match_json_schema", "column": "kind", "json_schema": {"title": PLANT}},
    {"type": "expect_column_value_lengths_to_be_between", "column": "kind", "max_value": 3, "notes": list(PLANTS)},
    {"type": "expect_column_values_to_be_between", "column": "spent", "max_value": 5, "meta": {"notes": PLANT}},
    {"type": "expect_column_pair_values_to_be_equal", "column_A": "kind", "column_B": "guest_id"},
    {
        "type": "expect_column_kl_divergence_to_be_less_than",
        "column": "kind",
        "threshold": 0.1,
        "partition_object": {"values": [PLANT, "web"], "weights": [0.5, 0.5]},
    },
]


@pytest.fixture(scope="module")
def data_docs(reports: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ContractBroken, list[str]]:
    """A batch and a contract full of plants, validated: the page, the error, and the lines of the task's log."""
    contracts = {"visits": EXPECTED, "habits": [{"type": "expect_table_row_count_to_be_between", "min_value": 0}]}
    folder = write_shop(tmp_path_factory.mktemp("models") / "shop", SHOP | {"description": PLANT}, contracts)
    batch = Path(reports.landing) / "shop" / "visits" / "2026-01-05.csv"
    batch.parent.mkdir(parents=True)
    cells = pd.DataFrame({"kind": ["web", *PLANTS, "1\n2026-01-05 ERROR forged"]})
    cells = cells.assign(visit_id=[f"v{n}" for n in cells.index], guest_id=PLANT, at="2026-01-05T10:00:00Z", spent="9")
    cells.loc[3, "spent"] = PLANT  # does not fit its type
    cells[["visit_id", "guest_id", "at", "spent", "kind"]].to_csv(batch, index=False)
    run, lines = DatasetRun(load_spec(folder).own_data(), Interval.of_day(date(2026, 1, 5))), Lines()
    logging.getLogger("evergreen").addHandler(lines)
    try:
        with pytest.raises(ContractBroken) as broken:
            validate(run, extract(run))
    finally:
        logging.getLogger("evergreen").removeHandler(lines)
    return reports.reports / "shop" / "data_docs" / "sources" / "2026-01-05.html", broken.value, lines.found


class Lines(logging.Handler):
    """What a task's log gets."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())


def test_data_docs_show_what_stands_in_the_data_and_the_contract_as_text(
    data_docs: tuple[Path, ContractBroken, list[str]],
) -> None:
    markup = check_harmless(data_docs[0].read_text())
    assert markup.scripts == [] and markup.policy["script-src"] == ["'none'"]
    for plant in PLANTS[:-1]:
        assert plant in markup.text, "it is shown as it is, not left out"
    assert r"a\u202egnp.exe\u200b\x1b[31m\u3164" in markup.text and "\u202e" not in markup.text
    assert sum(element.tag == "style" for element in markup.elements) == 1


def test_what_a_task_log_says_of_values_stays_on_its_line_and_is_visible(
    data_docs: tuple[Path, ContractBroken, list[str]],
) -> None:
    _, error, lines = data_docs
    log_lines = [*lines, *str(error).splitlines()]
    assert all(line.isprintable() for line in log_lines), "no colour, no change of direction, nothing invisible"
    assert any(r"'1\n2026-01-05 ERROR forged'" in line for line in log_lines), (
        "a value does not begin a line of its own"
    )
    assert not any(line.startswith("2026-01-05 ERROR") for line in log_lines)
    assert any(shown(PLANT) in line for line in log_lines)
    assert max(map(len, log_lines)) < 3_000


def test_data_docs_are_readable_and_harmless_in_a_browser(
    browser: Browser, server: str, data_docs: tuple[Path, ContractBroken, list[str]]
) -> None:
    for url in (data_docs[0].as_uri(), f"{server}/shop/data_docs/sources/2026-01-05.html"):
        page = browser.open(url)
        quiet(page, "shop sources 2026-01-05")
        text = page.value("document.body.innerText")
        assert all(plant in text for plant in PLANTS[:5]) and "Expectation" in text


@pytest.fixture(scope="module")
def drift(reports: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drift report of rows whose category is what clients sent."""
    spec = spec_in(tmp_path_factory.mktemp("tiny"))
    random = np.random.default_rng(0)

    def rows(plans: list[str], shift: float) -> pd.DataFrame:
        count = 60
        return pd.DataFrame(
            {
                "minutes": random.normal(shift, 1, count),
                "sessions": 1.0,
                "mobile": 1.0,
                "plan": random.choice(plans, count),
                "prediction": random.random(count),
            }
        )

    drift_report.write(spec, "2026-01-21", rows(["basic", *PLANTS], 5), rows(["basic", "pro"], 0), {})
    return reports.reports / "tiny" / "drift" / "2026-01-21.html"


def test_the_drift_report_holds_requests_as_data_and_runs_its_own_scripts_alone(drift: Path) -> None:
    written = drift.read_text()
    markup = check_harmless(written)
    assert len(markup.scripts) == 2 and not any("planted" in script for script in markup.scripts)
    (data,) = [script.text for script in markup.of("script") if script.attributes.get("type") == "application/json"]
    assert "planted" in data and "<" not in data
    assert "'unsafe-eval'" not in str(markup.policy)


def test_the_drift_report_is_drawn_and_harmless_in_a_browser(browser: Browser, server: str, drift: Path) -> None:
    for url in (drift.as_uri(), f"{server}/tiny/drift/2026-01-21.html"):
        page = browser.open(url)
        page.until("document.body.innerText.includes('Drift Score')")
        page.until("document.querySelectorAll('td svg').length > 4")
        page.value(
            "[...document.querySelectorAll('tr')].find(row => row.innerText.includes('plan'))"
            ".querySelector('button').click()"
        )
        page.until("[...document.querySelectorAll('svg text')].some(label => label.textContent.includes('planted'))")
        labels = page.value("[...document.querySelectorAll('svg text')].map(label => label.textContent).join('\\n')")
        assert PLANTS[3] in labels, "a category is shown as it is"
        assert page.value("document.querySelectorAll('svg a').length") == 0
        quiet(page, "tiny drift 2026-01-21")


def test_what_a_client_sent_reaches_the_drift_report_as_data(home: Settings, tmp_path: Path) -> None:
    """From a request's category through the server's log and the lake into the page."""
    spec = spec_in(tmp_path / "model")
    log = PredictionLog()
    rows = [
        Prediction(
            "tiny",
            1,
            f"r{n}",
            0,
            f"c{n}",
            at(19),
            at(19),
            {"minutes": float(n), "sessions": 1, "mobile": True, "plan": plan},
            0.5,
        )
        for n, plan in enumerate(PLANTS * 3)
    ]
    log.append(rows).result(timeout=30)
    log.close()
    reference = pd.DataFrame(
        {
            "minutes": [1.0, 2.0],
            "sessions": [1.0, 1.0],
            "mobile": [1.0, 0.0],
            "plan": ["basic"] * 2,
            "prediction": [0.4, 0.6],
        }
    )
    run = run_as_of(spec, 20)
    collected = monitor.collect(run)
    assert collected.rows == len(rows)
    window = live.read(spec, [collected.partition])
    assert window is not None
    drift_report.write(spec, collected.partition, window, reference, {})
    markup = check_harmless((home.reports / "tiny" / "drift" / f"{collected.partition}.html").read_text())
    assert "planted" in "".join(script.text for script in markup.of("script")[:1])


def test_the_reports_server_sends_pages_alone_with_what_a_browser_may_do(
    server: str, reports: Settings, data_docs: object, drift: Path, tmp_path: Path
) -> None:
    page = f"{server}/tiny/drift/2026-01-21.html"
    outside = tmp_path / "outside.html"
    outside.write_text("outside")
    (reports.reports / "out.html").symlink_to(outside)
    (reports.reports / "tiny" / "up").symlink_to(tmp_path)
    (drift.parent / ".2026-01-21.html.part").write_text("being written")
    (drift.parent / "notes.txt").write_text("no page")
    os.mkfifo(drift.parent / "pipe.html")
    with httpx.Client(timeout=5) as client:
        got, head = client.get(page), client.head(page)
        assert (got.status_code, head.status_code, head.content) == (200, 200, b"")
        assert head.headers["content-length"] == str(len(got.content)) and got.text == drift.read_text()
        for path in (
            "out.html",
            "tiny/up/outside.html",
            "tiny/drift/.2026-01-21.html.part",
            "tiny/drift/notes.txt",
            "tiny/drift",
            "tiny/drift/",
            "tiny",
            "tiny/drift/pipe.html",
            "..%2f..%2fetc%2fpasswd",
            "%00.html",
            "tiny/drift/none.html",
            "x" * 5_000 + ".html",
            "%ff%fe.html",
        ):
            assert client.get(f"{server}/{path}").status_code == 404, path
        assert client.post(page).status_code == 405
        stranger = client.get(page, headers={"Host": "planted.example"})
        assert stranger.status_code == 421, "another page's name for this address"
        for answer in (
            stranger,
            got,
            head,
            client.get(server),
            client.get(f"{server}/tiny/none.html"),
            client.post(page),
        ):
            policy = parsed(answer.headers["content-security-policy"])
            assert policy["frame-ancestors"] == policy["default-src"] == ["'none'"]
            assert policy["script-src"] == Markup(drift.read_text()).policy["script-src"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"


def test_a_probe_of_health_is_answered_by_any_name_and_nothing_else_is(server: str) -> None:
    stranger = {"Host": "planted.example"}
    statuses = [httpx.get(f"{server}{path}", headers=stranger).status_code for path in ("/healthz", "/", "/healthz/")]
    assert statuses == [200, 421, 421]


def test_the_index_names_the_newest_pages_whatever_a_file_is_called(
    browser: Browser, server: str, reports: Settings, data_docs: object, drift: Path
) -> None:
    folder = reports.reports / "javascript:alert(1)" / '"><img src=x onerror=alert(1)>'
    folder.mkdir(parents=True)
    (folder / "javascript:alert(2).html").write_text("a page")
    for day in range(1, 31):
        (folder / f"2026-01-{day:02}.html").write_text("a page")
    markup = check_harmless(httpx.get(server).text)
    links = [element.attributes["href"] for element in markup.of("a")]
    assert {"tiny/drift/2026-01-21.html", "shop/data_docs/sources/2026-01-05.html"} <= set(links)
    assert not any(":" in link for link in links)
    assert len([link for link in links if "onerror" in link]) == 10
    for link in links:
        assert httpx.get(f"{server}/{link}").status_code == 200, link
    quiet(browser.open(server), "Reports")


def test_a_page_from_before_is_sent_and_its_scripts_do_not_run(
    browser: Browser, server: str, reports: Settings
) -> None:
    """Reports that an earlier release wrote lie there still, without a policy of their own."""
    old = reports.reports / "tiny" / "old.html"
    old.parent.mkdir(parents=True, exist_ok=True)
    old.write_text(f"<title>old</title><p onclick={RUN}>text</p><script>{RUN}</script><img src=x onerror={RUN}>")
    page = browser.open(f"{server}/tiny/old.html")
    assert page.value("document.title") == "old" and page.value("document.body.innerText") == "text"
    assert len(page.refused) >= 2


def test_a_browser_that_is_given_a_plant_runs_it(browser: Browser, tmp_path: Path) -> None:
    """The other tests would notice: without escaping and policy these plants do run."""
    for number, plant in enumerate(PLANTS[:3]):
        page = tmp_path / f"{number}.html"
        page.write_text(f"<title>page</title><p>{plant}</p>")
        browser.open(page.as_uri()).until("document.title === 'planted'")


@pytest.fixture(scope="module")
def docs() -> Iterator[str]:
    """The model server's `/docs` beside a model whose spec is full of plants: its address."""
    import threading

    import uvicorn
    from fastapi import FastAPI

    from evergreen.serve import documentation
    from evergreen.serve.loaded import Loaded
    from evergreen.serve.models import Models
    from evergreen.serve.routes import docs, predict

    models = Models(["churn"])
    spec = load_spec(PROJECT / "include" / "models" / "churn")
    entity = spec.entity.model_copy(update={"key": PLANTS[1]})
    unused: Any = None
    for slot in models.all():
        slot.current = Loaded(
            spec.model_copy(update={"description": " ".join(PLANTS), "entity": entity}), unused, unused
        )
    app = FastAPI(title="Evergreen model server", docs_url=None, redoc_url=None)
    app.include_router(docs.router)
    documentation.install(app, models, predict.PATH)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/docs"
    server.should_exit = True
    thread.join()


def test_the_servers_docs_show_a_models_words_as_text_in_a_browser(browser: Browser, docs: str) -> None:
    page = browser.open(docs)
    quiet(page, "Evergreen model server")
    text = page.value("document.body.innerText")
    assert "POST /models/churn/predict" in text and all(plant in text for plant in PLANTS[:-1])
    assert page.value("document.querySelectorAll('script, img, svg, iframe').length") == 0


def test_a_models_description_is_text_in_its_dags_documentation(tmp_path: Path) -> None:
    """Airflow shows it as Markdown; read here by a parser that lets HTML through, which Airflow's does not."""
    import mistune

    from evergreen.loops.wiring import LOOPS
    from evergreen.orchestration.airflow import _doc

    for plant in (
        *PLANTS[:-1],
        f"[a report](javascript:{RUN}) ![x](http://planted.example/x.png)",
        f"# a\n<script>{RUN}</script>",
    ):
        markup = Markup(mistune.markdown(_doc(spec_in(tmp_path, description=plant), LOOPS["ingest"], ""), escape=False))
        assert {element.tag for element in markup.elements} <= {"h3", "p", "strong", "a", "code"}
        assert [element.attributes for element in markup.of("a")] == [{"href": "mailto:team@example.org"}]
        assert all(line in markup.text for line in plant.splitlines())


def test_a_page_from_a_template_takes_every_value_for_text(tmp_path: Path) -> None:
    template = tmp_path / "page.html"
    template.write_text("<p title='{{ value }}'>{{ value }}</p>")
    for plant in PLANTS:
        markup = Markup(pages.render(template, value=plant))
        assert [element.tag for element in markup.elements] == ["p"]
        assert (
            markup.text
            == markup.elements[0].attributes["title"]
            == (plant if plant.isprintable() and "\u3164" not in plant else shown(plant)[1:-1])
        )
    assert len(pages.render(template, value="x" * 10**6)) < 21_000
