"""The `evergreen` command."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from evergreen.errors import EvergreenError
from evergreen.settings import settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. An error of ours is its message, never a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["airflow"]:  # not argparse's to read: the options after it are Airflow's
        _airflow(arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        status: int = options.command(options)
    except EvergreenError as error:
        print(error, file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evergreen", description="Continuous training on Apache Airflow.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    check = commands.add_parser("check", help="tell every mistake of every model folder")
    check.add_argument("model", nargs="?", help="only this model")
    check.set_defaults(command=_check)

    rollback = commands.add_parser("rollback", help="go back to the last known good version")
    rollback.add_argument("model")
    rollback.add_argument("--reason", default="by hand, no reason given", help="why; kept in the audit trail")
    rollback.add_argument("--actor", help="who; default: the system's user")
    rollback.set_defaults(command=_rollback)

    commands.add_parser("apply", help="apply every model's Feast objects").set_defaults(command=_apply)
    commands.add_parser("up", help="start the local stack and leave it running").set_defaults(command=_up)
    commands.add_parser("down", help="stop the local stack").set_defaults(command=_down)
    commands.add_parser("reset", help="stop the local stack and delete its data").set_defaults(command=_reset)
    commands.add_parser("airflow", help="Airflow's own command on the local stack; everything after it is Airflow's")
    for name, what in (("schema", "the JSON Schema of model.yaml"), ("reference", "the reference of model.yaml")):
        commands.add_parser(name, help=f"write {what}").set_defaults(command=_generate, document=name)
    return parser


def _check(options: argparse.Namespace) -> int:
    from evergreen.errors import SpecError
    from evergreen.spec.load import load_each, load_spec

    models = settings().models
    outcomes = load_each(models, deep=True)
    if options.model:
        if options.model not in outcomes:
            load_spec(models / options.model)  # no such folder: the error says which there are
        outcomes = {options.model: outcomes[options.model]}
    if not outcomes:
        print(f"no model folder in {models}", file=sys.stderr)
    for model, outcome in outcomes.items():
        if isinstance(outcome, SpecError):
            print(outcome, file=sys.stderr)
        else:
            print(
                f"{model}: valid ({len(outcome.sources)} sources, {len(outcome.feature_types)} features, {len(outcome.families)} families)"
            )
    return 1 if not outcomes or any(isinstance(outcome, SpecError) for outcome in outcomes.values()) else 0


def _rollback(options: argparse.Namespace) -> int:
    from evergreen.serve.rollback import rollback

    print(rollback(options.model, reason=options.reason, actor=options.actor or getpass.getuser())["message"])
    return 0


def _apply(_: argparse.Namespace) -> int:
    from evergreen.features.store import ensure_applied
    from evergreen.spec.load import load_all

    specs, errors = load_all(settings().models)
    for spec in specs:
        print(f"{spec.model}: {'applied' if ensure_applied(spec) else 'up to date'}")
    for error in errors:
        print(error, file=sys.stderr)
    return 0


def _up(_: argparse.Namespace) -> int:
    from evergreen.local import stack

    here = stack.up()
    for name, address in stack.addresses(here).items():
        print(f"{name:14}{address}")
    if here.replay:
        print(
            "The model server takes a request's own `as_of`, as the demo left it; `EVERGREEN_REPLAY=0 make up` ends that."
        )
    return 0


def _down(_: argparse.Namespace) -> int:
    from evergreen.local import stack

    print("stopped: " + (", ".join(stack.down()) or "nothing was running"))
    return 0


def _reset(_: argparse.Namespace) -> int:
    from evergreen.local import stack

    home, left = settings().home, stack.reset()
    print(f"deleted: {home}")
    for place in left:
        print(f"left, for you to delete: {place}")
    return 0


def _airflow(arguments: Sequence[str]) -> NoReturn:
    """Become Airflow's command, with the environment of the stack's processes."""
    from evergreen.local import environment

    command = [sys.executable, "-m", "airflow", *arguments]
    os.execve(command[0], command, environment.of_processes(settings()))


def _generate(options: argparse.Namespace) -> int:
    from evergreen.spec import export

    project = settings().project
    targets: dict[str, tuple[Path, str]] = {
        "schema": (project / "include" / "models" / "model.schema.json", export.json_schema()),
        "reference": (project / "docs" / "model-spec.md", export.reference()),
    }
    path, text = targets[options.document]
    path.write_text(text, encoding="utf-8")
    print(path)
    return 0
