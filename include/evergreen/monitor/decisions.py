"""Decisions in the ledger: one is added when a window is decided, and read back when another one is."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from evergreen.errors import PermanentError
from evergreen.history import ledger, story
from evergreen.history.events import Decided, Event, MadeFrom, NotBetter, Promoted
from evergreen.history.rollouts import RolloutEnded
from evergreen.history.story import Entry
from evergreen.lake.schema import LABELS
from evergreen.monitor import brakes, evidence, mending, rules, takeover
from evergreen.monitor.brakes import Retrained
from evergreen.monitor.evidence import Row, Unfit
from evergreen.monitor.rules import JOINED, Assessment, Decision, Findings, Known
from evergreen.monitor.waiting import Good
from evergreen.registry import records as registry
from evergreen.run import Run
from evergreen.spec.columns import EVENT, KNOWN_AT
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    from evergreen.monitor.understudies import Champion

log = logging.getLogger(__name__)

_PAGE = 50  # windows whose decisions are read at a time


def keep(run: Run, decision: Decision, made_from: Mapping[str, MadeFrom] | None = None) -> Decision:
    """Add the decision of a window to the ledger, unless it stands there; returns the one that stands.

    Args:
        made_from: what it was made from, by table.
    """
    stands = decision

    def unless_it_stands(entries: Sequence[Entry]) -> Iterator[Decided]:
        nonlocal stands
        event = recorded(run, decision, made_from, id=story.next_id(f"decided/{decision.id}", entries))
        standing = next((each for each in story.decisions(entries) if each.start == decision.start), None)
        if standing is not None and story.acts(standing):
            stands = restored(standing)
        elif standing is None or not _same(standing, event):
            yield event

    ledger.extend_window(run.spec.model, decision.start, unless_it_stands)
    return stands


def assess(spec: ModelSpec, findings: Findings) -> Assessment:
    """What a window says beside the decisions about the others that stand.

    They are read from the window back, until those before them would change nothing: so it does not matter how many
    there are. Of newer windows only the newest is read, since one is enough to know that there are some.
    """
    model = spec.model
    takeover.take_over(model)
    newest = ledger.windows(model, 1)
    history = [restored(event) for event in story.decisions(newest) if event.start > findings.start]
    oldest = findings.start
    while True:
        page = [restored(event) for event in story.decisions(ledger.windows(model, _PAGE, before=oldest))]
        history += page
        window = rules.assess(findings, history)
        if len(page) < _PAGE or rules.settled(spec, window):
            return window
        oldest = min(decision.start for decision in page)


def estimate_errors(run: Run, version: int) -> list[float]:
    """By how much the estimates of a version's metric were worse than what matured, window by window, before the run's
    own."""
    errors = [each.get("estimate_error") for each in _performances(run, version)]
    return [float(error) for error in errors if isinstance(error, int | float)]


def rival_errors(run: Run, version: int) -> Mapping[str, list[float]]:
    """The same of what the others would have gained over a version, by their name."""
    errors: dict[str, list[float]] = {}
    for performance in _performances(run, version):
        rivals = performance.get("rivals")
        for rival in rivals if isinstance(rivals, list) else []:
            if isinstance(rival, dict) and isinstance(error := rival.get("error"), int | float):
                errors.setdefault(str(rival["name"]), []).append(float(error))
    return errors


def _performances(run: Run, version: int) -> list[dict[str, Any]]:
    """What the newest decisions before a run's window kept of a version's performance."""
    windows = ledger.windows(run.spec.model, _PAGE, before=run.interval.start)
    made = [each.evidence.get("performance") for each in story.decisions(windows) if each.version == version]
    return [each for each in made if isinstance(each, dict)]


def good(run: Run) -> Good | None:
    """The version that a fall back would return to as of a run's moment; None: there is no other one."""
    now = ledger.standing(run.spec.model, known_before=run.as_of)
    number = now.last_known_good
    if number is None or number == now.champion or number in now.rolled_back:
        return None
    return Good(number, tried=number in now.fallen_back)


def known(run: Run, champion: int | None, windows: int | None) -> Known:
    """What is known of the champion and of the retrainings before.

    Args:
        champion: of the run's interval; None: there is none.
        windows: the version of the table of windows that is read; None: there is none.
    """
    from evergreen.monitor import windows as compared
    from evergreen.monitor.understudies import Champion

    if champion is None:
        return Known()
    model, moment, rows = run.spec.model, run.as_of, compared.known(run, windows)
    weighed = evidence.weigh(run.spec, rows, champion, ledger.incidents(model))
    own, spoken = Champion(run.spec, champion), any(row.version == champion for row in rows)
    if weighed.unfit is not None:
        weighed = replace(weighed, unfit=_with_recipe(own, weighed.unfit))
    by_hand = ledger.by_hand(model, moment)
    open_now = ledger.standing(model, known_before=moment).rollout
    triggered = [each.event for each in ledger.triggered(model, run.interval.start, brakes.MOST_USELESS)]
    started = [each for each in triggered if isinstance(each, Decided) and (by_hand is None or each.end >= by_hand)]
    ended = [each.event for each in ledger.outcomes(model, [each.decision_id for each in started])]
    past = [each for each in ended if each.as_of is not None and each.as_of <= moment]
    return Known(
        weighed=weighed,
        recipe=own.declared if spoken else None,
        comparable=own.comparable if spoken else True,
        trained=registry.version(model, champion).as_of,
        retrained=tuple(_outcome(decided, past, rows) for decided in started),
        good=good(run),
        rollout=None if open_now is None else open_now.version,
    )


