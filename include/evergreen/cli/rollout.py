"""`evergreen rollout`: how a model's open rollout stands, and what a person wants of it; by the stages that the DAG
`<model>__rollout` runs."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from evergreen.cli.parsing import Commands, actor_of
from evergreen.settings import settings

if TYPE_CHECKING:
    from evergreen.handovers.rollout import Act, Moved
    from evergreen.history.rollouts import Rollout

_ACTS: dict[Act, str] = {
    "pause": "let it go no further by itself; what is worse is withdrawn all the same",
    "resume": "let it go on by itself",
    "advance": "to the next step, or from the last one to all requests, without waiting for evidence; with --step",
    "roll_back": "withdraw the version for good",
}


def add(commands: Commands) -> None:
    """Add it to those of `evergreen`."""
    rollout = commands.add_parser(
        "rollout", help="print how a model's rollout stands; pause, resume, advance or roll it back"
    )
    rollout.add_argument("model", help="the model's name")
    acts = rollout.add_mutually_exclusive_group()
    for act, text in _ACTS.items():
        acts.add_argument(
            _option(act), dest=act, metavar="ROLLOUT", help=f"{text}; ROLLOUT is its id: it acts on no other one"
        )
    rollout.add_argument("--step", type=int, metavar="N", help="of --advance: the step that is to be left, from 0")
    rollout.add_argument("--reason", metavar="TEXT", help="why; needed for every act, and kept in the ledger")
    rollout.add_argument("--actor", metavar="NAME", help="who does it; default: the system's user")
    rollout.set_defaults(command=_rollout)


def _rollout(options: argparse.Namespace) -> int:
    from evergreen.history import ledger

    chosen = [act for act in _ACTS if getattr(options, act) is not None]
    if chosen:
        return _acted(options, chosen[0])
    _nothing_more(options)
    now = ledger.standing(options.model).rollout
    print("\n".join([f"{options.model}: no rollout is open"] if now is None else _stands(now)))
    return 0


def _acted(options: argparse.Namespace, act: Act) -> int:
    from evergreen.errors import RunError
    from evergreen.handovers.rollout import Moved
    from evergreen.local import quiet
    from evergreen.loops import inline
    from evergreen.spec.load import load_spec

    if not options.reason:
        raise RunError(
            f"{act} of a rollout of {options.model}",
            found="no reason",
            expected="why, for the ledger",
            next_step="give it: --reason TEXT",
        )
    quiet.begin_in_silence()
    spec = load_spec(settings().models / options.model, settings().data)
    run = replace(
        inline.of(spec, spec.newest_complete(datetime.now(UTC))),
        act=act,
        rollout=getattr(options, act),
        step=options.step,
        reason=options.reason,
        triggered_by=actor_of(options),
    )
    done = inline.run(run, "rollout")["move"]
    if isinstance(done, Moved):
        print("\n".join(_done(done)))
        return 0
    assert isinstance(done, inline.Skipped)
    print(f"nothing was done: {done.reason}", file=sys.stderr)
    return 1


def _nothing_more(options: argparse.Namespace) -> None:
    """Options of an act without one would be left out in silence."""
    from evergreen.errors import RunError

    given = [f"--{name}" for name in ("step", "reason") if getattr(options, name) is not None]
    if given:
        raise RunError(
            f"looking at the rollout of {options.model}",
            found=f"{' and '.join(given)}, and nothing that is to be done",
            expected=" or ".join(_option(act) for act in _ACTS),
            next_step="name what is to be done, or leave the rest out too",
        )


def _stands(now: Rollout) -> Iterator[str]:
    """How an open rollout stands, and what may be done with it."""
    from evergreen.history import timeline

    opened = now.opened
    yield f"{opened.model}: {timeline.stands(now)}"
    yield f"  this step: until {now.since + opened.hold:%Y-%m-%d %H:%M} at least, {opened.minimum_answers} answers"
    yield f"  rejected:  when nothing speaks for it until {opened.as_of + opened.at_most:%Y-%m-%d %H:%M}"
    acts: tuple[Act, ...] = ("resume" if now.paused else "pause", "advance", "roll_back")
    for act in acts:
        step = ["--step", str(now.number)] if act == "advance" else []
        command = ["evergreen", "rollout", opened.model, _option(act), now.id, *step, "--reason", "TEXT"]
        yield f"  {act.replace('_', ' ') + ':':10} {shlex.join(command)}"


def _done(moved: Moved) -> Iterator[str]:
    """What was done, and which replicas do not follow yet."""
    beside = (
        "is withdrawn" if moved.role is None else f"is {moved.role}" + (f", {moved.share} %" if moved.share else "")
    )
    yield f"{moved.rollout}: {moved.kind} ({moved.reason}); version {moved.version} {beside}"
    for warning in moved.warnings:
        yield f"  {warning}"


def _option(act: Act) -> str:
    return f"--{act.replace('_', '-')}"
