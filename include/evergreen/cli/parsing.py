"""What every command's parser shares."""

from __future__ import annotations

import argparse
import getpass
from typing import Any

Commands = argparse._SubParsersAction  # of which argparse has no public name


class Described(argparse._SubParsersAction):  # type: ignore[type-arg]  # no class at runtime takes it
    """Commands whose own `--help` begins with what the list of commands says of them."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        about: str = options["help"]
        described = f"{about[0].upper()}{about[1:]}."
        parser: argparse.ArgumentParser = super().add_parser(name, description=described, **options)
        return parser


def actor_of(options: argparse.Namespace) -> str:
    """Who gives the command: `--actor`, else the system's user."""
    return options.actor or getpass.getuser()
