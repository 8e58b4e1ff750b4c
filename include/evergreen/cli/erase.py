"""The command that erases one entity, such as a person: `erase`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from evergreen.cli.parsing import Commands, actor_of

if TYPE_CHECKING:
    from evergreen.erasure.erasing import Report


def add(commands: Commands) -> None:
    """Add it to those of `evergreen`."""
    erase = commands.add_parser(
        "erase", help="say what is held of one entity, such as a person; with --apply, erase it for good"
    )
    erase.add_argument("entity", help="the kind of entity, as data.yaml or model.yaml names it: customer")
    erase.add_argument("key", help="its key, as the data has it; of an entity of several keys one of them: person=P-17")
    erase.add_argument("--reason", required=True, help="why, without the key; the ledger keeps it")
    erase.add_argument("--actor", help="who does it; default: the system's user")
    erase.add_argument("--apply", action="store_true", help="erase; without it nothing is changed")
    erase.set_defaults(command=_erase)


def _erase(options: argparse.Namespace) -> int:
    from evergreen.erasure.erasing import erase
    from evergreen.local import quiet
    from evergreen.settings import settings
    from evergreen.spec.load import load

    quiet.begin()
    declared = load(settings().models, settings().data)
    actor = actor_of(options)
    report = erase(declared, options.entity, options.key, actor=actor, reason=options.reason, apply=options.apply)
    print("\n".join(_lines(report, options.entity)))
    return 1 if report.unsearched else 0


def _lines(report: Report, entity: str) -> Iterator[str]:
    done = report.id is not None
    if not report.places:
        yield f"Nothing is held of this {entity}."
    else:
        yield (
            f"Erased of this {entity} (erasure {report.id}):"
            if done
            else f"Held of this {entity}; nothing was changed:"
        )
        yield from (f"  {place}: {number}" for place, number in report.places.items())
    for learned in report.learned:
        versions = ", ".join(f"version {number}" for number in learned.versions) or "no version"
        yield f"Learned from it: {versions} of {learned.model} ({learned.rows} rows of the training {learned.key})"
    if report.learned:
        yield "What a version learned stays in it. To be rid of that, train anew and retire the version."
    for place in report.landing:
        yield f"Left to its owner, and read if its interval runs for the first time or with another batch: {place}"
    if report.written:
        entries = ", ".join(map(str, report.written))
        yield f"Left in the ledger, which nobody can change, where a person wrote this key as a reason: {entries}"
    for each in report.unsearched:
        yield f"NOT LOOKED INTO: {each.what}: {each.why}"
    if not done and report.places:
        yield "To erase it, give the command again with --apply."
