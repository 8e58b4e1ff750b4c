"""The commands that ask for a model's life: `history` and `audit`."""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from evergreen.cli.parsing import Commands, Described
from evergreen.quoting import shown, visible
from evergreen.settings import settings

if TYPE_CHECKING:
    from evergreen.calendar import Calendar
    from evergreen.history.chain import Witness


def add(commands: Commands) -> None:
    """Add them to those of `evergreen`."""
    history = commands.add_parser("history", help="print what happened to a model, who did it, and why")
    history.add_argument("model", help="the model's name")
    moment = history.add_mutually_exclusive_group()
    moment.add_argument(
        "--at",
        type=_moment,
        metavar="TIME",
        help="print which version was the champion then, by the clock; a day means its end; in the zone of the "
        "model's calendar, unless TIME names one",
    )
    moment.add_argument(
        "--as-of",
        type=_moment,
        metavar="TIME",
        help="print which version was the champion of the interval that ends then",
    )
    history.set_defaults(command=_history)

    audit = commands.add_parser("audit", help="check the ledger of all models").add_subparsers(
        required=True, metavar="COMMAND", action=Described
    )
    verify = audit.add_parser("verify", help="find what was changed, removed or reordered in the ledger")
    verify.add_argument(
        "--witness",
        action="append",
        default=[],
        type=witness,
        metavar="NUMBER:HASH",
        help="an entry that the ledger must hold, as an earlier `verify` printed it",
    )
    verify.set_defaults(command=_verify)


def _history(options: argparse.Namespace) -> int:
    from evergreen.history import ledger, telling

    entries = ledger.entries(options.model)
    if options.at is not None:
        lines = telling.at(options.model, entries, _calendar(options.model).by_its_clock(options.at))
    elif options.as_of is not None:
        lines = telling.as_of(options.model, entries, _calendar(options.model).by_its_clock(options.as_of))
    else:
        lines = telling.whole(options.model, entries)
    print("\n".join(map(visible, lines)))  # reasons are foreign words
    return 0


def _verify(options: argparse.Namespace) -> int:
    from evergreen.history import verifying

    result = verifying.verify(options.witness)
    for flaw in result.flaws:
        print(flaw, file=sys.stderr)
    if result.last is None:
        print("the ledger has no entry")
    else:
        number = f"{result.entries} entr{'y' if result.entries == 1 else 'ies'}"
        print(
            f"{number}, {'not as they were recorded' if result.flaws else 'as they were recorded'}. The last "
            f"one: {result.last}"
        )
    return 1 if result.flaws else 0


def _moment(text: str) -> datetime:
    """A moment, or the end of a day; without a zone where it names none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{shown(text)} is not a day or a moment such as 2026-01-31T12:00:00Z"
        ) from error
    return moment + timedelta(days=1) if len(text) == len("2026-01-31") else moment


def _calendar(model: str) -> Calendar:
    """The model's; days in UTC for a model whose folder is gone or wrong, whose history is still asked for."""
    from evergreen.calendar import Calendar
    from evergreen.errors import SpecError
    from evergreen.spec.load import load_spec

    try:
        return load_spec(settings().models / model, settings().data).calendar
    except SpecError:
        return Calendar()


def witness(text: str) -> Witness:
    """An entry's number and hash, as an option names them."""
    from evergreen.history.chain import Witness

    try:
        return Witness.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
