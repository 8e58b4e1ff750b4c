"""Starting the local stack where something is in the way: what is told, and what is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from evergreen import cli
from evergreen.addresses import free_port
from evergreen.errors import PortTaken, ServiceUnavailable
from evergreen.local import ports, stack
from evergreen.local.postgres import refuge_folder
from evergreen.settings import settings

ADDRESSES = ("AIRFLOW_URL", "MLFLOW_URL", "SERVER_URL", "REPORTS_URL")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of a stack on free ports."""
    for name in ADDRESSES:
        monkeypatch.setenv(f"EVERGREEN_{name}", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("EVERGREEN_POSTGRES_PORT", str(free_port()))
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield tmp_path / "home"
    shutil.rmtree(refuge_folder(tmp_path / "home"), ignore_errors=True)  # it is not below pytest's folder
    settings.cache_clear()


@pytest.mark.parametrize("setting", [*(f"EVERGREEN_{name}" for name in ADDRESSES), "EVERGREEN_POSTGRES_PORT"])
def test_a_port_that_is_taken_is_named_with_the_setting_that_changes_it(
    home: Path, setting: str, capsys: pytest.CaptureFixture[str]
) -> None:
    port = int(os.environ[setting].rpartition(":")[2])
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(PortTaken) as taken:
            stack.up()
        assert f"port {port} is taken" in taken.value.found and f"{setting}=" in taken.value.next_step
        assert cli.main(["up"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert not home.exists(), "nothing was started, nothing was written"


def test_a_port_of_a_process_that_is_still_ending_is_waited_for(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel frees the port of a killed server with its last thread, and until then shows nobody who holds it."""
    monkeypatch.setattr(ports, "_by", lambda port: "")
    with socket.socket() as ending:
        ending.bind(("127.0.0.1", int(os.environ["EVERGREEN_REPORTS_URL"].rpartition(":")[2])))
        ending.listen()
        threading.Timer(0.3, ending.close).start()
        ports.check(settings(), ["reports"])


def test_parts_of_the_stack_start_alone_and_again(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:  # a port of a part that is not wanted may be taken
        other.bind(("127.0.0.1", int(os.environ["EVERGREEN_AIRFLOW_URL"].rpartition(":")[2])))
        other.listen()
        try:
            assert cli.main(["up", "postgres", "reports"]) == 0
            output = capsys.readouterr().out
            assert output.splitlines()[-1].split() == ["Reports", os.environ["EVERGREEN_REPORTS_URL"]]
            assert f"the login of Airflow: admin / {settings().airflow_password} " in output
            assert sorted(path.stem for path in (home / "run").glob("*.json")) == ["postgres", "reports"]
            assert cli.main(["down"]) == 0
            monkeypatch.setenv("EVERGREEN_DISK_RESERVE_MB", "1000000000")
            settings.cache_clear()
            assert cli.main(["up", "postgres"]) == 0, "on the data that is there"
            output = capsys.readouterr().out
            assert settings().airflow_password not in output, "a password is shown once"
            assert "WARNING: the disk of Postgres, home, lake" in output, "little space is told"
        finally:
            assert stack.down() == ["postgres"]


def test_a_part_that_there_is_not_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["up", "postgress"])
    assert "no part 'postgress'" in capsys.readouterr().err and not home.exists()


def test_a_database_server_that_does_not_answer_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("EVERGREEN_DATABASE", f"postgresql://someone:secret@127.0.0.1:{port}")
    settings.cache_clear()
    with pytest.raises(ServiceUnavailable, match=f"{port}[\\s\\S]*EVERGREEN_DATABASE") as raised:
        stack.up()
    assert "secret" not in str(raised.value)


def test_a_folder_that_no_stack_wrote_is_not_deleted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home.mkdir(parents=True)
    (home / "thesis.txt").write_text("years of work")
    (home / "environment").mkdir()
    assert cli.main(["reset"]) == 1
    assert "no stack wrote" in capsys.readouterr().err and (home / "thesis.txt").exists()


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_demo_that_is_interrupted_while_it_starts_leaves_nothing_running(home: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, "-m", "evergreen_demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A session that was started in the background ignores it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert demo.stdout is not None
    started: list[psutil.Process] = []
    for line in demo.stdout:
        if "starting mlflow" in line:  # Postgres runs, its databases are made and migrated, MLflow starts
            while not (home / "logs" / "mlflow.log").exists():
                time.sleep(0.01)
            started = psutil.Process(demo.pid).children(recursive=True)
            demo.send_signal(signal.SIGINT)
            break
    begin = time.monotonic()
    _, output = demo.communicate(timeout=60)
    assert demo.returncode == 130, output
    assert "Interrupted: all that the demo had started is stopped" in output and "Traceback" not in output
    assert {"postgres", "mlflow"} <= {path.stem for path in (home / "logs").glob("*.log")}
    left = [process for process in started if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert not left, f"after {time.monotonic() - begin:.0f} s"
    assert list((home / "run").glob("*.json")) == []
    assert stack.reset() == []
    assert not home.exists()
