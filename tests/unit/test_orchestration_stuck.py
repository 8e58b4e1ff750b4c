"""The end of a task that no signal reaches."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import pytest

from evergreen.settings import PROJECT

# Waits for itself in the C library, with the interpreter's lock: no handler of a signal runs any more.
TASK = """
import ctypes, signal
from datetime import timedelta

from evergreen.orchestration import stuck

def time_limit(number, frame):
    raise TimeoutError

def waits_in_a_library():
    libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)

signal.signal(signal.SIGALRM, time_limit)
signal.setitimer(signal.ITIMER_REAL, 0.2)  # as Airflow sets a task's limit
stuck.GRACE = timedelta(seconds=1)
with stuck.ended(timedelta(seconds=0.2)):
    waits_in_a_library()
"""


def test_a_task_that_waits_inside_a_library_ends_and_says_where_it_is() -> None:
    done = subprocess.run([sys.executable, "-c", TASK], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "in waits_in_a_library" in done.stderr


@pytest.mark.parametrize("limit", [timedelta(seconds=0.1), None])
def test_a_task_that_ends_in_time_is_left_alone(limit: timedelta | None) -> None:
    rest = "with stuck.ended(LIMIT): pass\ntime.sleep(0.5)\nprint('lives')".replace("LIMIT", repr(limit))
    program = f"import datetime, time\nfrom evergreen.orchestration import stuck\nstuck.GRACE *= 0\n{rest}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("lives", "")


def test_a_process_of_airflow_says_where_it_is_when_it_is_asked() -> None:
    program = """
import os, signal
import airflow_local_settings
def asked():
    os.kill(os.getpid(), signal.SIGUSR1)
asked()
print("lives")
"""
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "config")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "lives")
    assert "in asked" in done.stderr
