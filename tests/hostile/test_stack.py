"""What is done to `evergreen up`: killed at any instant, twice at once,
on homes and data that are damaged, full, or another's.

Postgres stands for all parts, where the kind of attack is the same for each; those marked long start every part.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from evergreen import cli
from evergreen.addresses import free_port
from evergreen.errors import PermanentError, StackNotReady
from evergreen.local import services, stack
from evergreen.local.postgres import demoted, refuge_folder
from evergreen.local.processes import MARK, PATIENCE, Processes, Progress
from evergreen.settings import ENVIRONMENT_FILE, settings
from tests.hostile.moving import moving

URLS = ("AIRFLOW", "MLFLOW", "SERVER", "REPORTS")
SEED = 13
ROOT = os.geteuid() == 0
WRITTEN = b"# Written by `evergreen up`. The environment of a process wins over this file.\n"


def of_home(home: Path) -> list[str]:
    """Every living process that has to do with a home: by its environment, its command line or its working folder."""
    commands, me = [], psutil.Process()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE or process.pid in (
                me.pid,
                *(each.pid for each in me.parents()),
            ):
                continue
            said = [*process.environ().values(), *process.cmdline(), process.cwd()]
            if any(str(folder) in text for folder in (home, refuge_folder(home)) for text in said):
                commands.append(f"{process.pid} {' '.join(process.cmdline()[:5])}")
    return commands


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of a stack on free ports; nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="evergreen-hostile-") as folder:
        # Postgres' user passes; pytest's own folders are closed, and then its binaries are copied.
        Path(folder).chmod(0o711)
        yield from _home(Path(folder) / "home", monkeypatch)


def _home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in URLS:
        monkeypatch.setenv(f"EVERGREEN_{name}_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("EVERGREEN_POSTGRES_PORT", str(free_port()))
    monkeypatch.setenv("EVERGREEN_HOME", str(home))
    settings.cache_clear()
    yield home
    with contextlib.suppress(StackNotReady):
        stack.down(lambda _: None)
    shutil.rmtree(refuge_folder(home), ignore_errors=True)  # it is not below pytest's folder
    settings.cache_clear()


def command(*arguments: str, code: str = "") -> subprocess.Popen[str]:
    """The `evergreen` command, in a process of its own; `code` runs before it."""
    run = f"{code}\nimport sys\nfrom evergreen import cli\nsys.exit(cli.main(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-u", "-c", run, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A session that was started in the background ignores it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def pid_of(home: Path, name: str) -> int:
    pid: int = json.loads((home / "run" / f"{name}.json").read_text())["pid"]
    return pid


# Whoever is killed where a signal hits worst: right after a child was made, before anything was written about it.
KILLED_AFTER_A_START = """
import os, signal, subprocess
class Popen(subprocess.Popen):
    def __init__(self, command, *rest, **options):
        super().__init__(command, *rest, **options)
        if str(command[0]).endswith("/{child}"):
            os.kill(os.getpid(), signal.SIGKILL)
subprocess.Popen = Popen
"""


@pytest.mark.parametrize("child", ["initdb", "postgres"])
def test_a_kill_between_a_start_and_its_record_leaves_nothing_unknown(home: Path, child: str) -> None:
    killed = command("up", "postgres", code=KILLED_AFTER_A_START.replace("{child}", child))
    said = killed.communicate(timeout=60)[0]
    assert killed.returncode == -signal.SIGKILL, said
    assert not list((home / "run").glob("*.json"))
    if child == "postgres":
        assert any(f"{child} -D" in one for one in of_home(home)), "it was left behind"
        assert stack.down() == ["postgres"]
        assert not of_home(home)
    stack.up(only=("postgres",))
    assert stack.down() == ["postgres"] and not of_home(home)


# Starts at a sign, with everything loaded: how long that takes must not part the two.
AT_A_SIGN = """
import time
from pathlib import Path
from evergreen.local import stack
print("ready")
while not Path("{sign}").exists():
    time.sleep(0.01)