def _with_recipe(champion: Champion, unfit: Unfit) -> Unfit:
    """The same with how the champion's recipe differs from that of a champion before it."""
    from evergreen.monitor.understudies import Champion

    said = []
    for number in unfit.versions:
        try:
            how = None if number == champion.number else champion.differs(Champion(champion.spec, number))
        except PermanentError as error:
            log.warning("By which recipe version %d was fitted cannot be told. %s", number, error)
            continue
        if how is not None:
            said.append(f"version {number}: {how}")
    return replace(unfit, recipe=", ".join(said) or None)


def labels_since(run: Run, changed_at: datetime | None, version: int | None) -> rules.Labels:
    """What a training as of now could use, from after the change where there was one, counted by the training's own
    rules."""
    from evergreen.lake import tables
    from evergreen.train import rules as training

    spec = run.spec
    cutoffs = training.split(run.as_of, spec, changed_at).cutoffs
    stored = LABELS.of(spec.model, spec.label.name)
    table = tables.read(stored, version=version, columns=[EVENT, KNOWN_AT], within=cutoffs)
    if table is None:
        return rules.Labels(0, 0, 0)
    known = table.to_pandas()
    return mending.labels(spec, run.as_of, changed_at, known[EVENT], known[KNOWN_AT])


def _outcome(decided: Decided, past: Sequence[Event], rows: Sequence[Row]) -> Retrained:
    """What came of a retraining that the monitor started."""
    kinds = Promoted | NotBetter | RolloutEnded
    its = [each for each in past if isinstance(each, kinds) and each.decision_id == decided.decision_id]
    promoted = next((each for each in its if isinstance(each, Promoted)), None)
    if promoted is None:
        withdrawn = next((each for each in its if isinstance(each, RolloutEnded)), None)
        if withdrawn is not None:
            why = f"made version {withdrawn.version}, whose rollout ended: {withdrawn.outcome} ({withdrawn.reason})"
            return Retrained(decided.decision_id, decided.end, False, why, refused=True)
        if its:
            better = "made nothing better than the champion"
            return Retrained(decided.decision_id, decided.end, False, better, refused=True)
        return Retrained(decided.decision_id, decided.end, None, "has no outcome yet")
    helped = evidence.helped(rows, promoted.version)
    if helped is None or not helped.known:
        return Retrained(decided.decision_id, decided.end, None, f"version {promoted.version} is not judged yet")
    verdict = ("less", "helped") if helped.gain > 0 else ("more", "did not help")
    told = (
        f"version {helped.version} loses {abs(helped.gain):.4f} {verdict[0]} per row than the version that it replaced "
        f"({helped.rows} rows): the retraining {verdict[1]}"
    )
    return Retrained(decided.decision_id, decided.end, helped.gain > 0, told, gain=helped.gain)


def recorded(run: Run, decision: Decision, made_from: Mapping[str, MadeFrom] | None = None, *, id: str) -> Decided:
    """A decision as the ledger has it."""
    return Decided(
        id=id,
        model=run.spec.model,
        as_of=decision.end,
        actor=run.actor,
        reason=JOINED.join(decision.reasons),
        decision_id=decision.id,
        start=decision.start,
        end=decision.end,
        version=decision.version,
        action=decision.action,
        triggers=decision.triggers,
        changed_at=decision.changed_at,
        cause=decision.cause,
        falls_back=decision.falls_back,
        evidence=json.loads(json.dumps(decision.evidence), parse_constant=lambda _: None),
        drifted=decision.drifted,
        incident=decision.incident,
        made_from=made_from,
    )


def restored(event: Decided) -> Decision:
    """A decision of the ledger."""
    return Decision(
        id=event.decision_id,
        start=event.start,
        end=event.end,
        version=event.version,
        action=event.action,
        triggers=event.triggers,
        drifted=bool(event.drifted),
        incident=bool(event.incident),
        changed_at=event.changed_at,
        cause=event.cause,
        falls_back=event.falls_back,
        reasons=tuple(event.reason.split(JOINED)),
        evidence=event.evidence,
    )


def _same(one: Decided, other: Decided) -> bool:
    """Whether two decisions of a window are the same one, whoever decided, and whatever else was written to the tables
    between them."""
    return _content(one) == _content(other) and (
        one.made_from is None or other.made_from is None or _rows(one.made_from) == _rows(other.made_from)
    )


def _content(event: Decided) -> Decided:
    return event.model_copy(update={"id": "", "actor": "", "taken_over": False, "made_from": None})


def _rows(made_from: Mapping[str, MadeFrom]) -> dict[str, str]:
    return {table: part.content_hash for table, part in made_from.items()}
