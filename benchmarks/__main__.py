"""`make bench`: every section in a process of its own, one after the other; docs/benchmarks.md holds what each one found."""

from __future__ import annotations

import argparse
import importlib
import logging
import subprocess
import sys
import time
import warnings

from benchmarks import document
from evergreen.settings import PROJECT

SECTIONS = ("orchestration", "scale", "data", "serving")


def main() -> int:
    """All of it, or the sections that are named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="default: all, in this order")
    names = parser.parse_args().sections or list(SECTIONS)
    if len(names) > 1:
        return max(subprocess.run([sys.executable, "-m", "benchmarks", name]).returncode for name in names)
    _measure(names[0])
    return 0


def _measure(name: str) -> None:
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
