"""The commands of `evergreen keys`: who may ask the model servers for predictions."""

from __future__ import annotations

import argparse
import sys

from evergreen.cli.parsing import Commands, Described, actor_of


def add(commands: Commands) -> None:
    """Add them to those of `evergreen`."""
    keys = commands.add_parser(
        "keys", help="say who may ask the model servers for predictions: add, list, revoke"
    ).add_subparsers(required=True, metavar="COMMAND", action=Described)
    new = keys.add_parser("add", help="make a key, and show it this once")
    new.add_argument("name", help="whose it is, for the list")
    new.add_argument(
        "--model", action="append", default=[], help="a model that it may ask; more than once for several; default: all"
    )
    new.add_argument("--actor", help="who makes it; default: the system's user")
    new.set_defaults(command=_add)

    keys.add_parser("list", help="list all keys, without their secrets").set_defaults(command=_list)

    revoke = keys.add_parser("revoke", help="revoke a key; the model servers know within seconds")
    revoke.add_argument("id", help="its id, as the list has it")
    revoke.set_defaults(command=_revoke)


def _add(options: argparse.Namespace) -> int:
    from evergreen.quoting import listed, shown
    from evergreen.serve import keys
    from evergreen.settings import settings
    from evergreen.spec.load import names

    unknown = sorted(set(options.model) - set(names(settings().models)))
    if unknown:
        print(f"no folder of {listed([shown(name) for name in unknown])} in {settings().models}", file=sys.stderr)
        return 1
    key, text = keys.add(options.name, options.model, actor_of(options))
    print(f"The key {key.id} of {key.name}, for {_models(key.models)}. It is shown this once:", file=sys.stderr)
    print(text)
    return 0


def _list(options: argparse.Namespace) -> int:
    from evergreen.serve import keys

    for key in keys.known():
        state = "good" if key.revoked_at is None else f"revoked {key.revoked_at:%Y-%m-%d %H:%M}"
        made = f"{key.made_at:%Y-%m-%d %H:%M} by {key.made_by}"
        print(f"{key.id}  {key.name}  {_models(key.models)}  made {made}  {state}")
    return 0


def _revoke(options: argparse.Namespace) -> int:
    from evergreen.serve import keys

    key = keys.revoke(options.id)
    print(f"The key {key.id} of {key.name} is revoked.")
    return 0


def _models(models: tuple[str, ...] | None) -> str:
    return "all models" if models is None else ", ".join(models)
