"""Which interval a run works on: one function for scheduled, backfilled, manual and triggered runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from evergreen.calendar import Calendar
from evergreen.errors import RunError
from evergreen.interval import CALENDAR, FIRST_DAY, LAST_DAY, Interval, in_utc
from evergreen.loops.wire import LoopName
from evergreen.orchestration.connections import connection_uri
from evergreen.quoting import listed, shown
from evergreen.run import AnyRun, DatasetRun, Run
from evergreen.spec.dataset import DatasetSpec, Dated
from evergreen.spec.mistakes import nearest, one_of
from evergreen.spec.schema import ModelSpec

_CLOCKS_APART = timedelta(minutes=5)  # the scheduler's and a worker's, at most
# The UI's form gives a run by hand the logical date of the moment when it was opened, and it may have stood
# open for a while. A moment that begins an interval may also be meant.
_FORM_OPEN, _BY_CHANCE = timedelta(hours=1), timedelta(minutes=1)


def run_of(spec: DatasetSpec | ModelSpec, loop: LoopName, context: Mapping[str, Any]) -> AnyRun:
    """The `Run` of an Airflow task context of one of the loops of a dataset or model.

    Raises:
        RunError: the params cannot be read, `interval_of` refuses the run, or its interval lies outside the
            days of data, or has not ended.
    """
    from evergreen.orchestration import timetable  # and with it Airflow, which commands do without

    dag_run, params = context["dag_run"], context["params"]
    interval = interval_of(spec.name, loop, dag_run, params, timetable.of(spec, loop))
    if loop != "rollback":
        check_interval(
            spec,
            interval,
            f"identifying run {dag_run.run_id} of {spec.name}",
            "trigger the run again and name the interval: `as_of` for train, `partition` for the others",
        )
    if loop == "correct" and not params["dry_run"] and not (params.get("reason") or "").strip():
        raise RunError(
            f"identifying run {dag_run.run_id} of {spec.name}",
            found="a correction without a reason",
            expected="why it is done, which the history keeps",
            next_step="trigger the run again with `reason`, or as a dry run",
        )
    options: dict[str, Any] = {
        "run_id": dag_run.run_id,
        "reason": params.get("reason") or kind(dag_run),
        "decision_id": params.get("decision_id"),
        "changed_at": _moment(spec.name, "changed_at", params.get("changed_at")),
        "version": params.get("version"),
        **({name: params[name] for name in ("act", "rollout", "step")} if loop == "rollout" else {}),
        "dry_run": loop == "correct" and bool(params["dry_run"]),
        "triggered_by": dag_run.triggering_user_name or None,
        "connections": connection_uri,
    }
    if isinstance(spec, DatasetSpec):
        return DatasetRun(spec, interval, **options)
    return Run(spec, interval, **options)


def check_params(name: str, dag_run: Any, params: Collection[str], declared: Collection[str]) -> None:
    """Refuse a run whose conf has a key that its form does not: a misspelt one would be ignored, and the run would
    work on another interval than was meant.

    Args:
        params: the names of the run's params; Airflow takes a conf's keys over as they are.
        declared: those of the form.

    Raises:
        RunError: there is such a key.
    """
    if unknown := sorted(set(params) - set(declared)):
        meant = nearest(unknown[0], declared, f"leave {unknown[0]} out")
        raise RunError(
            f"identifying run {dag_run.run_id} of {name}",
            found=f"a conf with {listed(unknown)}",
            expected=f"no keys but {one_of(declared)}",
            next_step=f"trigger the run again: {meant}",
        )


def interval_of(name: str, loop: LoopName, dag_run: Any, params: Mapping[str, Any], data: Dated) -> Interval:
    """The interval that a run works on: of these, the first that it has.

    1. What its params name: `partition`, or the interval before `as_of`.
    2. Its data interval, where that begins with its logical date. Of a long one (a training's week), the last interval.
    3. The interval that begins with its logical date.
    4. The newest complete interval, as of when it was made: where it has no logical date, or only that of the moment.

    A run of a rollout knows the moment until which it looks: the end of its stretch, or when it was made.

    So a logical date means the same for scheduled, backfilled and manual runs. A rollback works on no
    interval: it knows what is known when it is made.

    Args:
        name: the dataset's or model's.
        params: the run's params, or its conf alone.
        data: what its calendar and its last day are; "newest" and a training ask for nothing after the last interval.
            Of a training its schedule, which says how long a stretch of it is.

    Raises:
        RunError: the params cannot be read; a backfill names a partition; the logical date begins no interval.
    """
    doing = f"identifying run {dag_run.run_id} of {name}"
    if named := _named(name, params, data.calendar):
        if kind(dag_run) == "backfill":
            key = "as_of" if params.get("as_of") else "partition"
            raise RunError(
                doing,
                found=f"a backfill with {key}={shown(params[key])}",
                expected="one without: it would send each of its runs to the same interval",
                # Airflow gives a run that is there another conf only where the new backfill has one, an empty one too.
                next_step=f"cancel the backfill, and start it without `{key}`; its dates say what it works on. Its "
                f"runs keep `{key}` unless the new one replaces it: --reprocess-behavior failed --dag-run-conf '{{}}'",
            )
        return named
    logical_date: datetime | None = None if loop == "rollback" else dag_run.logical_date
    try:
        if loop == "rollout":
            return _until_then(dag_run, data)
        newest = data.newest_complete(dag_run.run_after)
        if logical_date is None:
            return newest
        dated = data.calendar.interval_of(logical_date)
    except ValueError as error:
        raise RunError(
            doing,
            found=f"a run for {dag_run.logical_date or dag_run.run_after}",
            expected=f"one for {CALENDAR}",
            next_step="trigger the run again with a logical date of the days of data",
        ) from error
    if kind(dag_run) == "manual" and _of_the_moment(dag_run, dated):
        return newest
    if loop == "train" and (end := _end_of_stretch(dag_run, data)) is not None:
        dated, last = data.calendar.until(end), data.last_interval
        return dated if last is None else min(dated, last)
    if dated.start != logical_date:
        following = data.calendar.after(dated)
        raise RunError(
            doing,
            found=f"logical date {in_utc(logical_date):%Y-%m-%dT%H:%M:%SZ}, which begins no interval",
            expected=" or ".join(f"{each.start:%Y-%m-%dT%H:%M:%SZ} ({each.partition})" for each in (dated, following)),
            next_step="trigger the run again with one of the two, or without a date: for the newest complete interval",
        )
    return dated


def _until_then(dag_run: Any, data: Dated) -> Interval:
    """What a look at a rollout may know; of data that is over, until its end."""
    end: datetime = (_end_of_stretch(dag_run, data) if dag_run.logical_date is not None else None) or dag_run.run_after
    last = data.last_interval
    return data.calendar.until(end if last is None else min(end, last.end))


def _of_the_moment(dag_run: Any, dated: Interval) -> bool:
    """Whether a logical date is that of the moment when the run was made, and names no interval."""
    apart = abs(dag_run.run_after - dag_run.logical_date)
    return bool(apart <= (_BY_CHANCE if dated.start == dag_run.logical_date else _FORM_OPEN))


def _end_of_stretch(dag_run: Any, schedule: Dated) -> datetime | None:
    """When what a training's schedule begins at the logical date is over; None: it begins nothing then."""
    start: datetime | None = dag_run.data_interval_start
    end: datetime | None = dag_run.data_interval_end
    if start is not None and start == dag_run.logical_date and end is not None and end > start:
        return end
    # Airflow's command infers the data interval of a run by hand from the moment when it is given.
    stretch: Callable[[datetime], datetime | None] | None = getattr(schedule, "end_of_stretch", None)
    return None if stretch is None else stretch(dag_run.logical_date)


def check_interval(data: Dated, interval: Interval, doing: str, next_step: str) -> None:
    """Raises `RunError` when an interval lies outside of those with data, or has not ended."""
    first, last = data.first_interval, data.last_interval
    if interval.start < first.start or (last is not None and interval.start >= last.end):
        until = "the newest that has ended" if last is None else last.partition
        raise RunError(
            doing,
            found=f"interval {interval}",
            expected=f"{data.calendar.name}, from {first.partition} to {until} (first_day and last_day of its data)",
            next_step=next_step,
        )
    # A decision about an interval to come would stand before those about all others until then.
    now = datetime.now(UTC)
    if interval.end > now + _CLOCKS_APART:
        raise RunError(
            doing,
            found=f"interval {interval}",
            expected=f"one that has ended; it is {now:%Y-%m-%dT%H:%MZ}",
            next_step=next_step,
        )


def _named(name: str, params: Mapping[str, Any], calendar: Calendar) -> Interval | None:
    if as_of := _moment(name, "as_of", params.get("as_of")):
        try:
            return calendar.until(as_of)
        except ValueError as error:
            raise _unreadable(name, "as_of", str(params["as_of"]), f"the end of {CALENDAR}") from error
    if partition := params.get("partition"):
        try:
            return calendar.at(partition)
        except (TypeError, ValueError) as error:
            raise _unreadable(name, "partition", partition, f"{calendar}, from {FIRST_DAY} to {LAST_DAY}") from error
    return None


def _moment(model: str, name: str, text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else in_utc(moment)
    except (TypeError, ValueError) as error:
        raise _unreadable(model, name, text, "a moment as 2026-01-31T00:00:00Z") from error


def _unreadable(model: str, name: str, text: object, expected: str) -> RunError:
    return RunError(
        f"reading the params of a run of {model}",
        found=f"{name}={shown(text)}",
        expected=expected,
        next_step=f"trigger the run again with `{name}` in that form, or leave it empty",
    )


def dag_id(name: str, loop: str) -> str:
    """The id of one loop of a dataset or model."""
    return f"{name}__{loop}"


def kind(dag_run: Any) -> str:
    """scheduled, backfill, manual, …"""
    return str(getattr(dag_run.run_type, "value", dag_run.run_type))
