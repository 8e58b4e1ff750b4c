"""Environments of their own, made by uv from a package index: where none answers, the test is skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

INDEX = os.environ.get("UV_DEFAULT_INDEX", "https://pypi.org/simple/")


def environment(folder: Path, requirements: Path) -> str:
    """The Python of an environment that has those packages, and nothing of ours."""
    try:
        urllib.request.urlopen(f"{INDEX.rstrip('/')}/pip/", timeout=20).close()
    except (urllib.error.URLError, TimeoutError) as error:
        pytest.skip(f"the package index {INDEX} does not answer: {error}")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    python = folder / "bin" / "python"
    for command in (
        ["venv", "-q", str(folder), "--python", sys.executable],
        ["pip", "install", "-q", "--python", str(python), "-r", str(requirements)],
    ):
        made = subprocess.run([_uv(), *command], capture_output=True, text=True, env=clean, check=False)
        assert made.returncode == 0, made.stderr
    return str(python)


def _uv() -> str:
    """The program, which `make setup` puts beside the environment."""
    beside = Path(sys.prefix, ".uv/bin/uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    assert found, f"no uv, neither {beside} nor on the path: `make setup` brings it"
    return found
