"""The reports' server: the pages below one folder and an index of the newest, for reading only.

It sends no other file (a page that is being written, what a link points to outside of the folder), and with everything
a policy under which no script runs but the drift report's own: also in pages that lie there from before, or that
somebody else wrote.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from evergreen.reports.evidently import content_policy
from evergreen.reports.pages import render, style
from evergreen.reports.policy import policy
from evergreen.serve.hosts import Hosts

HEALTH = "/healthz"  # for probes, which ask by whatever address they know
NEWEST = 10  # pages of each folder that the index names


def create_app(folder: Path, hosts: Hosts) -> Starlette:
    """The application.

    Args:
        folder: where the pages lie; it may be empty, or not there yet.
        hosts: the names by which it may be asked; another web page that gives its own name this address reads nothing.
    """

    def index(request: Request) -> HTMLResponse:
        return HTMLResponse(_index(folder))

    pages = _Pages(directory=folder, check_dir=False)
    return Starlette(
        routes=[Route("/", index), Route(HEALTH, lambda _: PlainTextResponse("alive")), Mount("/", pages)],
        middleware=[Middleware(_Headers), Middleware(_Asked, hosts=hosts)],
    )


class _Pages(StaticFiles):
    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        if not path.endswith(".html") or any(part.startswith(".") for part in Path(path).parts):
            return "", None
        return super().lookup_path(path)

    async def check_config(self) -> None:
        """The folder comes with the first run's page; until then there is none to send."""


class _Asked:
    """Refuses who asks by a name that is not ours, but for a probe of health."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = None
        if scope["type"] == "http" and scope["path"] != HEALTH:
            refused = self.hosts.refusal(Request(scope).headers.getlist("host"), scope["http_version"])
        answer = PlainTextResponse(refused[1], refused[0]) if refused else self.app
        await answer(scope, receive, send)


class _Headers:
    """Adds to every answer, errors too, what a browser may do with it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.headers = {
            "Content-Security-Policy": f"{content_policy()}; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        await self.app(scope, receive, sent)


def _index(folder: Path) -> str:
    folders = {}
    for place, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if name[0] != ".")
        pages = (Path(place, name) for name in sorted(files, reverse=True) if name.endswith(".html") and name[0] != ".")
        newest = list(islice((page for page in pages if page.is_file() and not page.is_symlink()), NEWEST))
        if newest:
            where = Path(place).relative_to(folder).as_posix()
            folders[where] = [(page.stem, quote(page.relative_to(folder).as_posix())) for page in newest]
    return render(
        Path(__file__).with_name("index.html"), folders=folders, style=Markup(style()), policy=policy(style=style())
    )
