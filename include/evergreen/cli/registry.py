"""The commands that set right which versions serve and what is recorded of them: `rollback`, `retire`, `registry`."""

from __future__ import annotations

import argparse
import logging
import sys

from evergreen.cli.parsing import Commands, Described, actor_of


def add(commands: Commands) -> None:
    """Add them to those of `evergreen`."""
    rollback = commands.add_parser("rollback", help="roll back to the last known good version")
    rollback.add_argument("model", help="the model's name")
    rollback.add_argument("--reason", default="by hand, no reason given", help="why; the ledger keeps it")
    rollback.add_argument(
        "--version",
        type=int,
        help="the version to roll back from; default: the champion, or a version that was deployed by hand",
    )
    rollback.add_argument("--actor", help="who does it; default: the system's user")
    rollback.set_defaults(command=_rollback)

    retire = commands.add_parser("retire", help="retire a version for good, for example when its files are lost")
    retire.add_argument("model", help="the model's name")
    retire.add_argument("version", type=int, help="the version's number")
    retire.add_argument("--reason", required=True, help="why; the ledger keeps it")
    retire.add_argument("--actor", help="who does it; default: the system's user")
    retire.set_defaults(command=_retire)

    registry = commands.add_parser(
        "registry", help="set right what is recorded of versions: adopt, restore"
    ).add_subparsers(required=True, metavar="COMMAND", action=Described)
    adopt = registry.add_parser(
        "adopt", help="record the digests of versions that an earlier release registered, and sign versions without one"
    )
    adopt.add_argument("model", help="the model's name")
    adopt.add_argument(
        "--version", type=int, help="only this version; default: every version without a digest, or a signature"
    )
    adopt.add_argument(
        "--actor",
        help="who vouches for them; default: the system's user, whom a container calls the same for everybody; to be "
        "named where versions are signed",
    )
    adopt.add_argument("--reason", help="why; the ledger keeps it; to be given where versions are signed")
    adopt.set_defaults(command=_adopt)

    restore = registry.add_parser("restore", help="set names, versions and aliases in MLflow right, from the ledger")
    restore.add_argument("model", help="the model's name")
    restore.add_argument("--actor", help="who does it; default: the system's user")
    restore.set_defaults(command=_restore)


def _rollback(options: argparse.Namespace) -> int:
    from evergreen.serve.rollback import rollback

    actor = actor_of(options)
    print(rollback(options.model, reason=options.reason, actor=actor, version=options.version).message)
    return 0


def _retire(options: argparse.Namespace) -> int:
    from evergreen.registry.restoring import retire

    actor = actor_of(options)
    print(retire(options.model, options.version, reason=options.reason, actor=actor))
    return 0


def _adopt(options: argparse.Namespace) -> int:
    from evergreen.errors import RunError
    from evergreen.quoting import shown
    from evergreen.registry.adoption import adopt
    from evergreen.settings import settings

    named = {"--actor": options.actor, "--reason": options.reason}
    signs = settings().signing_key or settings().public_keys
    if signs and (missing := [option for option, value in named.items() if not (value or "").strip()]):
        raise RunError(
            f"adopting versions of {shown(options.model)}",
            found=f"no {' and no '.join(missing)}",
            expected="the name of who vouches for them, and why: what is signed is theirs",
            next_step=f"evergreen registry adopt {options.model} --actor NAME --reason TEXT",
        )
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    given = {} if options.reason is None else {"reason": options.reason}
    result = adopt(options.model, actor=actor_of(options), number=options.version, **given)
    adopted = ", ".join(f"version {number}" for number in result.adopted) or "nothing"
    print(f"{options.model}: adopted {adopted}{'' if result.adopted or result.refused else ', none lacks anything'}")
    for number, error in result.refused.items():
        print(f"{options.model}: version {number} was not adopted. {error}", file=sys.stderr)
    return 1 if result.refused else 0


def _restore(options: argparse.Namespace) -> int:
    from evergreen.registry.restoring import restore

    changes = restore(options.model, actor=actor_of(options))
    for change in changes or ("MLflow shows what the ledger says; nothing to do",):
        print(f"{options.model}: {change}")
    return 0
