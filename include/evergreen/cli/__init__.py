"""The `evergreen` command: one module for each group of its commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from evergreen import cores
from evergreen.cli import (
    backtest,
    beginning,
    check,
    correct,
    erase,
    evidence,
    explain,
    generate,
    history,
    housekeeping,
    keys,
    lineage,
    rebuild,
    registry,
    reproduce,
    rollout,
    run,
    stack,
    status,
    trying,
)
from evergreen.cli.parsing import Described
from evergreen.disk import raising_disk_full
from evergreen.errors import EvergreenError
from evergreen.exposure import UMASK

GROUPS = (
    beginning,
    trying,
    check,
    history,
    registry,
    rollout,
    keys,
    lineage,
    rebuild,
    reproduce,
    explain,
    backtest,
    evidence,
    erase,
    housekeeping,
    status,
    correct,
    run,
    stack,
    generate,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. An error of ours is its message, never a traceback."""
    os.umask(UMASK)
    cores.one_for_algebra()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:1] == ["airflow"]:  # not argparse's to read: the options after it are Airflow's
            stack.airflow(arguments[1:])
        options = _parser().parse_args(arguments)
        with raising_disk_full(f"running evergreen {arguments[0]}"):
            code: int = options.command(options)
    except EvergreenError as error:
        print(error, file=sys.stderr)
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evergreen", description="Continuous training on Apache Airflow.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", action=Described)
    for group in GROUPS:
        group.add(commands)
    return parser
