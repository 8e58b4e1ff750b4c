"""Processes of the local stack: started in the background, found again by a mark that
they bear, stopped with all their children.

A record in `<home>/run` says which process is a service's first one. The mark stands in the environment, so a process
has it from its first instruction and hands it to its children: a command that is killed between a start and its record
leaves nothing unknown.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from evergreen import files
from evergreen.errors import StackNotReady
from evergreen.exposure import UMASK
from evergreen.local.postgres import demoted

MARK = "EVERGREEN_PROCESS"  # "<service>@<home>"
PATIENCE = 900.0  # seconds; what lives may need long on a slow machine, so this only bounds what never ends
_REMIND = 15.0  # seconds between two lines about what is waited for

Progress = Callable[[str], None]


def silent(text: str) -> None:
    """The progress of one who does not want to hear it."""


@dataclass(frozen=True)
class Service:
    """One background process, or a command that ends by itself."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    ready: Callable[[], bool] = lambda: True  # whether it answers
    patience: float = PATIENCE  # seconds until it must
    user: int | None = None
    stop: signal.Signals = signal.SIGTERM  # what asks it to end


@dataclass
class _Waiting:
    """Tells, every now and then, what a long start does."""

    name: str
    log: Path
    progress: Progress
    begin: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._reminded = self._moved = self.begin
        self._size = self._bytes()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begin

    def look(self) -> None:
        now, size = time.monotonic(), self._bytes()
        if size != self._size:
            self._size, self._moved = size, now
        if now - self._reminded >= _REMIND:
            self._reminded = now
            self.progress(f"{self.name}: at it for {self.seconds:.0f} s, {self.seen()}")

    def seen(self) -> str:
        quiet = time.monotonic() - self._moved
        return "its log grows" if quiet < _REMIND else f"its log has stood still for {quiet:.0f} s"

    def _bytes(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0


class Processes:
    """The processes below one home; survives the command that started them."""

    def __init__(self, home: Path) -> None:
        self._home = home.resolve()  # however it is named: the mark is the same
        self._records = home / "run"
        self._logs = home / "logs"
        self._started: set[str] = set()  # by this object

    def start(self, service: Service) -> None:
        """Start a service that is not running yet; does not wait for it."""
        if self.running(service.name):
            return
        self._started.add(service.name)
        child = self._spawn(service)
        created = psutil.Process(child.pid).create_time()
        with files.whole(self._record(service.name)) as partial:
            partial.write_text(json.dumps({"pid": child.pid, "created": created, "signal": int(service.stop)}))

    def run(self, *commands: Service, progress: Progress = silent) -> None:
        """Run commands side by side until each has ended well.

        Raises:
            StackNotReady: one did not, with the end of its log. The others are ended.
        """
        waiting = {command.name: _Waiting(command.name, self.log(command.name), progress) for command in commands}
        running = {command.name: (command, self._spawn(command)) for command in commands}
        try:
            while running:
                for name, (command, child) in list(running.items()):
                    if child.poll() is None and waiting[name].seconds < command.patience:
                        waiting[name].look()
                    elif child.returncode == 0:
                        del running[name]
                    else:
                        ended = f"it ended with status {child.returncode}"
                        raise self._not_ready(
                            name, ended if child.returncode is not None else self._too_long(waiting[name])
                        )
                time.sleep(0.05)
        finally:
            if running:
                self.end_strays(only=running)

    def wait(self, service: Service, progress: Progress = silent) -> None:
        """Until the service answers. One that ran before, and ends meanwhile (its
        database was killed, say), is started again.

        Raises:
            StackNotReady: it ended after it was started here, or lived on for all of its patience
                without an answer; with the end of its log.
        """
        waiting = _Waiting(service.name, self.log(service.name), progress)
        while True:
            ready = service.ready()
            if not self.running(service.name):  # what answers on its port then is another's
                if service.name in self._started:
                    raise self._not_ready(service.name, "it ended")
                self.end_strays(only=[service.name])
                self.start(service)
            elif ready:
                return
            if waiting.seconds > service.patience:
                raise self._not_ready(service.name, self._too_long(waiting))
            waiting.look()
            time.sleep(0.2)

    def stop(self, *names: str, patience: float = 20.0) -> list[str]:
        """Stop services, all at once, with every process that they started; returns the names of those that ran."""
        running = {name: process for name in names if (process := self.process(name)) is not None}
        family: list[psutil.Process] = []
        for name, process in running.items():
            with suppress(psutil.NoSuchProcess):  # it may end by itself between the look and the signal
                family += process.children(recursive=True)
                process.send_signal(int(self._recorded(name).get("signal", signal.SIGTERM)))
        _kill(_alive(running.values(), patience))
        _end(family)  # what the first one of a service has not ended itself
        self.end_strays(only=names)
        for name in names:
            self._record(name).unlink(missing_ok=True)
        return list(running)

    def end_strays(self, *also: psutil.Process, only: Collection[str] | None = None) -> list[str]:
        """End what a killed command, or a service's killed first process, left
        behind; returns the names of the services.

        Args:
            also: processes that bear no mark, and that the caller knows for ours.
            only: of these services; None: of all.
        """
        first = {process.pid for name in self.names() if (process := self.process(name)) is not None}
        _kill([one for one in also if one.pid not in first])  # an earlier release's running server bears no mark
        ended: set[str] = set()
        for _ in range(10):  # again and again: one may start another while it ends
            strays = [
                (name, one) for name, one in self._marked() if (only is None or name in only) and not self.running(name)
            ]
            if not strays:
                return sorted(ended)
            ended.update(name for name, _ in strays)
            _end([stray for _, stray in strays])
        raise StackNotReady(
            f"ending what an earlier start of {self._home} left",
            found=", ".join(f"{name} (process {one.pid})" for name, one in strays),
            expected="that it ends when it is killed",
            next_step="look at what holds these processes (a disk that does not answer?)",
        )

    def names(self) -> list[str]:
        """The services that were started and not stopped, oldest first."""
        return [path.stem for path in sorted(self._records.glob("*.json"), key=lambda p: p.stat().st_mtime_ns)]

    def running(self, name: str) -> bool:
        return self.process(name) is not None

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def tail(self, name: str, lines: int = 25) -> str:
        text = self.log(name).read_text(errors="replace") if self.log(name).exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def marked(self, name: str, environment: Mapping[str, str]) -> dict[str, str]:
        """The environment of a process of ours; who changes its title, leaves it
        readable (setproctitle's own switch)."""
        return {**environment, MARK: f"{name}@{self._home}", "SPT_NOENV": "1"}

    def _spawn(self, service: Service) -> subprocess.Popen[bytes]:
        self._records.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.log(service.name).open("ab") as log:
            return subprocess.Popen(
                [str(part) for part in service.command],
                env=self.marked(service.name, service.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=UMASK,
                cwd="/" if service.user is not None else None,
                **demoted(service.user),
            )

    def _not_ready(self, name: str, problem: str) -> StackNotReady:
        free = shutil.disk_usage(self._home).free
        full = f"; the disk has {free // 2**20} MB left" if free < 2**28 else ""
        return StackNotReady(
            f"starting {name}",
            found=f"{problem}{full}; the end of its log:\n{self.tail(name)}",
            expected="that it starts, and answers",
            next_step=f"correct what the log complains about ({self.log(name)}), then start again",
        )

    def _too_long(self, waiting: _Waiting) -> str:
        return f"it lives, and did not answer within {waiting.seconds:.0f} s; {waiting.seen()}"

    def _record(self, name: str) -> Path:
        return self._records / f"{name}.json"

    def _recorded(self, name: str) -> dict[str, float]:
        """The record of a service; empty where there is none, or what a full disk left of one."""
        try:
            record: dict[str, float] = json.loads(self._record(name).read_text())
            return {key: record[key] for key in ("pid", "created", "signal") if key in record}
        except (FileNotFoundError, ValueError, TypeError):
            return {}

    def process(self, name: str) -> psutil.Process | None:
        """The recorded process, if it still lives: a pid alone may have been given to another one since."""
        record = self._recorded(name)
        if not record.keys() >= {"pid", "created"}:
            return None
        try:
            process = psutil.Process(int(record["pid"]))
            if abs(process.create_time() - record["created"]) >= 1.0 or process.status() == psutil.STATUS_ZOMBIE:
                return None
            mark = _mark(process)
            unmarked = mark == "" and "signal" not in record  # as an earlier release started and recorded it
            return process if mark is None or unmarked or mark == f"{name}@{self._home}" else None
        except psutil.NoSuchProcess:
            return None

    def _marked(self) -> Iterator[tuple[str, psutil.Process]]:
        """Every living process that bears the mark of this home, with its service;
        but for this one and those above it."""
        me = psutil.Process()
        mine = {me.pid, *(parent.pid for parent in me.parents())}
        for process in psutil.process_iter():
            name, at, home = (_mark(process) or "").partition("@")
            if at and home == str(self._home) and process.pid not in mine:
                yield name, process


def _mark(process: psutil.Process) -> str | None:
    """The mark of a process, empty where it bears none; None where its environment cannot be
    read, or was written over by its title."""
    deadline = time.monotonic() + 2.0
    try:
        while process.status() != psutil.STATUS_ZOMBIE:
            begun = bool(process.cmdline())  # asked for first: an exec sets the environment after it
            environment: dict[str, str] = process.environ()
            if environment:
                return environment.get(MARK, "")
            if begun or not process.memory_info().vms or time.monotonic() > deadline:
                return None
            time.sleep(0.01)  # it has memory, and nothing in it yet: it is in the middle of its exec
    except (psutil.Error, OSError):
        pass
    return None


def _end(processes: Collection[psutil.Process]) -> None:
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.terminate()
    _kill(_alive(processes, 5.0))


def _kill(processes: Collection[psutil.Process]) -> None:
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    _alive(processes, 5.0)


def _alive(processes: Collection[psutil.Process], patience: float) -> list[psutil.Process]:
    """Those that live on after some seconds.

    One that has ended counts as gone before its parent, which may never do so, asks how.
    """
    deadline = time.monotonic() + patience
    alive = list(processes)
    while alive := [one for one in alive if not _gone(one)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return alive


def _gone(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            return False
        process.wait(0)  # where it is our own child, the system may forget it
    return True


def answers(url: str) -> bool:
    """Whether a service answers over HTTP, and not that it cannot."""
    try:
        return httpx.get(url, timeout=2).status_code < 500
    except httpx.TransportError:
        return False
