"""The page `/docs`: it needs no network, and nothing that a model's folder says runs in it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from evergreen.serve import documentation
from evergreen.serve.loaded import Loaded
from evergreen.serve.models import Models
from evergreen.serve.routes import docs, predict
from evergreen.settings import PROJECT
from evergreen.spec.load import load_spec

PLANTED = "</p></pre></style><script>document.title='planted'</script><img src=x onerror=alert(1)>"
TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "h1",
    "h2",
    "p",
    "a",
    "code",
    "table",
    "tr",
    "th",
    "td",
    "pre",
}


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, str | None] = {}
        self.style = self.text = ""
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(attrs)
        self._within = tag

    def handle_data(self, data: str) -> None:
        if self._within == "style":
            self.style += data
        else:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._within = ""


def get(app: FastAPI, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await client.get(path)

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def answer() -> httpx.Response:
    """The page of a server with two models, one of which says something else than it should
    wherever a spec has free text."""
    models = Models(["churn", "flight_delay"])
    for slot in models.all():
        spec = load_spec(PROJECT / "include" / "models" / slot.model)
        if slot.model == "churn":
            spec = spec.model_copy(
                update={"description": PLANTED, "entity": spec.entity.model_copy(update={"key": PLANTED})}
            )
        unused: Any = None
        slot.current = Loaded(spec, unused, unused)
    app = FastAPI(title="Evergreen model server", docs_url=None, redoc_url=None)
    app.include_router(docs.router)
    documentation.install(app, models, predict.PATH)
    return get(app, "/docs")


def test_nothing_that_a_model_says_becomes_markup(answer: httpx.Response) -> None:
    page = Page(answer.text)
    assert page.tags == TAGS
    assert set(page.attributes) == {"lang", "charset", "href"} and page.attributes["href"] == "openapi.json"
    assert page.text.count(PLANTED) >= 3, "it is shown: in the summary, as a field, in the example"


def test_the_page_may_run_no_script_and_load_nothing(answer: httpx.Response) -> None:
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    digest = base64.b64encode(hashlib.sha256(Page(answer.text).style.encode()).digest()).decode()
    assert policy["default-src"] == "'none'" and "script-src" not in policy
    assert policy["style-src"] == f"'sha256-{digest}'"
    assert "http://" not in answer.text and "https://" not in answer.text, "it needs no other server"


def test_the_page_tells_how_each_model_is_asked(answer: httpx.Response) -> None:
    text = Page(answer.text).text
    for said in (
        "POST /models/flight_delay/predict",
        "POST /models/churn/predict",
        "entity.flight_id",
        '"carrier": "…"',
        "version",
    ):
        assert said in text, said


def test_there_is_no_page_that_needs_a_network(answer: httpx.Response) -> None:
    from evergreen.serve.app import create_probe_app
    from evergreen.serve.hosts import Hosts

    assert answer.status_code == 200
    app = create_probe_app(Models([]), Hosts())
    assert (get(app, "/redoc").status_code, get(app, "/docs").status_code) == (404, 200)
