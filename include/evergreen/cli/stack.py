"""Commands of the local stack (`up`, `restart`, `down`, `reset`, `airflow`) and of its tables (`migrate`, `apply`)."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from evergreen.cli.parsing import Commands
from evergreen.quoting import shown
from evergreen.settings import home_folder, settings


def add(commands: Commands) -> None:
    """Add them to those of `evergreen`."""
    up = commands.add_parser("up", help="start the local stack and leave it running")
    up.add_argument(
        "parts",
        nargs="*",
        type=_part,
        metavar="PART",
        help="only these: postgres (always), mlflow, airflow, server, reports",
    )
    up.set_defaults(command=_up)
    restart = commands.add_parser("restart", help="stop parts of the local stack and start them again")
    restart.add_argument(
        "parts", nargs="+", type=_part, metavar="PART", help="postgres, mlflow, airflow, server, reports"
    )
    restart.set_defaults(command=_restart)
    commands.add_parser("down", help="stop the local stack").set_defaults(command=_down)
    commands.add_parser("reset", help="stop the local stack and delete its data").set_defaults(command=_reset)
    commands.add_parser(
        "apply", help="migrate the database to this release, and apply every model's Feast objects"
    ).set_defaults(command=_apply)
    commands.add_parser("migrate", help="migrate the tables of the database evergreen to this release").set_defaults(
        command=_migrate
    )
    commands.add_parser("airflow", help="run Airflow's own command on the local stack; what follows is Airflow's")


def _part(text: str) -> str:
    from evergreen.local.services import PARTS

    if text not in PARTS:
        raise argparse.ArgumentTypeError(f"no part {shown(text)}; there are {', '.join(PARTS)}")
    return text


def _up(options: argparse.Namespace) -> int:
    from evergreen.local import services, stack

    parts = options.parts or services.PARTS
    with _interruptible():
        here = stack.up(only=parts)
    for name, address in stack.addresses(here, parts).items():
        print(f"{name:14}{address}")
    if here.replay:
        print(
            "The model server takes a request's own `as_of`, as the demo left it; `EVERGREEN_REPLAY=0 make up` "
            "ends that."
        )
    return 0


def _restart(options: argparse.Namespace) -> int:
    from evergreen.local import stack

    with _interruptible():
        here = stack.restart(options.parts)
    for name, address in stack.addresses(here, options.parts).items():
        print(f"{name:14}{address}")
    return 0


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM end a start alike, and say what they leave."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        print("\nInterrupted: what this command had started is stopped; what ran before it, runs.", file=sys.stderr)
        raise SystemExit(130) from None


def _down(_: argparse.Namespace) -> int:
    from evergreen.local import stack

    print("stopped: " + (", ".join(stack.down()) or "nothing was running"))
    return 0


def _reset(_: argparse.Namespace) -> int:
    from evergreen.local import stack

    home, left = home_folder(), stack.reset()
    print(f"deleted: {home}")
    for place in left:
        print(f"left, for you to delete: {place}")
    return 0


def _apply(_: argparse.Namespace) -> int:
    from evergreen import database
    from evergreen.features.objects import ensure_applied
    from evergreen.spec.load import load

    database.migrate()  # before any other process of this release opens it
    declared = load(settings().models, settings().data)
    for dataset in declared.valid_datasets:
        print(f"{dataset.name}: {'applied' if ensure_applied(dataset) else 'up to date'} (dataset)")
    for spec in declared.valid_models:
        print(f"{spec.name}: {'applied' if ensure_applied(spec) else 'up to date'}")
    for error in declared.errors:
        print(error, file=sys.stderr)
    return 0


def _migrate(_: argparse.Namespace) -> int:
    from evergreen import database

    taken = database.migrate()
    print("\n".join(f"done: {name}" for name in taken) or "the tables are those of this release already")
    return 0


def airflow(arguments: Sequence[str]) -> NoReturn:
    """Become Airflow's command, with the environment of the stack's processes."""
    from evergreen.local import environment

    command = [sys.executable, "-m", "airflow", *arguments]
    os.execve(command[0], command, environment.of_service("airflow", settings()))
