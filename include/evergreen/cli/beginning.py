"""The way in: `new` makes the folder of a model from a file."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from evergreen.cli.parsing import Commands
from evergreen.errors import EvidenceMissing
from evergreen.quoting import shown
from evergreen.settings import settings

if TYPE_CHECKING:
    from evergreen.onboarding.rules import Draft


def add(commands: Commands) -> None:
    """Add them to those of `evergreen`."""
    new = commands.add_parser("new", help="make the folder of a model from a file, and fit it once")
    new.add_argument("name", help="the model's name")
    new.add_argument(
        "--from", dest="file", type=Path, required=True, metavar="FILE", help="CSV, JSON Lines (also .gz) or Parquet"
    )
    new.add_argument(
        "--label",
        required=True,
        metavar="COLUMN|SQL",
        help='what to predict: a column, an expression of a row ("delay > 15"), or of the rows that a key has in the '
        'next interval ("sum(quantity)")',
    )
    new.add_argument("--time", metavar="COLUMN", help="when a row happened; default: the first column of times")
    new.add_argument(
        "--key", metavar="COLUMN", help="what a prediction is about; default: a column that names the rows"
    )
    new.add_argument("--label-time", metavar="COLUMN", help="when the outcome became known")
    new.add_argument(
        "--every", type=_length, metavar="LENGTH", help="hour, day, week or month; default: by the rows per interval"
    )
    new.set_defaults(command=_new)


def _length(text: str) -> str:
    from evergreen.calendar import Length

    if text not in get_args(Length):
        raise argparse.ArgumentTypeError(f"no interval {shown(text)}; there are {', '.join(get_args(Length))}")
    return text


def _new(options: argparse.Namespace) -> int:
    from evergreen.local import quiet
    from evergreen.onboarding import beginning, sample
    from evergreen.onboarding.outcome import Choices

    quiet.begin()
    choices = Choices(options.label, options.time, options.key, options.label_time, options.every)
    stated = {
        "--time": options.time,
        "--key": options.key,
        "--label-time": options.label_time,
        "--every": options.every,
    }
    chosen = [text for name, value in stated.items() if value is not None for text in (name, value)]
    command = shlex.join(
        ["evergreen", "new", options.name, "--from", options.file.name, "--label", options.label, *chosen]
    )
    begun = beginning.begin(settings(), options.name, options.file, choices, command)
    print(f"{begun.folder}: written, and valid")
    for line in _decided(begun.draft):
        print(f"  {line}")
    try:
        print(f"First fit: {sample.first_fit(begun.spec, begun.batches)}")
    except EvidenceMissing as error:
        print(error, file=sys.stderr)
    print(f"Next: `evergreen try {options.name}`, the whole loop on this sample, up to its gates")
    return 0


def _decided(draft: Draft) -> list[str]:
    """What was decided, for who has to agree."""
    profile, label = draft.profile, draft.profile.label
    lines = [f"{profile.rows:,} rows of {len(profile.columns)} columns"]
    if draft.style == "batch":
        lines.append(
            "no time: one batch, split by a hash of the key; nothing was tested against time, and no training is"
            " scheduled"
        )
    else:
        lines.append(
            f"time: {profile.time}, {profile.first:%Y-%m-%d} to {profile.last:%Y-%m-%d}, in intervals of a"
            f" {draft.calendar.every}"
        )
    key = draft.key if draft.key == profile.key else f"{draft.key}, made of {', '.join(profile.identity)}"
    how = {"request": "each row is a request", "interval": "predicted every interval", "batch": "each row once"}
    lines.append(f"key: {key} ({how[draft.style]})")
    lines.append(f"label: {label.name}, {label.type}" + (f", 1 is {label.sql}" if label.type == "binary" else ""))
    for name, why in draft.left_out.items():
        lines.append(f"left out: {name}: {why}")
    if profile.repeated:
        lines.append(f"{profile.repeated:,} rows repeat another one")
    return lines
