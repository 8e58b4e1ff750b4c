"""Which interval a run works on: one function for scheduled, backfilled, manual and triggered runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from evergreen.errors import RunError
from evergreen.interval import CALENDAR, DAY, Interval, in_utc
from evergreen.loops.wire import LoopName
from evergreen.orchestration.connections import connection_uri
from evergreen.quoting import shown
from evergreen.run import AnyRun, DatasetRun, Run
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.schema import ModelSpec

_CLOCKS_APART = timedelta(minutes=5)  # the scheduler's and a worker's, at most


def run_of(spec: DatasetSpec | ModelSpec, loop: LoopName, context: Mapping[str, Any]) -> AnyRun:
    """The `Run` of an Airflow task context of one of the loops of a dataset or model.

    The interval is, in this order: the `partition` or `as_of` that the run names in its params; the run's data
    interval; for a run without one (triggered, or by hand without a date), the last complete day before `run_after`. A
    training by hand that names nothing knows all complete days before its logical date (the timetable's last week may
    end days earlier), and none asks for more than the model's last day of data. A rollback works on no interval: its
    run knows what is known when it is made.

    Raises:
        RunError: the params cannot be read, or the interval lies outside the days of data, or has not ended.
    """
    dag_run, params = context["dag_run"], context["params"]
    interval = _named(spec, params) or _of_run(spec, dag_run, training=loop == "train")
    if loop != "rollback":
        check_day(
            spec,
            interval,
            f"identifying run {dag_run.run_id} of {spec.name}",
            "trigger the run again and name the day: `partition` for ingest and monitor, `as_of` for train",
        )
    options: dict[str, Any] = {
        "run_id": dag_run.run_id,
        "reason": params.get("reason") or kind(dag_run),
        "decision_id": params.get("decision_id"),
        "changed_at": _moment(spec, "changed_at", params.get("changed_at")),
        "version": params.get("version"),
        "triggered_by": dag_run.triggering_user_name or None,
        "connections": connection_uri,
    }
    if isinstance(spec, DatasetSpec):
        return DatasetRun(spec, interval, **options)
    return Run(spec, interval, **options)


def check_day(spec: DatasetSpec | ModelSpec, interval: Interval, doing: str, next_step: str) -> None:
    """Raises `RunError` when an interval lies outside the days of data, or has not ended."""
    if not spec.first_day <= interval.start.date() <= (spec.last_day or date.max):
        raise RunError(
            doing,
            found=f"interval {interval}",
            expected=(
                f"a day from {spec.first_day} to {spec.last_day or 'yesterday'} (first_day and last_day of its data)"
            ),
            next_step=next_step,
        )
    # A decision about a day to come would stand before those about all days until then.
    now = datetime.now(UTC)
    if interval.end > now + _CLOCKS_APART:
        raise RunError(
            doing,
            found=f"interval {interval}",
            expected=f"one that has ended; it is {now:%Y-%m-%dT%H:%MZ}",
            next_step=next_step,
        )


def _named(spec: DatasetSpec | ModelSpec, params: Mapping[str, Any]) -> Interval | None:
    if as_of := _moment(spec, "as_of", params.get("as_of")):
        try:
            return Interval.before(as_of)
        except ValueError as error:
            raise _unreadable(spec, "as_of", str(params["as_of"]), f"the end of {CALENDAR}") from error
    if partition := params.get("partition"):
        try:
            return Interval.of_day(date.fromisoformat(partition))
        except (TypeError, ValueError) as error:
            raise _unreadable(spec, "partition", partition, f"{CALENDAR}, as YYYY-MM-DD") from error
    return None


def _of_run(spec: DatasetSpec | ModelSpec, dag_run: Any, *, training: bool) -> Interval:
    """The interval of a run whose params name none."""
    try:
        if training and kind(dag_run) == "manual":
            interval = _last_complete(dag_run.logical_date or dag_run.run_after)
        else:
            interval = _of_data_interval(dag_run) or _last_complete(dag_run.run_after)
    except (OverflowError, ValueError) as error:
        raise RunError(
            f"identifying run {dag_run.run_id} of {spec.name}",
            found=f"a run for {dag_run.logical_date or dag_run.run_after}",
            expected=f"one for {CALENDAR}",
            next_step="trigger the run again with a logical date of the model's days",
        ) from error
    if training and spec.last_day is not None and interval.start.date() > spec.last_day:
        return Interval.of_day(spec.last_day)  # a training after the last day of data knows all of it
    return interval


def _of_data_interval(dag_run: Any) -> Interval | None:
    start, end = dag_run.data_interval_start, dag_run.data_interval_end
    if start is None or end is None or end <= start:
        return None
    # Long intervals (a weekly training schedule) know as much as their last day does.
    return Interval(max(start, end - DAY), end)


def _last_complete(run_after: datetime) -> Interval:
    return Interval.of_day(run_after.astimezone(UTC).date() - DAY)


def _moment(spec: DatasetSpec | ModelSpec, name: str, text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else in_utc(moment)
    except (TypeError, ValueError) as error:
        raise _unreadable(spec, name, text, "a moment as 2026-01-31T00:00:00Z") from error


def _unreadable(spec: DatasetSpec | ModelSpec, name: str, text: object, expected: str) -> RunError:
    return RunError(
        f"reading the params of a run of {spec.name}",
        found=f"{name}={shown(text)}",
        expected=expected,
        next_step=f"trigger the run again with `{name}` in that form, or leave it empty",
    )


def kind(dag_run: Any) -> str:
    """scheduled, backfill, manual, …"""
    return str(getattr(dag_run.run_type, "value", dag_run.run_type))
