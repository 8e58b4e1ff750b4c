"""The command that does in one process what the DAG `evergreen__housekeeping` does weekly: `housekeeping`."""

from __future__ import annotations

import argparse
import sys

from evergreen.cli.parsing import Commands
from evergreen.errors import RunError, in_full


def add(commands: Commands) -> None:
    """Add it to those of `evergreen`."""
    housekeeping = commands.add_parser(
        "housekeeping", help="delete what is older than its declared retention, and keep the lake's tables small"
    )
    housekeeping.add_argument("name", nargs="?", metavar="NAME", help="only this dataset or model")
    housekeeping.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    housekeeping.set_defaults(command=_housekeeping)


def _housekeeping(options: argparse.Namespace) -> int:
    from evergreen.housekeeping import jobs
    from evergreen.local import quiet
    from evergreen.quoting import shown
    from evergreen.settings import settings
    from evergreen.spec.load import load

    quiet.begin()
    houses = jobs.houses(load(settings().models, settings().data))
    if options.name is not None and options.name not in houses:
        raise RunError(
            f"keeping {shown(options.name)} in order",
            found="no valid dataset and no valid model of that name",
            expected=f"one of {', '.join(houses)}",
            next_step="name one of them, or none for all",
        )
    failed = 0
    for name, house in houses.items() if options.name is None else [(options.name, houses[options.name])]:
        for job in jobs.JOBS:
            try:
                said = jobs.run(house, job, apply=not options.dry_run)
            except Exception as error:  # noqa: BLE001 - whatever one job ends with costs only itself
                failed += 1
                print(in_full(error), file=sys.stderr)
            else:
                print("\n".join(f"{name} {job}: {line}" for line in said or ["nothing to do"]), flush=True)
    return 1 if failed else 0
