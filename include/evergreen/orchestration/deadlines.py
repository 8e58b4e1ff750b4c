"""When a scheduled run is late, by Airflow's deadline alerts (docs/adr/0021).

The scheduler compares the clock with the deadlines of all runs, whatever their tasks do: one that waits for a slot, for
a batch or for its pool is late as one that works is. The triggerer then tells the owner: no executor's slot is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert

from evergreen.calendar import Calendar
from evergreen.ingest.rules import delay
from evergreen.interval import Interval
from evergreen.loops.wire import BY_HAND, LoopName
from evergreen.loops.wiring import LOOPS
from evergreen.orchestration import notify
from evergreen.orchestration.identity import kind
from evergreen.orchestration.logins import waits
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.schema import ModelSpec
from evergreen.status.rules import overtaken

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


@dataclass(eq=False)
class IntervalComplete(BaseDeadlineReference):
    """When a scheduled run could begin: when its interval's last batch is complete, or when the run was made, if that
    is later, as after a pause.

    None, hence no deadline, for every other run, and for one of an interval that is only caught up: the interval after
    it is over too. Registered by plugins/deadlines.py; Airflow evaluates it where it makes a run.
    """

    delay: timedelta = timedelta()  # from the interval's end until its last batch is complete
    calendar: Calendar | None = None  # whose intervals the runs are of; None: of a schedule's own
    required_kwargs = frozenset({"dag_id", "run_id"})  # what Airflow hands to `_evaluate_with`

    def _evaluate_with(self, *, session: Session, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models import DagRun
        from sqlalchemy import select

        run = session.scalar(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        if run is None or run.data_interval_start is None or run.data_interval_end is None:
            return None
        return self.begins(kind(run), run.data_interval_start, run.data_interval_end, datetime.now(UTC))

    def begins(self, kind: str, start: datetime, end: datetime, now: datetime) -> datetime | None:
        """The moment, of a run of this kind over `[start, end)` that is made now."""
        caught_up = overtaken(Interval(start, end), now, self.calendar)
        return None if kind != "scheduled" or caught_up else max(end + self.delay, now)

    def serialize_reference(self) -> dict[str, Any]:
        """As Airflow stores it with the DAG."""
        calendar = None if self.calendar is None else [self.calendar.every, self.calendar.zone]
        return {**super().serialize_reference(), "delay": self.delay.total_seconds(), "calendar": calendar}

    @classmethod
    def deserialize_reference(cls, reference_data: dict[str, Any]) -> IntervalComplete:
        """From what `serialize_reference` returned; of the release before, without `calendar`."""
        calendar = reference_data.get("calendar")
        return cls(timedelta(seconds=reference_data["delay"]), None if calendar is None else Calendar(*calendar))


def of_late(spec: DatasetSpec | ModelSpec, loop: LoopName) -> DeadlineAlert | None:
    """The one alert of a loop; none of one that nobody schedules."""
    # A rollout that stands still ends by its own bound, and the monitor goes on.
    if loop in BY_HAND or loop == "rollout" or (loop == "train" and getattr(spec.schedule, "train", None) is None):
        return None
    return DeadlineAlert(
        reference=IntervalComplete(max(map(delay, spec.datasets.values())), None if loop == "train" else spec.calendar),
        interval=getattr(spec.schedule.late, loop) + waits(spec, loop),
        callback=AsyncCallback(notify.late, {"name": spec.name, "of": LOOPS[loop].of}),
        name=f"{spec.name} {loop} is late",
    )
