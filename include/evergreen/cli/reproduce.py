"""The command that makes a version once more and says what moved: `reproduce`."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from evergreen.cli.parsing import Commands, actor_of
from evergreen.quoting import visible
from evergreen.settings import settings

if TYPE_CHECKING:
    from evergreen.errors import SpecError
    from evergreen.spec.schema import ModelSpec


def add(commands: Commands) -> None:
    """Add it to those of `evergreen`."""
    reproduce = commands.add_parser(
        "reproduce", help="make a version once more from what is pinned, and compare it to the last bit"
    )
    reproduce.add_argument("model", help="the model's name")
    reproduce.add_argument("version", type=int, help="the version's number")
    reproduce.add_argument("--search", action="store_true", help="run the search of its hyperparameters again too")
    reproduce.add_argument("--json", action="store_true", help="print all of it as JSON")
    reproduce.add_argument("--record", action="store_true", help="write what came of it into the ledger")
    reproduce.add_argument("--actor", help="of --record: who does it; default: the system's user")
    reproduce.set_defaults(command=_reproduce)


def _reproduce(options: argparse.Namespace) -> int:
    from evergreen.local import quiet
    from evergreen.reproduce import recording, rules
    from evergreen.reproduce.repeating import Repetition

    quiet.begin_in_silence()
    repetition = Repetition(options.model, options.version, search=options.search)
    found = repetition.made(_declared(options.model))
    if options.json:
        print(json.dumps(rules.as_json(found), indent=1))
    else:
        print("\n".join(map(visible, rules.lines(found))))
    if options.record:
        recording.record(found, actor_of(options))
    return 0 if found.outcome == "identical" else 1


def _declared(model: str) -> ModelSpec | SpecError:
    """What the model's folder says by now."""
    from evergreen.errors import SpecError
    from evergreen.spec.load import load_spec

    try:
        return load_spec(settings().models / model, settings().data)
    except SpecError as error:
        return error
