"""Three replicas under load while versions are swapped, shadowed, promoted and rolled back, and one is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from evergreen.settings import PROJECT

MINUTES = os.environ.get("MINUTES", "30")
_TEST = "tests/components/serve/test_serve_rollouts_under_load.py"


def run() -> str:
    """The section's text; `MINUTES` in the environment makes it shorter or longer."""
    with tempfile.TemporaryDirectory(prefix="evergreen-bench-") as folder:
        report = Path(folder) / "report.md"
        environment = os.environ | {"LOAD_MINUTES": MINUTES, "LOAD_REPORT": str(report)}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", _TEST]
        code = subprocess.run(command, cwd=PROJECT, env=environment).returncode
        if code:
            seen = report.read_text() if report.exists() else "nothing was measured"
            raise SystemExit(f"{_TEST} failed after: {seen}")
        return f"{_PROSE}\n\n{report.read_text()}"


_PROSE = f"""`make bench SECTION=replicas` (`MINUTES=5` for a shorter run) runs the long test `{_TEST}` for that
long: one implementation, whose acts are repeated until the time is over. Three replicas stand behind one address, which
sends what one of them refuses to another; 8 clients of one process ask for one or two entities without pause and never
ask again, so every answer but a 200 is a failed request. Every turn swaps the champion, promotes a shadow and a canary,
has a canary withdrawn by a guard of the server, has one rolled back by a person (and asserts that nobody is answered by
it 2 s later), kills the third replica and starts another in its place. After every turn each acknowledged answer is
looked up in the prediction log, by request, entity, version and value."""
