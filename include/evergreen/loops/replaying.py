"""A model's past once more, as if it were live: one interval after the other is asked about, ingested, monitored and
trained as of its end, by the wiring that `loops.inline` interprets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import Any

from croniter import croniter

from evergreen.errors import EvidenceMissing
from evergreen.features import rules
from evergreen.handovers.rollout import Moved
from evergreen.handovers.train import Deployed
from evergreen.interval import Interval
from evergreen.lake.schema import FEATURES
from evergreen.loops import inline
from evergreen.run import Approval
from evergreen.spec.asking import OnRequest
from evergreen.spec.columns import EVENT
from evergreen.spec.rollout import DirectRollout
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

MOST_ASKED = 200  # entities of one request
Body = Mapping[str, Any]
Ask = Callable[[Iterator[Body]], int]  # sends requests to the server; returns how many entities had an answer


def interval(spec: ModelSpec, this: Interval, ask: Ask, approval: Approval = inline.NOBODY) -> tuple[int, list[str]]:
    """Live through an interval: its requests are asked with the features that the end of the one before it left.

    Returns:
        How many entities had an answer, and what happened beside, in words.
    """
    answered, events = 0, []
    for dataset in spec.datasets.values():
        inline.run(inline.of(dataset, this), "ingest", last="publish")
    if isinstance(spec.asking, OnRequest):
        answered = ask(_requested(spec, spec.asking, this))
    for dataset in spec.datasets.values():
        inline.run(inline.of(dataset, this), "ingest", first="features")
    if not isinstance(spec.asking, OnRequest):
        answered = ask(_everyone(spec, this))
    decided = inline.run(inline.of(spec, this, approval), "monitor")
    action = inline.as_json(decided["decide"])["action"]
    if action != "none":
        events.append(f"the monitor decided: {action}")
    if not isinstance(spec.rollout, DirectRollout):
        moved = inline.run(inline.of(spec, this), "rollout")["move"]
        if isinstance(moved, Moved):
            events.append(f"the rollout of version {moved.version}: {moved.kind} ({moved.reason})")
    if _due(spec, this):
        events.append(_trained(spec, this, approval))
    return answered, events


def first_training(spec: ModelSpec, this: Interval, approval: Approval = inline.NOBODY) -> int | None:
    """Train as of the end of an interval; returns the version that serves then, None if none passed its gates."""
    deployed = _deployed(spec, this, approval)
    return None if deployed is None else deployed.version


def _deployed(spec: ModelSpec, this: Interval, approval: Approval) -> Deployed | None:
    deployed = inline.run(inline.of(spec, this, approval), "train")["deploy"]
    return deployed if isinstance(deployed, Deployed) else None


def _trained(spec: ModelSpec, this: Interval, approval: Approval) -> str:
    """What came of a scheduled training."""
    try:
        deployed = _deployed(spec, this, approval)
    except EvidenceMissing as error:
        return f"scheduled training: {error.found}"
    if deployed is None:
        return "scheduled training: not better"
    does = "serves" if deployed.rollout is None else "is rolled out beside the champion"
    return f"scheduled training: version {deployed.version} {does}"


def _due(spec: ModelSpec, this: Interval) -> bool:
    """Whether the schedule has a training within an interval, or at its end."""
    if spec.schedule.train is None:
        return False
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(spec.calendar.zone)
    return bool(croniter(spec.schedule.train, this.start.astimezone(zone)).get_next(type(this.end)) <= this.end)


def _requested(spec: ModelSpec, asking: OnRequest, this: Interval) -> Iterator[Body]:
    """The requests of an interval as history has them, in their order."""
    from evergreen.features import computing

    (span,) = (span for span in rules.label_spans(spec, this) if span.interval == this)
    rows = computing.requests(asking, span).sort_by(EVENT).to_pylist()
    for moment, together in groupby(rows, key=lambda row: row[EVENT]):
        entities = [{name: _sent(value) for name, value in row.items() if name != EVENT} for row in together]
        yield from _bodies(entities, moment)


def _sent(value: Any) -> Any:
    """A value as a client writes it in JSON."""
    return value.isoformat() if isinstance(value, date) else value


def _everyone(spec: ModelSpec, this: Interval) -> Iterator[Body]:
    """Every entity that has features at the end of an interval."""
    from evergreen.lake import tables

    view = next(iter(spec.features))
    columns = [*spec.entity.columns]
    stored = tables.read(FEATURES.of(spec.dataset_of(view), view), [this.partition], columns=columns)
    if stored is not None:
        yield from _bodies(stored.sort_by([(name, "ascending") for name in columns]).to_pylist(), this.end)


def _bodies(entities: Sequence[Mapping[str, Any]], moment: Any) -> Iterator[Body]:
    for start in range(0, len(entities), MOST_ASKED):
        yield {"entities": [*entities[start : start + MOST_ASKED]], "as_of": moment.isoformat()}
