"""`make bench`: every section in a process of its own, one after the other;
docs/benchmarks.md holds what each one found."""

from __future__ import annotations

import argparse
import importlib
import logging
import signal
import subprocess
import sys
import time
import warnings

from benchmarks import document
from evergreen.settings import PROJECT

SECTIONS = (
    "orchestration",
    "scale",
    "data",
    "gates",
    "selection",
    "monitoring",
    "decisions",
    "rollouts",
    "serving",
    "servers",
    "shadows",
    "soak",
    "replicas",
)


def main() -> int:
    """All of it, or one section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("section", nargs="?", choices=SECTIONS, help="default: all of them, in this order")
    section = parser.parse_args().section
    if section is None:
        codes = [subprocess.run([sys.executable, "-m", "benchmarks", name]).returncode for name in SECTIONS]
        return int(any(codes))  # one that was killed has a negative code
    _measure(section)
    return 0


def _measure(name: str) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what a section started ends with it
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # the stages tell what they do
    started, machine = time.monotonic(), document.machine()
    module = importlib.import_module(f"benchmarks.{name}")
    title, body = str(module.__doc__).splitlines()[0].rstrip("."), module.run()
    took = f"The section took {time.monotonic() - started:.0f} s."
    section = f"## {title}\n\n{body}\n\n{machine}\n{took}"
    document.replace(PROJECT / "docs" / "benchmarks.md", SECTIONS, name, section)
    print(section)


if __name__ == "__main__":
    sys.exit(main())
