"""The command that says where a number comes from, and what became of a file: `lineage`."""

from __future__ import annotations

import argparse
import json

from evergreen.cli.parsing import Commands
from evergreen.errors import RunError
from evergreen.quoting import visible


def add(commands: Commands) -> None:
    """Add it to those of `evergreen`."""
    lineage = commands.add_parser("lineage", help="print what a version or decision was made from, or made of a file")
    lineage.add_argument("model", nargs="?", help="the model's name")
    of = lineage.add_mutually_exclusive_group()
    of.add_argument("version", nargs="?", type=int, help="the version's number: what it was made from")
    of.add_argument("--decision", metavar="ID", help="what this decision of the model's monitor was made from")
    of.add_argument(
        "--batch",
        metavar="BATCH",
        help=(
            "what was made of it: a file (its name, or its sha256), or a partition, such as churn/usage/2026-01-05 of a"
            " source or churn/features/activity/2026-01-05"
        ),
    )
    lineage.add_argument("--json", action="store_true", help="print all of it as JSON")
    lineage.set_defaults(command=_lineage)


def _lineage(options: argparse.Namespace) -> int:
    from evergreen.lineage import telling, tracing
    from evergreen.lineage.graph import Backward, Forward

    lineage: Backward | Forward
    if (options.model is None) != (options.batch is not None):
        raise _unclear("a model" if options.batch is not None else "nothing")
    if options.batch is not None:
        lineage = tracing.of_batch(options.batch)
        lines = telling.forward(lineage)
    else:
        if options.decision is not None:
            lineage = tracing.of_decision(options.model, options.decision)
        elif options.version is not None:
            lineage = tracing.of_version(options.model, options.version)
        else:
            raise _unclear("a model alone")
        lines = telling.backward(lineage)
    if options.json:
        print(json.dumps(telling.as_json(lineage), indent=1, default=telling.plain))
    else:
        print("\n".join(map(visible, lines)))  # names of files are foreign words
    return 0


def _unclear(found: str) -> RunError:
    return RunError(
        "looking for a lineage",
        found=found,
        expected="a model with a version or --decision, or --batch alone",
        next_step="evergreen lineage churn 3, evergreen lineage churn --decision ID, or evergreen lineage --batch FILE",
    )
