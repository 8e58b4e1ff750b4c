"""What every command's parser shares."""

from __future__ import annotations

import argparse
import getpass
from typing import TYPE_CHECKING, Any

from evergreen.quoting import shown

if TYPE_CHECKING:
    from evergreen.run import Approval
    from evergreen.spec.schema import ModelSpec

Commands = argparse._SubParsersAction  # of which argparse has no public name


class Described(argparse._SubParsersAction):  # type: ignore[type-arg]  # no class at runtime takes it
    """Commands whose own `--help` begins with what the list of commands says of them."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        about: str = options["help"]
        described = f"{about[0].upper()}{about[1:]}."
        parser: argparse.ArgumentParser = super().add_parser(name, description=described, **options)
        return parser


def add_approval(to: argparse.ArgumentParser) -> None:
    """The options that allow a version whose risk asks for a person, for `approval_of`."""
    to.add_argument(
        "--approve",
        metavar="NAME",
        help="allow a version that passed its gates and whose risk asks for a person, in this one's name; default: it "
        "is rejected",
    )
    to.add_argument("--reason", metavar="TEXT", help="why it is allowed; kept in the ledger with the name")


def approval_of(options: argparse.Namespace, spec: ModelSpec) -> Approval | None:
    """What `--approve` and `--reason` say; None: neither is there.

    Raises:
        RunError: one of them is missing, or NAME may not.
    """
    from evergreen.errors import RunError
    from evergreen.govern import rules
    from evergreen.run import Approval

    if options.approve is None and options.reason is None:
        return None
    approval = Approval(
        approved=True, by=options.approve or "", reason=options.reason or "", how="command", given_by=getpass.getuser()
    )
    none = "nobody: its risk asks for no approval"
    problem = none if spec.risk is None or not spec.risk.asks else rules.refused(spec.risk, approval)
    if problem is not None:
        raise RunError(
            f"allowing a version of {spec.name}",
            found=f"--approve {shown(options.approve)} --reason {shown(options.reason)}: {problem}",
            expected=f"{' or '.join(spec.risk.approvers) if spec.risk else none}, and why",
            next_step="give both: --approve NAME --reason TEXT; or leave both out",
        )
    return approval


def actor_of(options: argparse.Namespace) -> str:
    """Who gives the command: `--actor`, else the system's user."""
    return options.actor or getpass.getuser()


def positive(text: str) -> int:
    """A whole number from 1 on, as an option's type."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{shown(text)} is not a number from 1 on")
    return int(text)
