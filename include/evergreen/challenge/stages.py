"""Stages of the loop of a rollout: what both versions answered → how they compare → the move that follows.

While none is open it has nothing to do. A run names rollout and step from its first task on, so that one which is
cleared later moves nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from evergreen.errors import RunError, StageSkipped
from evergreen.handovers.rollout import Gathered, Looked, Measured, Moved
from evergreen.history.rollouts import Compared, Observed
from evergreen.run import Run

if TYPE_CHECKING:
    from evergreen.history.rollouts import Rollout
    from evergreen.rollout.rules import Move

log = logging.getLogger(__name__)


def collect(run: Run) -> Gathered:
    """Take down what both versions of the open rollout answered, out of the prediction log.

    Raises:
        StageSkipped: no rollout is open, or it was opened later.
        RunError: a person's act names no rollout, or `advance` no step.
    """
    from evergreen.challenge import answers
    from evergreen.history import ledger
    from evergreen.lake import tables
    from evergreen.lake.schema import LABELS

    model, act = run.spec.model, run.act
    now = ledger.standing(model).rollout
    if act != "observe":
        rollout, step = _named(run, now)
        log.info("%s of the rollout %s (%s)", act, rollout, run.reason)
        return Gathered(rollout=rollout, step=step, act=act, answers=None, before=None, labels_version=None)
    if now is None:
        raise StageSkipped("no rollout is open")
    if run.rollout not in (None, now.id):
        raise StageSkipped(f"{run.rollout} is not open; {now.id} is")
    if run.as_of < now.since:
        raise StageSkipped(f"{now.id} is at a step that began as of {now.since:%Y-%m-%d %H:%M}, which is later")
    since, before = answers.gather(run, now, "collect")
    log.info(
        "%s, step %d: %d answers and failures, %d of the champion before it",
        now.id,
        now.number,
        since.rows,
        before.rows,
    )
    return Gathered(
        rollout=now.id,
        step=now.number,
        act=act,
        answers=since,
        before=before,
        labels_version=tables.version(LABELS.of(model, run.spec.label.name)),
    )


def compare(run: Run, gathered: Gathered) -> Looked:
    """Compare both versions in errors, slow answers, where answers lie, and outcomes that have matured, by tests that
    may be looked at all the time.

    Raises:
        StageSkipped: the rollout has moved on meanwhile.
    """
    from evergreen.challenge import answers, scoring
    from evergreen.history import ledger
    from evergreen.rollout import sequential

    looked = Looked(
        rollout=gathered.rollout, step=gathered.step, act=gathered.act, answers=0, verdict="undecided", measured=()
    )
    if gathered.answers is None or gathered.before is None:
        return looked
    now = ledger.standing(run.spec.model).rollout
    if now is None or (now.id, now.number) != (gathered.rollout, gathered.step):
        raise StageSkipped(f"{gathered.rollout} is not at step {gathered.step} any more")
    spec, opened, step = run.spec, now.opened, now.step
    rows = answers.read(spec, gathered.answers)
    usual = scoring.known(spec, opened, answers.read(spec, gathered.before), rows)
    known = answers.labels(run, gathered.labels_version, now)
    judged = sequential.judge(
        scoring.tallies(spec, usual, rows, known),
        scoring.measures(opened, usual),
        ways=scoring.ways(opened),
        shadow=step.role == "shadow",
    )
    for each in judged.compared:
        log.info("%s", each.sentence)
    ours = (rows["role"] == step.role) & (rows["share"] == step.share) & (rows["version"] == now.version)
    measured = tuple(
        Measured(
            measure=each.measure.name,
            verdict=each.verdict,
            difference=each.difference,
            low=each.low,
            high=each.high,
            champion_rows=each.rows[0],
            version_rows=each.rows[1],
            moved=each.moved,
        )
        for each in judged.compared
    )
    seen = {"answers": int((ours & ~rows["failed"]).sum()), "verdict": judged.verdict, "measured": measured}
    return looked.model_copy(update=seen)


def move(run: Run, looked: Looked) -> Moved:
    """Move the rollout by what was observed, or as a person wants it, and wait until all live replicas follow. Running
    this again is harmless: it names the step that it is about.

    Raises:
        StageSkipped: it stays where it is.
        NoSuchRollout: a person's act names a rollout that is not open, or a step that has not begun.
    """
    from evergreen.rollout import controller
    from evergreen.serve import deployment

    model = run.spec.model
    done = _moved(run, looked)
    # Also where nothing moved: what an attempt before this one moved, and was killed, is waited for all the same.
    lacking = deployment.settled(model)
    if done is None:
        stayed = "paused" if looked.act == "pause" else "resumed"
        log.info("%s: %s by %s (%s)", looked.rollout, stayed, run.actor, run.reason)
    elif done.kind == "stay":
        raise StageSkipped(f"{looked.rollout} stays: {done.reason}")
    else:
        log.info("%s: %s (%s)", looked.rollout, done.kind, done.reason)
    wanted = controller.served(model)
    version = controller.version_of(model, looked.rollout)
    second = wanted.beside if wanted.beside is not None and wanted.beside.version == version else None
    role = "champion" if wanted.champion == version else None if second is None else second.role
    return Moved(
        rollout=looked.rollout,
        version=version,
        kind=looked.act if done is None else done.kind,  # type: ignore[arg-type]  # of a person's acts these two are no moves
        reason=run.reason if done is None else done.reason,
        role=role,
        share=None if second is None else second.share,
        warnings=lacking,
    )


def _moved(run: Run, looked: Looked) -> Move | None:
    """What was done; None: a person paused it, or lets it go on."""
    from evergreen.rollout import controller
    from evergreen.rollout.rules import Evidence

    model, rollout, step = run.spec.model, looked.rollout, looked.step
    by = {"actor": run.actor, "reason": run.reason}
    match looked.act:
        case "observe":
            seen = Evidence(rollout, step, run.as_of, _observed(looked))
            return controller.observe(model, seen, actor=run.actor)
        case "advance":
            return controller.advance(model, rollout, step, as_of=run.as_of, **by)
        case "roll_back":
            return controller.roll_back(model, rollout, as_of=run.as_of, **by)
        case "pause" | "resume":
            controller.pause(model, rollout, **by, resume=looked.act == "resume")
    return None


def _observed(looked: Looked) -> Observed:
    return Observed(
        answers=looked.answers,
        verdict=looked.verdict,
        compared={
            each.measure: Compared(
                verdict=each.verdict,
                difference=each.difference,
                low=each.low,
                high=each.high,
                rows=(each.champion_rows, each.version_rows),
                moved=each.moved,
            )
            for each in looked.measured
        },
    )


def _named(run: Run, now: Rollout | None) -> tuple[str, int]:
    """The rollout and the step that a person's act is about."""
    needed = {"rollout": run.rollout, **({"step": run.step} if run.act == "advance" else {})}
    if run.rollout is None or None in needed.values():
        lacking = " and no ".join(name for name, given in needed.items() if given is None)
        open_now = "none is open" if now is None else f"{now.id} is open, at step {now.number}"
        raise RunError(
            f"{run.act} of a rollout of {run.spec.model}",
            found=f"no {lacking}; {open_now}",
            expected="the rollout by its id" + (", and the step that is to be left" if run.act == "advance" else ""),
            next_step=f"run it again with {' and '.join(needed)}: `evergreen history {run.spec.model}` has them",
        )
    return run.rollout, run.step or 0
