"""Tells owners of intervals that no run worked on: the next scheduled run of any loop looks.

Deadlines cannot: an interval whose run was never made, since Airflow was down, the DAG paused or its limit of runs
reached, has none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from evergreen.errors import CalendarChanged
from evergreen.interval import Interval
from evergreen.orchestration import notify
from evergreen.orchestration.identity import dag_id, kind
from evergreen.run import AnyRun
from evergreen.settings import settings
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.load import load
from evergreen.spec.schema import ModelSpec
from evergreen.status import rules

if TYPE_CHECKING:
    from evergreen.status.facts import EveryInterval

log = logging.getLogger(__name__)


def look(run: AnyRun, context: Mapping[str, Any]) -> None:
    """Tell of missing intervals that nobody has heard of: of the run's datasets, and of every model that uses them.

    Only a scheduled run of the newest interval looks. Those before it are being caught up, or somebody asked for
    them; and beside a backfill of history everything that is not done yet would be missing.
    """
    from evergreen.status import alarms

    now = datetime.now(UTC)
    if kind(context["dag_run"]) != "scheduled" or rules.overtaken(run.interval, now, run.spec.calendar):
        return
    for spec, loop, missing in _missing(run, now):
        if missing:
            log.warning("%s of %s is missing: %s", loop, spec.name, rules.text(missing))
        wanted = set(alarms.untold(spec.name, loop, [interval.partition for interval in missing]))
        untold = [interval for interval in missing if interval.partition in wanted]
        untold = _without_run(untold, dag_id(spec.name, loop), context["ti"])
        if untold:
            _tell(spec, loop, untold, context)


def _missing(run: AnyRun, now: datetime) -> Iterator[tuple[DatasetSpec | ModelSpec, EveryInterval, Sequence[Interval]]]:
    from evergreen.status import facts

    for dataset in run.spec.datasets.values():
        yield dataset, "ingest", facts.ingested(dataset, now).intervals["missing"]
    for model in load(settings().models, settings().data).valid_models:
        if model.datasets.keys() & run.spec.datasets.keys():
            try:
                missing = facts.monitored(model, now).intervals["missing"]
            except CalendarChanged as error:  # of another dataset of that model, whose own runs fail by it
                log.warning("%s", error)
            else:
                yield model, "monitor", missing


def _tell(
    spec: DatasetSpec | ModelSpec, loop: EveryInterval, missing: Sequence[Interval], context: Mapping[str, Any]
) -> None:
    from evergreen.status import alarms

    command = rules.backfill(spec.name, loop, missing[0], missing[-1])
    try:
        notify.without_run(spec, loop, rules.text(missing), command, context)
    except Exception:  # a channel that is away is no reason for the run to fail; the next run tells again
        log.exception("telling the owner of missing intervals")
    else:
        alarms.record(spec.name, loop, [interval.partition for interval in missing])


def _without_run(intervals: Sequence[Interval], of_dag: str, ti: Any) -> list[Interval]:
    """Those that no run works on now, or will when its turn comes."""

    def active(some: Sequence[Interval]) -> int:
        count: int = ti.get_dr_count(
            dag_id=of_dag, logical_dates=[each.start for each in some], states=["queued", "running"]
        )
        return count

    if not intervals or not active(intervals):
        return list(intervals)
    return [interval for interval in intervals if not active([interval])]
