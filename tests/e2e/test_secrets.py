"""After the loops have run: which process knows which secret, who may read what was written,
what a guess at Airflow's login costs."""

from __future__ import annotations

import json
import os
import stat
import time
from collections import defaultdict
from pathlib import Path

import httpx
import psutil
import pytest

from evergreen.local import environment
from evergreen.settings import ADMIN_USER
from evergreen.throttle import FREE, LONGEST
from tests.e2e.conftest import Stack


def processes(home: Path) -> dict[str, list[psutil.Process]]:
    """Every process of the running stack, by the service that it belongs to."""
    by_service = {}
    for record in (home / "run").glob("*.json"):
        first = psutil.Process(json.loads(record.read_text())["pid"])
        by_service[record.stem] = [first, *first.children(recursive=True)]
    return by_service


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="other systems show no other process's environment")
def test_a_secret_is_where_the_table_says_and_nowhere_else(running: Stack) -> None:
    values = environment.secret_values(running.settings)
    secrets_of, seen = defaultdict(set), set()
    for service, family in processes(running.settings.home).items():
        allowed = {values[name] for name in environment.SEES[service].secrets & values.keys()}
        for process in family:
            try:
                given = Path(f"/proc/{process.pid}/environ").read_bytes().decode(errors="replace")
                arguments = " ".join(process.cmdline())
            except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
                continue  # it has ended
            seen.add(service)
            secrets_of[service] |= {name for name, value in values.items() if value in given}
            strange = [
                name for name, value in values.items() if value in given and not any(value in one for one in allowed)
            ]
            assert not strange, f"{service} ({process.pid}) knows {strange}"
            assert not [name for name, value in values.items() if value in arguments], f"{service}: {arguments}"
    assert seen == set(environment.SEES) - {"apply", "airflow"}
    # a process that has named itself (Airflow's, by setproctitle) wrote over what /proc shows; these have not
    assert secrets_of["mlflow"] >= environment.SEES["mlflow"].secrets and not secrets_of["reports"]


def test_no_log_holds_a_secret(running: Stack) -> None:
    values = environment.secret_values(running.settings)
    files = [file for file in (running.settings.home / "logs").rglob("*") if file.is_file()]
    assert len(files) > 50
    for file in files:
        text = file.read_text(errors="replace")
        assert not [name for name, value in values.items() if value in text], file


def test_what_the_stack_wrote_is_read_by_its_owner_alone(running: Stack) -> None:
    home = running.settings.home
    assert stat.S_IMODE(home.stat().st_mode) == (0o711 if os.geteuid() == 0 else 0o700)
    written = [path for path in home.rglob("*") if not path.is_symlink()]
    assert len(written) > 300
    assert not [path for path in written if path.stat().st_mode & 0o077]


def test_who_guesses_airflows_password_waits_and_the_right_one_is_taken_after(running: Stack) -> None:
    def ask(password: str) -> httpx.Response:
        body = {"username": ADMIN_USER, "password": password}
        return httpx.post(f"{running.settings.airflow_url}/auth/token", json=body, timeout=20)

    answers = [ask(f"guess {number}") for number in range(FREE + 2)]
    assert {answer.status_code for answer in answers} == {401, 429} and answers[-1].status_code == 429
    wait = int(answers[-1].headers["retry-after"])
    assert 0 < wait <= LONGEST
    time.sleep(wait)
    assert ask(running.settings.airflow_password).status_code == 201
