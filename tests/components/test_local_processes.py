"""Background processes: started once, known again by a later command,
stopped with their children, loud when they fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from evergreen.errors import StackNotReady
from evergreen.local.processes import MARK, Processes, Service

PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])
time.sleep(60)
"""


def service(code: str, ready: bool = True, patience: float = 5.0) -> Service:
    return Service("one", [sys.executable, "-c", code], dict(os.environ), lambda: ready, patience)


def children_of(pid: int) -> list[psutil.Process]:
    deadline = time.monotonic() + 10
    while not (children := psutil.Process(pid).children()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children
    return children


def test_a_later_command_knows_the_process_and_stops_its_children(tmp_path: Path) -> None:
    Processes(tmp_path).start(service(PARENT))
    later = Processes(tmp_path)
    assert later.running("one")
    later.start(service("raise SystemExit('started twice')"))
    (record,) = (tmp_path / "run").glob("*.json")
    children = children_of(json.loads(record.read_text())["pid"])
    assert later.stop("one") == ["one"]
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert later.stop("one") == []


def test_what_an_earlier_release_started_is_known_and_stopped_with_its_children(tmp_path: Path) -> None:
    """Its processes bear no mark, and its records hold no signal."""
    environment = {name: value for name, value in os.environ.items() if name != MARK}
    (tmp_path / "run").mkdir()
    with subprocess.Popen([sys.executable, "-c", PARENT], env=environment, start_new_session=True) as before:
        try:
            record = {"pid": before.pid, "created": psutil.Process(before.pid).create_time()}
            (tmp_path / "run" / "one.json").write_text(json.dumps(record))
            children = children_of(before.pid)
            later = Processes(tmp_path)
            later.start(service("raise SystemExit('started twice')"))
            assert later.running("one") and later.end_strays() == []
            assert later.stop("one") == ["one"] and later.names() == []
            assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
        finally:
            before.kill()


def test_what_ran_before_and_ends_while_it_is_waited_for_is_started_again(tmp_path: Path) -> None:
    marker = tmp_path / "answers"
    mark_and_stay = f"import pathlib, time; pathlib.Path({str(marker)!r}).touch(); time.sleep(60)"
    Processes(tmp_path).start(service("import time; time.sleep(0.5)"))
    later, again = (
        Processes(tmp_path),
        Service("one", [sys.executable, "-c", mark_and_stay], dict(os.environ), marker.exists, 20),
    )
    later.start(again)
    try:
        later.wait(again)
        assert later.running("one")
    finally:
        later.stop("one")


def test_a_process_in_the_middle_of_its_exec_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a moment it has neither a command line nor an environment, in which its mark will stand."""
    really = {name: getattr(psutil.Process, name) for name in ("cmdline", "environ")}
    with subprocess.Popen(["sleep", "60"], env={MARK: f"one@{tmp_path}"}) as child:
        try:
            end = time.monotonic() + 0.3
            for name, nothing in (("cmdline", []), ("environ", {})):
                monkeypatch.setattr(
                    psutil.Process,
                    name,
                    lambda self, name=name, nothing=nothing: (
                        nothing if self.pid == child.pid and time.monotonic() < end else really[name](self)
                    ),
                )
            assert Processes(tmp_path).end_strays() == ["one"]
            assert not psutil.pid_exists(child.pid)
        finally:
            child.kill()


def test_a_pid_given_to_another_process_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "one.json").write_text(f'{{"pid": {os.getpid()}, "created": 1.0, "signal": 15}}')
    assert Processes(tmp_path).stop("one") == []


@pytest.mark.parametrize(
    ("code", "words"),
    [("raise SystemExit('no database')", "no database"), ("import time; time.sleep(60)", "did not answer")],
)
def test_a_service_that_does_not_come_up_says_why(tmp_path: Path, code: str, words: str) -> None:
    processes = Processes(tmp_path)
    failing = service(code, ready=False, patience=2.0)
    try:
        processes.start(failing)
        with pytest.raises(StackNotReady, match=words):
            processes.wait(failing)
    finally:
        processes.stop("one")
