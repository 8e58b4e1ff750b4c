"""Which code and which declarations made a model."""

from __future__ import annotations

import hashlib
import json
import subprocess
from functools import cache
from pathlib import Path

import evergreen
from evergreen.spec import files
from evergreen.spec.schema import ModelSpec


@cache
def code_hash() -> str:
    """A hash of the package's sources: also tells apart what no commit does."""
    root = Path(evergreen.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def spec_hash(spec: ModelSpec) -> str:
    """A hash of what is declared: `model.yaml` and the queries of features, label and requests (a source's shows in its data)."""
    paths = [*map(spec.view_sql, spec.features), spec.label_sql(), *spec.asking.queries]
    queries = [files.query(spec, path) for path in paths]
    declared = json.dumps([spec.model_dump(mode="json"), queries], sort_keys=True)
    return hashlib.sha256(declared.encode()).hexdigest()


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
