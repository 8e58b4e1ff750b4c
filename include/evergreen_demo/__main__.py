"""`make demo`: python -m evergreen_demo [--model churn --seed 7 --scenario drift | --model flight_delay
[--first … --history-end … --end …]]."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from datetime import date
from typing import get_args

from evergreen.errors import EvergreenError
from evergreen.exposure import UMASK
from evergreen_demo import churn, flights
from evergreen_demo.driver import Span


def main(arguments: Sequence[str] | None = None) -> int:
    """Tell one demo; 0 when it came to its end and its loop closed."""
    parser = argparse.ArgumentParser(prog="evergreen_demo", description="The closed loop, on a fresh local stack.")
    parser.add_argument(
        "--model",
        choices=("churn", "flight_delay"),
        default="churn",
        help="churn: a simulated business whose world changes; flight_delay: flights of 2013 (default %(default)s)",
    )
    parser.add_argument(
        "--scenario",
        choices=get_args(churn.Scenario),
        default="drift",
        help="churn: customers leave for other reasons (drift), covariates move and nothing is lost (harmless), a "
        "column arrives empty for three days (outage) (default %(default)s)",
    )
    parser.add_argument("--seed", type=int, default=7, help="churn: another seed tells another story (default 7)")
    span = flights.SPAN
    for name, default, what in (
        ("--first", span.first, "flight_delay: first day that is backfilled"),
        ("--history-end", span.history_end, "flight_delay: last day before the first training"),
        ("--end", span.end, "flight_delay: last day of live traffic"),
    ):
        parser.add_argument(
            name, type=date.fromisoformat, default=default, metavar="DAY", help=f"{what} (default {default})"
        )
    chosen = parser.parse_args(arguments)
    os.umask(UMASK)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it, too, stops what was started
    try:
        if chosen.model == "churn":
            churn.run(churn.story_of(chosen.seed, chosen.scenario))
        else:
            flights.run(Span(chosen.first, chosen.history_end, chosen.end))
    except EvergreenError as error:
        print(f"\nThe demo failed.\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted: all that the demo had started is stopped. `make demo` begins anew.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
