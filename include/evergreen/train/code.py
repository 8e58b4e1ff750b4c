"""Which code made a model."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from pathlib import Path

import evergreen


@cache
def code_hash() -> str:
    """A hash of the package's sources: also tells apart what no commit does."""
    root = Path(evergreen.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def code_version() -> str:
    """The git commit, where there is one, and the hash of the sources."""
    root = Path(evergreen.__file__).parent
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except FileNotFoundError:  # no git on this machine
        return f"sources {code_hash()}"
    commit = found.stdout.strip()
    return f"commit {commit}, sources {code_hash()}" if commit else f"sources {code_hash()}"
