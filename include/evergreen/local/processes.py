"""Processes of the local stack: started in the background, known by pid and start time, stopped with all their children."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from evergreen.errors import StackNotReady
from evergreen.exposure import UMASK
from evergreen.local.postgres import demoted


@dataclass(frozen=True)
class Service:
    """One background process."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    ready: Callable[[], bool]  # whether it answers
    patience: float = 120.0  # seconds until it must
    user: int | None = None


class Processes:
    """The processes below one home; survives the command that started them."""

    def __init__(self, home: Path) -> None:
        self._records = home / "run"
        self._logs = home / "logs"

    def start(self, service: Service) -> None:
        """Start a service that is not running yet; does not wait for it."""
        if self.running(service.name):
            return
        self._records.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.log(service.name).open("ab") as log:
            child = subprocess.Popen(
                [str(part) for part in service.command],
                env=service.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, umask=UMASK, cwd="/" if service.user is not None else None,
                **demoted(service.user),
            )  # fmt: skip
        record = {
            "pid": child.pid,
            "created": psutil.Process(child.pid).create_time(),
        }
        partial = self._record(service.name).with_suffix(".partial")
        partial.write_text(json.dumps(record))
        partial.rename(self._record(service.name))

    def wait(self, service: Service) -> None:
        """Until the service answers; raises `StackNotReady` with the end of its log when it does not."""
        deadline = time.monotonic() + service.patience
        while not service.ready():
            if not self.running(service.name):
                raise self._not_ready(service.name, "it ended")
            if time.monotonic() > deadline:
                raise self._not_ready(service.name, f"it did not answer within {service.patience:.0f} s")
            time.sleep(0.2)

    def _not_ready(self, name: str, found: str) -> StackNotReady:
        return StackNotReady(
            f"starting {name}", found=f"{found}; the end of its log:\n{self.tail(name)}", expected="an answer",
            next_step=f"mend what the log says ({self.log(name)}), then start again",
        )  # fmt: skip

    def stop(self, *names: str, patience: float = 20.0) -> list[str]:
        """Stop services, all at once, with every process that they started; returns the names of those that ran."""
        running = {name: process for name in names if (process := self._process(name)) is not None}
        family: list[psutil.Process] = []
        for process in running.values():
            with suppress(psutil.NoSuchProcess):  # it may end by itself between the look and the signal
                family += [process, *process.children(recursive=True)]
                process.terminate()
        _, alive = psutil.wait_procs(family, timeout=patience)
        for survivor in alive:
            with suppress(psutil.NoSuchProcess):
                survivor.kill()
        psutil.wait_procs(alive, timeout=5)
        for name in names:
            self._record(name).unlink(missing_ok=True)
        return list(running)

    def names(self) -> list[str]:
        """The services that were started and not stopped, oldest first."""
        return [path.stem for path in sorted(self._records.glob("*.json"), key=lambda p: p.stat().st_mtime_ns)]

    def running(self, name: str) -> bool:
        return self._process(name) is not None

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def tail(self, name: str, lines: int = 25) -> str:
        text = self.log(name).read_text(errors="replace") if self.log(name).exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _record(self, name: str) -> Path:
        return self._records / f"{name}.json"

    def _process(self, name: str) -> psutil.Process | None:
        """The recorded process, if it still lives: a pid alone may have been given to another one since."""
        if not self._record(name).exists():
            return None
        record = json.loads(self._record(name).read_text())
        try:
            process = psutil.Process(record["pid"])
            same = abs(process.create_time() - record["created"]) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def answers(url: str) -> bool:
    """Whether a service answers over HTTP, and not that it cannot."""
    try:
        return httpx.get(url, timeout=2).status_code < 500
    except httpx.TransportError:
        return False
