"""Rules that ask a change detector of `river` whether the champion's losses have changed.

River stands in an environment of its own, which is made at the first use: nothing of Evergreen needs it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.decisions.peers import of_champions
from benchmarks.decisions.replay import Past, Rule
from evergreen.settings import PROJECT

VERSION = "0.26.1"
_UV = PROJECT / ".venv" / ".uv" / "bin" / "uv"


class Environment:
    """Where river is installed; removed with this object."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="evergreen-river-")
        environment = Path(self._folder.name)
        subprocess.run([_UV, "venv", "-q", "--python", sys.executable, environment], check=True)
        self.python = environment / "bin" / "python"
        subprocess.run([_UV, "pip", "install", "-q", "--python", self.python, f"river=={VERSION}"], check=True)

    def close(self) -> None:
        """Remove it."""
        self._folder.cleanup()


def detector(python: Path, kind: str) -> Rule:
    """Retrain when it says that the losses of the rows that the champion answered have changed. It is given the mean
    losses of parts of each window whose labels have matured, and begins anew with each champion.

    Args:
        kind: `adwin` or `page-hinkley`, each with the library's defaults.
    """

    def rule(past: Past) -> Iterator[bool]:
        process = subprocess.Popen(
            [python, Path(__file__).with_name("detect.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        given, answers = process.stdin, process.stdout
        assert given is not None and answers is not None

        def begin() -> Callable[[Past, int], bool]:
            given.write(f"new {kind}\n")

            def ask(past: Past, window: int) -> bool:
                given.write(" ".join(map(str, past.losses(window))) + "\n")
                given.flush()
                return answers.readline() == "1\n"

            return ask

        try:
            yield from of_champions(begin)(past)
        finally:
            given.close()
            process.wait()

    return rule
