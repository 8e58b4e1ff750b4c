"""The way in: `new` makes the folder of a model from a file, or from rows of a database."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import get_args

from evergreen.cli.parsing import Commands
from evergreen.errors import EvidenceMissing
from evergreen.quoting import shown
from evergreen.settings import settings

_DAY_FIRST = "day-first"


def add(commands: Commands) -> None:
    """Add them to those of `evergreen`."""
    new = commands.add_parser("new", help="make the folder of a model from a sample, and fit it once")
    new.add_argument("name", help="the model's name")
    new.add_argument(
        "--from",
        dest="place",
        required=True,
        metavar="FILE|CONNECTION",
        help="CSV, JSON Lines (also .gz) or Parquet; with --table or --query the id of an Airflow connection",
    )
    rows = new.add_mutually_exclusive_group()
    rows.add_argument("--table", metavar="NAME", help="the table of the connection's database that is the sample")
    rows.add_argument("--query", metavar="FILE|SQL", help="a SELECT on the connection whose rows are the sample")
    new.add_argument(
        "--label",
        required=True,
        metavar="COLUMN|SQL",
        help='what to predict: a column, an expression of a row ("delay > 15"), or of the rows that a key has in the '
        'next interval ("sum(quantity)")',
    )
    when = new.add_mutually_exclusive_group()
    when.add_argument("--time", metavar="COLUMN", help="when a row happened; default: the first column of times")
    when.add_argument(
        "--no-time",
        dest="timeless",
        action="store_true",
        help="no column says when a row happened that matters: dates are inputs, and rows are split by a hash of their"
        " key",
    )
    new.add_argument(
        "--key", metavar="COLUMN", help="what a prediction is about; default: a column that names the rows"
    )
    new.add_argument("--label-time", metavar="COLUMN", help="when the outcome became known")
    new.add_argument(
        "--every", type=_length, metavar="LENGTH", help="hour, day, week or month; default: by the rows per interval"
    )
    new.add_argument(
        "--dates",
        choices=(_DAY_FIRST, "month-first"),
        help="what stands first in dates such as 01/02/2026; default: as the sample tells",
    )
    new.add_argument(
        "--no-look-back",
        dest="look_back",
        action="store_false",
        help="propose no features of the past: the model learns from the row itself",
    )
    new.set_defaults(command=_new)


def _length(text: str) -> str:
    from evergreen.calendar import Length

    if text not in get_args(Length):
        raise argparse.ArgumentTypeError(f"no interval {shown(text)}; there are {', '.join(get_args(Length))}")
    return text


def _new(options: argparse.Namespace) -> int:
    from evergreen.local import quiet
    from evergreen.onboarding import beginning, sample, summary
    from evergreen.onboarding.databases import Asked
    from evergreen.onboarding.outcome import Choices

    quiet.begin()
    choices = Choices(
        options.label,
        options.time,
        options.key,
        options.label_time,
        options.every,
        look_back=options.look_back,
        timeless=options.timeless,
        day_first=None if options.dates is None else options.dates == _DAY_FIRST,
    )
    stated = {
        "--time": options.time,
        "--key": options.key,
        "--label-time": options.label_time,
        "--every": options.every,
        "--dates": options.dates,
    }
    place: Path | Asked = Path(options.place)
    named, asked = Path(options.place).name, {"--table": options.table, "--query": options.query}
    if options.table is not None:
        place, named = Asked.of_table(options.place, options.table), options.place
    elif options.query is not None:
        place, named = Asked.of_query(options.place, options.query), options.place
        asked["--query"] = options.query if place.name == named else place.name
    chosen = [text for name, value in {**asked, **stated}.items() if value is not None for text in (name, value)]
    chosen += ["--no-time"] if options.timeless else []
    chosen += [] if options.look_back else ["--no-look-back"]
    command = shlex.join(["evergreen", "new", options.name, "--from", named, "--label", options.label, *chosen])
    begun = beginning.begin(settings(), options.name, place, choices, command)
    print(f"{begun.folder}: written, and valid")
    for line in summary.lines(begun.draft):
        print(f"  {line}")
    try:
        fit = sample.first_fit(begun.spec, begun.rows)
        print(f"First fit: {fit}")
        if not fit.learned_something:
            print(f"  {summary.no_better(begun.draft)}")
        for line in summary.few(begun.draft, begun.spec.gates.fewest_of_class(begun.spec.problem), fit.rows_of_class):
            print(f"  {line}")
    except EvidenceMissing as error:
        print(error, file=sys.stderr)
    print(f"Next: `evergreen try {options.name}`, the whole loop on this sample, up to its gates")
    return 0
