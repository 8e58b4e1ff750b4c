"""`evergreen status`: what is published, missing and late, what serves, how old the features are."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime

from evergreen.cli.parsing import Commands
from evergreen.quoting import shown


def add(commands: Commands) -> None:
    """Add it to those of `evergreen`."""
    status = commands.add_parser("status", help="list what is published, missing and late, what serves, feature ages")
    status.add_argument("name", nargs="?", metavar="NAME", help="only this dataset or model")
    status.add_argument("--json", action="store_true", help="print it as JSON")
    status.set_defaults(command=_status)


def _status(options: argparse.Namespace) -> int:
    from evergreen import status_report
    from evergreen.errors import CalendarChanged, RunError, SpecError
    from evergreen.settings import settings
    from evergreen.spec.load import load

    declared, now = load(settings().models, settings().data), datetime.now(UTC)
    names = sorted({*declared.datasets, *declared.models})
    if options.name is not None and options.name not in names:
        raise RunError(
            f"looking how {shown(options.name)} stands",
            found="no dataset and no model of that name",
            expected=f"one of {', '.join(names)}",
            next_step="name one of them, or none for all",
        )
    reports, wrong, changed = [], [], []
    for name in names if options.name is None else [options.name]:
        dataset, model = declared.datasets.get(name), declared.models.get(name)
        if isinstance(dataset, SpecError) or isinstance(model, SpecError):
            wrong.append(name)
        else:
            try:
                reports.append(status_report.of(dataset, model, now))
            except CalendarChanged as error:
                changed.append(error)
    if options.json:
        print(json.dumps({each.name: each.as_json() for each in reports}, indent=1))
    elif reports:
        print("\n\n".join("\n".join(each.lines()) for each in reports))
    for name in wrong:
        print(f"{name}: its folder has mistakes; `evergreen check` lists them", file=sys.stderr)
    for each in changed:
        print(each, file=sys.stderr)
    return 1 if wrong or changed else 0