"""


def test_two_at_once_start_one_stack(home: Path) -> None:
    sign = home.with_name("sign")
    both = [command("up", "postgres", code=AT_A_SIGN.replace("{sign}", str(sign))) for _ in range(2)]
    for each in both:
        assert each.stdout is not None and each.stdout.readline() == "ready\n"
    sign.touch()
    said = [each.communicate(timeout=120)[0] for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    waits = [text for text in said if "waiting for" in text]
    assert len(waits) == 1, said
    pids = {each.pid for each in both}
    holder = re.search(r"waiting for `evergreen up` \(process (\d+) of \S+ on \S+, since 20\d\d-", waits[0])
    assert holder and int(holder[1]) in pids, waits[0]
    assert len([one for one in of_home(home) if "postgres -D" in one]) == 1
    assert stack.down() == ["postgres"] and not of_home(home)


@pytest.mark.parametrize("end", ["ctrl-c", "down"])
def test_a_start_that_is_interrupted_stops_what_it_had_started(home: Path, end: str) -> None:
    starting = command(
        "up", "postgres", code="from evergreen.local import postgres; postgres.answers = lambda url: False"
    )
    assert starting.stdout is not None
    for line in starting.stdout:
        if line.startswith("Postgres on"):
            break
    while not (home / "run" / "postgres.json").exists():
        time.sleep(0.02)
    if end == "ctrl-c":
        starting.send_signal(signal.SIGINT)
    else:
        messages: list[str] = []
        assert stack.down(messages.append) == []
        assert re.search(rf"`evergreen up` \(process {starting.pid} .* is asked to end", messages[0]), messages
    said = starting.communicate(timeout=60)[0]
    assert starting.returncode == 130, said
    assert "Interrupted: what this command had started is stopped" in said and "Traceback" not in said
    assert not of_home(home)


def kills(home: Path, instants: list[float], attempts: int, progress: Progress = print) -> None:
    """`evergreen up postgres` is killed at each instant, a fraction of what a whole start from nothing takes here and
    now; then `down` leaves nothing, or the next `up` goes on with what there is."""
    begin = time.monotonic()
    undisturbed = command("up", "postgres")
    output = undisturbed.communicate()[0]
    whole = time.monotonic() - begin
    assert undisturbed.returncode == 0, output
    stack.reset(progress, ours=True)
    for number, instant in enumerate(instants):
        starting = command("up", "postgres")
        time.sleep(instant * whole)
        killed(home, starting, number, f"after {instant:.2f} of {whole:.2f} s")
        progress(f"killed {number + 1} of {len(instants)}")
    settle(home, ("postgres",), attempts, progress)


def killed(home: Path, starting: subprocess.Popen[str], number: int, when: str) -> None:
    """The end of a start; after every second one, nothing is left."""
    starting.kill()
    starting.communicate(timeout=60)
    if number % 2 == 0:
        stack.down()
        assert not of_home(home), f"killed {when} (seed {SEED}, number {number})"


def settle(home: Path, parts: tuple[str, ...], attempts: int, progress: Progress = print) -> None:
    """After all kills, one stack starts, and ends."""
    for _ in range(attempts):
        stack.up(progress, only=parts)
    assert len([one for one in of_home(home) if "postgres -D" in one]) == 1
    stack.down()
    assert not of_home(home)


@pytest.fixture
def watched() -> Iterator[Progress]:
    """Takes the lines of a start, and ends a test that has none for longer than a start may wait for one part."""
    with moving(int(PATIENCE) + 60) as moved:
        yield moved


def test_kills_at_random_instants_leave_nothing(home: Path) -> None:
    dice = random.Random(SEED)
    kills(home, [dice.uniform(0.2, 1.0) for _ in range(3)], 1)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_many_kills_at_random_instants_leave_nothing(home: Path, watched: Progress) -> None:
    dice = random.Random(SEED)
    kills(home, [dice.uniform(0.1, 1.4) for _ in range(30)], 2, watched)


# What a start of all parts says, one after the other.
STEPS = (
    "Postgres on",
    "starting mlflow",
    "database migrations",
    *(f"starting {name}" for name in services.SERVICES if name != "mlflow"),
    *(f"{name} answers" for name in services.SERVICES),
)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_kills_of_a_start_with_all_parts_leave_nothing(home: Path, watched: Progress) -> None:
    """Killed at what it says, and not at a time: a fast machine has started all by then, a busy one has not begun."""
    dice = random.Random(SEED)
    for number, step in enumerate(dice.sample(STEPS, 12)):
        starting = command("up", *services.PARTS)
        assert starting.stdout is not None
        for line in starting.stdout:  # to its end, where this step was done by the start before
            watched(line.rstrip())
            if line.startswith(step):
                time.sleep(dice.uniform(0.0, 2.0))  # between two steps, too
                break
        killed(home, starting, number, f"at {step!r}")
    settle(home, services.PARTS, 1, watched)


def test_a_dead_server_leaves_neither_a_process_nor_a_pid_in_the_way(home: Path) -> None:
    """Its backends outlive it where they cannot notice;
    its pid belongs to another process of the same user when it starts again."""
    here = stack.up(only=("postgres",))
    server = psutil.Process(pid_of(home, "postgres"))
    left = server.children()[0]
    left.suspend()
    server.kill()
    server.wait(10)
    data = Path(left.cwd())
    user = left.uids().real if ROOT else None
    with subprocess.Popen(["sleep", "60"], **demoted(user)) as other:
        file = data / "postmaster.pid"
        file.write_text("\n".join([str(other.pid), *file.read_text().splitlines()[1:]]) + "\n")
        stack.up(only=("postgres",))
        assert other.poll() is None, "a process that is not ours"
        other.kill()
    assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE
    assert pid_of(home, "postgres") != server.pid and settings().database == here.database
    assert stack.down() == ["postgres"] and not of_home(home)


def test_one_part_starts_again_while_the_others_go_on(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack.up(only=("postgres", "reports"))
    first = {name: pid_of(home, name) for name in ("postgres", "reports")}
    assert cli.main(["restart", "reports"]) == 0
    second = {name: pid_of(home, name) for name in first}
    assert second["postgres"] == first["postgres"] and second["reports"] != first["reports"]
    assert cli.main(["restart", "postgres"]) == 0
    assert pid_of(home, "reports") == second["reports"] and pid_of(home, "postgres") != first["postgres"]
    assert "was interrupted" not in Processes(home).tail("postgres", 100), "it was stopped in good order"
    with pytest.raises(SystemExit):
        cli.main(["restart", "airflow-scheduler"])
    assert "no part 'airflow-scheduler'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [
        b"\0" * 400,
        b"EVERGREEN_POSTGRES_PASSWORD=abc\nEVERGREEN_SERV",
        b"EVERGREEN_AIRFLOW_PASSWORD=\xff\xfe\n",
        b"A B=1\n",
        b"A=1\n\0\0\0\n",
    ],
    ids=["zeros", "half", "bytes", "no name", "zeros at its end"],
)
def test_damaged_settings_are_told_and_can_be_stopped_and_deleted(
    home: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    home.mkdir()
    (home / ENVIRONMENT_FILE).write_bytes(WRITTEN + content)
    for arguments, status in ((["up", "postgres"], 1), (["check"], 1), (["down"], 0)):
        assert cli.main(arguments) == status
        said = capsys.readouterr()
        assert status == 0 or (str(home / ENVIRONMENT_FILE) in said.err and "next step" in said.err), said.err
    assert cli.main(["reset"]) == 0
    assert not home.exists()


def test_data_that_this_stack_cannot_open_is_told_and_kept(home: Path) -> None:
    here = stack.up(only=("postgres",))
    data = Path(psutil.Process(pid_of(home, "postgres")).cwd())
    stack.down()
    file = home / ENVIRONMENT_FILE
    sound = file.read_text()
    password = here.database.split(":")[2].partition("@")[0]
    file.write_text(sound.replace(password, "another"))
    with pytest.raises(StackNotReady, match="EVERGREEN_POSTGRES_PASSWORD back from a copy"):
        stack.up(only=("postgres",))
    stack.down()
    file.write_text(sound)
    settings.cache_clear()
    version = (data / "PG_VERSION").read_text()
    for written, reason in (("9\n", "data of Postgres 9"), (None, "without a PG_VERSION")):
        (data / "PG_VERSION").write_text(written) if written else (data / "PG_VERSION").unlink()
        with pytest.raises(StackNotReady, match=reason):
            stack.up(only=("postgres",))
        assert (data / "base").exists(), "nothing is deleted"
    (data / "PG_VERSION").write_text(version)
    shutil.chown(data / "PG_VERSION", data.stat().st_uid)
    stack.up(only=("postgres",))
    assert stack.down() == ["postgres"]


def nowhere(tmp_path: Path) -> Path:
    (tmp_path / "file").touch()
    return tmp_path / "file" / "home"


def another_users(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    (home / ENVIRONMENT_FILE).write_text("# Written by `evergreen up`.\n")
    os.chown(home / ENVIRONMENT_FILE, 12345, -1)
    return home


PLACES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "not to be written": (lambda _: Path("/sys/evergreen"), "another folder|read only"),
    "below a file": (nowhere, "Not a directory"),
    "too long": (lambda folder: folder / ("x" * 300), "shorter path"),
    "too deep": (lambda folder: folder.joinpath(*["x" * 200] * 25), "shorter path"),
}
if ROOT:
    PLACES["another user's"] = (another_users, "do it as user 12345")


@pytest.mark.parametrize("place", PLACES)
def test_a_home_that_cannot_be_used_is_told_with_what_to_do(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, advice = PLACES[place]
    for _ in _home(make(tmp_path), monkeypatch):
        assert cli.main(["up", "postgres"]) == 1
        said = capsys.readouterr().err
        assert re.search(f"next step: .*({advice})", said) or re.search(f"found: .*({advice})", said), said
        assert "Traceback" not in said


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 8 MB, which is too small for a database."""
    with tempfile.TemporaryDirectory(prefix="evergreen-hostile-") as folder:
        Path(folder).chmod(0o711)
        disk = Path(folder) / "disk"
        disk.mkdir()
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "none", disk], capture_output=True
        ).returncode:
            pytest.skip("only root can mount a small disk")
        yield disk
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_is_told(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for home in _home(small_disk / "home", monkeypatch):
        assert cli.main(["up", "postgres"]) == 1
        assert "no room left" in capsys.readouterr().err
        with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
            while filler.write(b"x" * 4096):
                pass
        assert cli.main(["up", "postgres"]) == 1
        said = capsys.readouterr().err
        assert "next step: make room there" in said and "Traceback" not in said, said
        assert cli.main(["down"]) == 0
        (small_disk / "filler").unlink()
        assert "EVERGREEN_POSTGRES_PASSWORD=" in (home / ENVIRONMENT_FILE).read_text(), "what was there is whole"


def test_a_home_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for home in _home(tmp_path / 'it\'s a "home" of 100%d $HOME=x@y' / ("Bäume 木 " * 12), monkeypatch):
        stack.up(only=("postgres", "reports"))
        stack.up(only=("postgres", "reports"))
        assert len(of_home(home)) >= 2
        assert stack.down() == ["reports", "postgres"] and not of_home(home)


def test_a_lock_is_free_once_its_process_is_dead_and_says_who_waits_for_whom(home: Path) -> None:
    holding = "from pathlib import Path\nfrom evergreen.local import lock\nimport sys, time\n"
    holding += "with lock.locked(Path(sys.argv[1]), 'evergreen reset', print):\n    print('held')\n    time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-u", "-c", holding, str(home)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    messages: list[str] = []
    waiting = threading.Thread(target=lambda: stack.down(messages.append))
    waiting.start()
    while not messages:
        time.sleep(0.02)
    assert f"waiting for `evergreen reset` (process {other.pid}" in messages[0], (
        "a reset is not interrupted: it would leave half a home"
    )
    assert other.poll() is None
    other.kill()
    other.wait()
    waiting.join(10)
    assert not waiting.is_alive()


@pytest.mark.long
@pytest.mark.timeout(0)
def test_every_part_starts_again_and_the_ones_that_need_it_go_on(home: Path, watched: Progress) -> None:
    here = stack.up(watched)
    for part in services.PARTS:
        before = {name: pid_of(home, name) for name in Processes(home).names()}
        stack.restart([part], watched)
        after = {name: pid_of(home, name) for name in Processes(home).names()}
        assert after.keys() == before.keys()
        for name in before:
            again = name == part or name.startswith(f"{part}-") or (part == "postgres" and name.startswith("airflow-"))
            assert (after[name] != before[name]) == again, name
        time.sleep(20)  # what cannot live without it would be gone by now
        assert [name for name in after if not Processes(home).running(name)] == [], f"after {part} was started again"
        stack.up(watched)
    assert here == settings()
    worker = next(child for child in psutil.Process(pid_of(home, "mlflow")).children(recursive=True))
    first = psutil.Process(pid_of(home, "mlflow"))
    first.kill()
    first.wait(10)  # it may still be there for a moment, and counts as running
    stack.up(watched)  # its workers still had its port
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    scheduler = psutil.Process(pid_of(home, "airflow-scheduler"))
    forked = scheduler.children(recursive=True)
    assert forked
    scheduler.kill()
    scheduler.wait(10)
    stack.down()
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in forked)
    assert not of_home(home)


def test_the_mark_is_what_makes_a_process_ours(home: Path) -> None:
    """A foreign process is left alone, whatever a record says of it: its pid, and the time at which it was made."""
    with (
        subprocess.Popen(["sleep", "60"]) as other,
        subprocess.Popen(["sleep", "60"], env={MARK: f"x@{home}2"}) as neighbour,
    ):
        (home / "run").mkdir(parents=True)
        for name, process in (("one", other), ("two", neighbour)):
            record = {"pid": process.pid, "created": psutil.Process(process.pid).create_time(), "signal": 15}
            (home / "run" / f"{name}.json").write_text(json.dumps(record))
        (home / "run" / "three.json").write_text('{"pid": ')
        assert stack.down() == []
        assert other.poll() is None and neighbour.poll() is None
        other.kill()
        neighbour.kill()


def test_a_damaged_project_setting_names_itself(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_BIND", "203.0.113.7")  # documentation's own: no address of this machine
    settings.cache_clear()
    with pytest.raises((StackNotReady, PermanentError), match="EVERGREEN_BIND"):
        stack.up(only=("reports",))
