"""Linear algebra takes one core per process, as far as nobody said otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from evergreen import cores

_ASKED = """
from evergreen import cores
cores.one_for_algebra()
import numpy, scipy.linalg
from threadpoolctl import threadpool_info
print(*sorted({each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"}))
"""


@pytest.mark.parametrize(("said", "threads"), [({}, 1), ({"OPENBLAS_NUM_THREADS": "2"}, min(2, cores.usable()))])
def test_algebra_takes_one_core_unless_the_environment_says_how_many(said: dict[str, str], threads: int) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    asked = subprocess.run(
        [sys.executable, "-c", _ASKED], env=environment | said, capture_output=True, text=True, check=True
    )
    assert asked.stdout.split() == [str(threads)]
