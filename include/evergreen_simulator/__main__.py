"""The simulated business from the command line.

python -m evergreen_simulator write --from 2026-01-01 --to 2026-02-19 --seed 1 [--scenario covariate_drift@2026-02-25]
python -m evergreen_simulator traffic --day 2026-02-20 --seed 1 --server http://127.0.0.1:8090
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import date

from evergreen.settings import settings
from evergreen_simulator import landing, traffic
from evergreen_simulator.delivery import World
from evergreen_simulator.replay import TrafficFailed
from evergreen_simulator.scenarios import Scenario, parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did all that was asked."""
    parser = argparse.ArgumentParser(prog="evergreen_simulator", description="A simulated subscription business.")
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--seed", type=int, default=1, help="another seed is another business (default 1)")
    common.add_argument("--size", type=int, default=1000, help="active customers, about (default 1000)")
    common.add_argument(
        "--scenario",
        type=_scenario,
        action="append",
        default=[],
        metavar="KIND@DATE[..DATE][:KEY=VALUE,…]",
        help="what happens to the business; may be given several times",
    )
    write = commands.add_parser("write", parents=[common], help="write days of batches into the landing zone")
    write.add_argument("--from", dest="first", type=date.fromisoformat, required=True, metavar="DAY")
    write.add_argument("--to", dest="last", type=date.fromisoformat, required=True, metavar="DAY")
    write.add_argument(
        "--landing", default=settings().landing, help="folder or s3://bucket/prefix (default %(default)s)"
    )
    replay = commands.add_parser("traffic", parents=[common], help="ask the model server about a day's customers")
    replay.add_argument("--day", type=date.fromisoformat, required=True)
    replay.add_argument("--server", default=settings().server_url, help="URL of the model server (default %(default)s)")
    chosen = parser.parse_args(arguments)
    world = World(chosen.seed, chosen.size, tuple(chosen.scenario))

    if chosen.command == "write":
        if chosen.last < chosen.first:
            parser.error(f"--to {chosen.last} lies before --from {chosen.first}")
        days = sum(1 for _ in landing.write_days(world, chosen.first, chosen.last, chosen.landing))
        print(f"{days} days of batches, {chosen.first} to {chosen.last}, below {chosen.landing}/{landing.MODEL}")
        return 0
    try:
        answers = traffic.replay_day(world, chosen.day, chosen.server)
    except TrafficFailed as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"{answers.requests} requests, {answers.answered} predictions by version {dict(answers.versions)}, "
        f"{len(answers.unknown)} unknown"
    )
    return 0 if not answers.unknown else 1


def _scenario(text: str) -> Scenario:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
