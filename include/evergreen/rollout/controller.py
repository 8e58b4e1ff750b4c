"""What moves a rollout: each call is one transaction of the ledger, decided by how the rollout stands in it.

So any number of controllers, guards and people may call at once: one of them moves it, and the others find that it has
moved. A process that is killed leaves the rollout at a step, and the next call goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from evergreen.errors import NoSuchRollout
from evergreen.history import ledger, story
from evergreen.history.events import Event
from evergreen.history.rollouts import ROLLOUTS, Observed, Rollout, RolloutOpened
from evergreen.history.story import Entry, Standing
from evergreen.registry import records
from evergreen.rollout import recording, rules
from evergreen.rollout.rules import Evidence, Move, Watched
from evergreen.rollout.wanted import Wanted, wanted


def served(model: str) -> Wanted:
    """What is to be served of a model, by the ledger.

    Raises:
        ServiceUnavailable: the database does not answer; whoever serves goes on as before.
    """
    return wanted(ledger.standing(model))


def version_of(model: str, rollout: str) -> int:
    """The version of a rollout.

    Raises:
        NoSuchRollout: there never was that rollout.
    """
    for entry in ledger.entries(model, "rollout opened"):
        if isinstance(entry.event, RolloutOpened) and entry.event.id == rollout:
            return entry.event.version
    raise _no_such(model, rollout, ledger.standing(model))


def open_rollout(
    declared: Watched,
    model: str,
    number: int,
    *,
    compared: int | None,
    as_of: datetime,
    actor: str,
    reason: str,
    decision_id: str | None = None,
) -> str | None:
    """Open the rollout of a version, by the first step; why not, or None. Again is harmless. The intent for which
    replicas loaded it ends with that. Call it under `store.locked(model)`.

    Args:
        compared: the champion that the version's gates compared it with.

    Raises:
        ArtifactUntrusted, EvidenceMissing: nobody can say what the champion is.
    """
    from evergreen.registry import store

    version, champion = records.version(model, number), store.champion(model)
    gates = story.gates(ledger.entries(model, "registered", "judged"), number)
    refusal: str | None = None

    def decide(entries: Sequence[Entry]) -> Iterable[Event]:
        nonlocal refusal
        now = _standing(entries)
        if now.rollout is not None and now.rollout.version == number:
            return
        refusal = rules.opening_refusal(version, champion, now, gates, compared)
        if refusal is None:
            assert champion is not None
            yield recording.opening(
                declared,
                version,
                champion,
                gates,
                model=model,
                attempt=1 + sum(_opened(entry.event, number) for entry in entries),
                as_of=as_of,
                actor=actor,
                reason=reason,
                decision_id=decision_id,
                intent=None if now.pending is None else now.pending.id,
            )

    ledger.extend(model, decide, *story.MOVES)
    return refusal


def refusal(model: str, number: int, compared: int | None) -> str | None:
    """Why no rollout of a version may be opened now, as `open_rollout` has it; None when one may."""
    from evergreen.registry import store

    gates = story.gates(ledger.entries(model, "registered", "judged"), number)
    return rules.opening_refusal(
        records.version(model, number), store.champion(model), ledger.standing(model), gates, compared
    )


def observe(model: str, evidence: Evidence, *, actor: str) -> Move:
    """Move the open rollout by what was observed of its step; what was done.

    Evidence about a step that is over moves nothing: so the same evidence may come twice, and from several.
    """
    return _moved(model, lambda rollout: rules.move(rollout, evidence), evidence.observed, evidence.as_of, actor)


def advance(model: str, rollout: str, step: int, *, as_of: datetime, actor: str, reason: str) -> Move:
    """To the step after `step`, or from the last one to all requests, because a person says so; what was done.

    Cleared later, it does nothing more: it names the step that it leaves.

    Raises:
        NoSuchRollout: that step is not there, or has not begun.
    """

    def decide(now: Rollout) -> Move:
        here = (now.id, now.number) == (rollout, step)
        return rules.onwards(now, reason) if here else Move("stay", f"{now.id} is open, at step {now.number}")

    moved = _moved(model, decide, None, as_of, actor)
    if moved.kind == "stay":
        _was(model, rollout, step)
    return moved


def roll_back(model: str, rollout: str, *, as_of: datetime, actor: str, reason: str) -> Move:
    """Withdraw the version, because a person or a guard says so; what was done. Again is harmless.

    Raises:
        NoSuchRollout: there never was that rollout.
    """
    moved = _moved(model, _withdrawing(rollout, reason), None, as_of, actor)
    if moved.kind == "stay":
        _was(model, rollout)
    return moved


def withdraw(model: str, rollout: str, *, as_of: datetime, actor: str, reason: str) -> Move:
    """The same by a server's guard, which has no client of MLflow: that shows it with the model's next move."""
    moved = _recorded(model, _withdrawing(rollout, reason), None, as_of, actor, alone=False)
    if moved.kind == "stay":
        _was(model, rollout)
    return moved


def pause(model: str, rollout: str, *, actor: str, reason: str, resume: bool = False) -> None:
    """Let the rollout go no further by itself, or (`resume`) go on again. Again is harmless.

    Raises:
        NoSuchRollout: that rollout is not open.
    """

    def decide(entries: Sequence[Entry]) -> Iterable[Event]:
        open_now = _standing(entries).rollout
        if open_now is None or open_now.id != rollout:
            raise _no_such(model, rollout, _standing(entries))
        return recording.pausing(open_now, entries, pause=not resume, actor=actor, reason=reason)

    ledger.extend(model, decide, *story.MOVES)


def _moved(
    model: str, decide: Callable[[Rollout], Move], observed: Observed | None, as_of: datetime, actor: str
) -> Move:
    """Decide how the open rollout moves and record it, in one transaction; what was done.

    What withdraws the version waits for nobody. For a promotion no deployment may be under way.
    """
    done = _recorded(model, decide, observed, as_of, actor, alone=False)
    if done.kind not in ("promote", "roll back"):
        return done
    from evergreen.registry import store  # brings MLflow, which whoever only looks or goes on does without

    if done.kind == "promote":
        with store.locked(model):
            done = _recorded(model, decide, observed, as_of, actor, alone=True)
            store.show(model)
    else:
        with store.locked_at_once(model) as free:
            if free:  # else the next deployment shows it
                store.show(model)
    return done


def _recorded(
    model: str,
    decide: Callable[[Rollout], Move],
    observed: Observed | None,
    as_of: datetime,
    actor: str,
    *,
    alone: bool,
) -> Move:
    """The same without what follows; without being alone a promotion is not recorded."""
    done = Move("stay", "no rollout is open")

    def events(entries: Sequence[Entry]) -> Iterable[Event]:
        nonlocal done
        now = _standing(entries)
        if now.rollout is None:
            return ()
        done = decide(now.rollout)
        if done.kind == "promote" and not alone:
            return ()
        if done.kind in ("advance", "promote") and now.pending is not None:
            # Until what a killed process began is ended, nobody knows what the champion will be.
            done = Move("stay", f"the {now.pending.purpose} to version {now.pending.version} has not ended")
        return recording.moving(now, done, observed, as_of=as_of, actor=actor)

    ledger.extend(model, events, *story.MOVES)
    return done


def _withdrawing(rollout: str, reason: str) -> Callable[[Rollout], Move]:
    def decide(now: Rollout) -> Move:
        return Move("roll back", reason) if now.id == rollout else Move("stay", f"{now.id} is open")

    return decide


def _opened(event: Event, number: int) -> bool:
    return isinstance(event, RolloutOpened) and event.version == number


def _standing(entries: Sequence[Entry]) -> Standing:
    return story.standing(entry.event for entry in entries)


def _was(model: str, rollout: str, step: int | None = None) -> None:
    """Nothing, where there was such a rollout, or such a step is over; else an error."""
    known = {entry.event.id for entry in ledger.entries(model, *ROLLOUTS)}
    over = step is None or not {f"{rollout}/step/{step + 1}", f"{rollout}/ended"}.isdisjoint(known)
    if rollout not in known or not over:
        raise _no_such(model, rollout if step is None else f"{rollout}, at step {step}", ledger.standing(model))


def _no_such(model: str, wanted_one: str, now: Standing) -> NoSuchRollout:
    found = "no open rollout" if now.rollout is None else f"{now.rollout.id}, at step {now.rollout.number}"
    return NoSuchRollout(
        f"moving a rollout of {model}",
        found=found,
        expected=wanted_one,
        next_step=f"`evergreen history {model}` has every rollout and its steps; name the one that is open",
    )
