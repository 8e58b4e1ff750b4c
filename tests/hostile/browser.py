"""A real Chromium without a window, driven through its DevTools protocol:
what a page shows, runs, asks for and is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
from websockets.sync.client import ClientConnection, connect

_SECONDS = 30
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    # Not one name but this machine's is looked up, whatever a page asks for.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


def installed() -> str | None:
    """Where Chromium is, if it is installed."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def started(profile: Path) -> Iterator[Browser]:
    """A browser while the block runs; a test that finds none is skipped, but fails in CI."""
    program = installed()
    if program is None:
        assert not os.environ.get("CI"), "no Chromium: .ci/run installs Debian's"
        pytest.skip("no Chromium here: no page is opened")
    with Browser(program, profile) as opened:
        yield opened


@dataclass
class Page:
    """An opened page, and what happened in it so far."""

    browser: Browser
    session: str
    requests: list[str] = field(default_factory=list)  # every address that was asked for, the page's own the first
    refused: list[str] = field(default_factory=list)  # what its policy refused
    errors: list[str] = field(default_factory=list)  # exceptions of its scripts
    dialogs: list[str] = field(default_factory=list)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is, in the page."""
        answer = self.browser.call(
            "Runtime.evaluate", self.session, expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """The expression's value, once it is true."""
        deadline = time.monotonic() + _SECONDS
        while not (value := self.value(expression)):
            assert time.monotonic() < deadline, (
                f"never true: {expression}; errors: {self.errors}; refused: {self.refused}; "
                f"it shows: {self.value('document.body.innerText')}"
            )
            time.sleep(0.05)
        return value

    def go(self, url: str) -> None:
        """Open an address in this tab, and wait until it has loaded."""
        failed = self.browser.call("Page.navigate", self.session, url=url).get("errorText")
        assert failed is None, f"{url}: {failed}"
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def type(self, selector: str, text: str) -> None:
        """Type into a field, as a person does."""
        self.until(f"document.querySelector({selector!r}) !== null")
        self.value(f"document.querySelector({selector!r}).focus()")
        self.browser.call("Input.insertText", self.session, text=text)

    def press(self, text: str) -> None:
        """Press the button that says this, once it can be pressed."""
        button = f"[...document.querySelectorAll('button')].find(each => each.innerText.trim() === {text!r})"
        self.until(f"{button} !== undefined && !{button}.disabled")
        self.value(f"{button}.click()")


class Browser:
    """One Chromium; each page is a tab of its own."""

    def __init__(self, program: str, profile: Path) -> None:
        self._process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"HOME": str(profile)},
        )
        port_file, deadline = profile / "DevToolsActivePort", time.monotonic() + _SECONDS
        while not port_file.exists() or len(lines := port_file.read_text().splitlines()) < 2:
            assert self._process.poll() is None and time.monotonic() < deadline, "Chromium does not start"
            time.sleep(0.05)
        self._undo = ExitStack()
        address = f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        self._socket: ClientConnection = self._undo.enter_context(connect(address, max_size=None, proxy=None))
        self._pages: dict[str, Page] = {}
        self._last = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()
        self._process.terminate()
        self._process.wait(_SECONDS)

    def open(self, url: str, headers: Mapping[str, str] | None = None) -> Page:
        """Open a page and wait until it has loaded.

        Args:
            headers: of every request that it makes, such as a login.
        """
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        page = Page(self, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        self._pages[page.session] = page
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable", page.session)
        self.call("Network.setExtraHTTPHeaders", page.session, headers=dict(headers or {}))
        page.go(url)
        return page

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The result of one command; events that come in between are noted with their page."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters} | (
            {"sessionId": session} if session else {}
        )
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=_SECONDS))
            if answer.get("id") == self._last:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            if page := self._pages.get(answer.get("sessionId", "")):
                self._note(page, answer["method"], answer["params"])

    def _note(self, page: Page, event: str, parameters: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith("data:"):
            page.requests.append(parameters["request"]["url"])
        elif event == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            page.refused.append(parameters["entry"]["text"])
        elif event == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            page.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif event == "Page.javascriptDialogOpening":
            page.dialogs.append(parameters["message"])
            self._last += 1  # its answer is nobody's
            self._socket.send(
                json.dumps(
                    {
                        "id": self._last,
                        "sessionId": page.session,
                        "method": "Page.handleJavaScriptDialog",
                        "params": {"accept": True},
                    }
                )
            )
