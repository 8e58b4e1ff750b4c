"""Time: the calendar and the days of a model, when its loops run, and how long its windows are."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from croniter import CroniterBadDateError, croniter

from evergreen.calendar import UTC_DAYS, Calendar
from evergreen.interval import CALENDAR, DAY, FIRST_DAY, LAST_DAY
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.durations import duration_text
from evergreen.spec.partial import stated_or
from evergreen.spec.rules.wording import Mistakes, mistake
from evergreen.spec.schema import ModelSpec

BUDGET_PERIOD = timedelta(days=30)
_CRON = re.compile(
    r"(?!.*\b[rh]\b)[0-9A-Za-z*/,#? -]{9,100}", re.IGNORECASE
)  # no r: at random; h: by a hash of the name
_DAILY = [[0], [0], ["*"], ["*"], ["*"]]


def _days_of_data(spec: DatasetSpec) -> Mistakes:
    for name in ("first_day", "last_day"):
        day = stated_or(spec, name, None)
        if day is not None and not FIRST_DAY <= day <= LAST_DAY:
            yield mistake(name, day, CALENDAR, "correct the year")


def _days(spec: DatasetSpec) -> Mistakes:
    if spec.last_day is not None and spec.last_day < spec.first_day:
        yield mistake(
            "last_day", spec.last_day, f"{spec.first_day} (first_day) or later", "exchange first_day and last_day"
        )


def _history(spec: ModelSpec) -> Mistakes:
    """Only a model whose last day is known has a history of known length."""
    if spec.last_day is None or spec.last_day < spec.first_day:
        return
    history, horizon = spec.last_day - spec.first_day + DAY, spec.label.horizon
    needed = spec.split.evaluation + 2 * horizon
    if horizon >= history:
        allowed = f"shorter than the history, {duration_text(history)} from first_day to last_day"
        yield mistake("label.horizon", horizon, allowed, "shorten the horizon, or move last_day")
    elif needed >= history and horizon < spec.split.window:
        allowed = (
            f"shorter than {duration_text(max(history - 2 * horizon, DAY))}: the history of {duration_text(history)} "
            "less two horizons"
        )
        yield mistake("split.evaluation", spec.split.evaluation, allowed, "shorten the evaluation, or move last_day")


def _schedules(spec: ModelSpec) -> Mistakes:
    for name in ("train", "monitor"):  # each alone: one misshapen hides no other
        yield from _schedule(spec.calendar, name, stated_or(spec.schedule, name, None))


def _ingests(spec: DatasetSpec) -> Mistakes:
    yield from _schedule(spec.calendar, "ingest", stated_or(spec.schedule, "ingest", None))


def _schedule(calendar: Calendar, name: str, cron: str | None) -> Mistakes:
    if cron is None:
        return
    key, daily = f"schedule.{name}", "0 0 * * *"
    if not _fires(cron):
        yield mistake(
            key,
            cron,
            f"a cron of five fields, in the calendar's zone ({calendar.zone}): minute hour day month weekday",
            f'write "{daily}" for once a day' if name == "train" else f"remove it: {name} follows the calendar",
        )
    elif name != "train" and (calendar != UTC_DAYS or croniter.expand(cron)[0] != _DAILY):
        # Any other moment would begin a run of no interval, or leave some without.
        allowed = f"nothing: {name} runs when an interval of the calendar, {calendar.name}, is over"
        yield mistake(key, cron, allowed, "remove it; `calendar` says how long an interval is")


def _fires(cron: str) -> bool:
    """Whether a cron names moments, the same ones whenever it is read."""
    if not _CRON.fullmatch(cron) or len(cron.split()) != 5 or not croniter.is_valid(cron):
        return False
    try:
        croniter(cron, datetime(2024, 1, 1)).get_next()
    except CroniterBadDateError:  # 30 February
        return False
    return True


def _windows(spec: ModelSpec) -> Mistakes:
    unit = spec.calendar.unit
    for key, value in (
        ("label.horizon", spec.label.horizon),
        ("label.known.within", spec.label.longest),
        ("split.evaluation", spec.split.evaluation),
        ("monitoring.window", spec.window),
    ):
        if value % unit:
            whole = f"whole {'days' if spec.calendar.every == 'month' else f'{spec.calendar.every}s'}"
            allowed = f"{whole}: a partition is {spec.calendar.name}"
            yield mistake(key, value, allowed, f"write {duration_text(-(-value // unit) * unit)}")


def _learning(spec: ModelSpec) -> Mistakes:
    horizon, evaluation, window = spec.label.horizon, spec.split.evaluation, spec.split.window
    if horizon >= window:
        yield mistake(
            "label.horizon",
            horizon,
            f"shorter than split.window ({duration_text(window)})",
            "shorten the horizon, or widen split.window",
        )
    elif evaluation + 2 * horizon >= window:
        # A horizon before as_of no label is mature; a horizon before the evaluation
        # is purged; learning needs what is left.
        needed = evaluation + 2 * horizon
        yield mistake(
            "split.window",
            window,
            f"longer than {duration_text(needed)}: split.evaluation and two horizons",
            f"write {duration_text(needed + evaluation)} or more, or shorten split.evaluation",
        )


def _cooldown(spec: ModelSpec) -> Mistakes:
    if spec.label.known is not None:  # outcomes of its predictions come from the first day on
        return
    if spec.monitoring.cooldown < spec.label.horizon < spec.split.window:
        allowed = (
            f"at least label.horizon ({duration_text(spec.label.horizon)}): sooner no outcome tells whether the "
            "retraining helped"
        )
        yield mistake(
            "monitoring.cooldown",
            spec.monitoring.cooldown,
            allowed,
            f"write {duration_text(spec.label.horizon)} or more",
        )


def _budget(spec: ModelSpec) -> Mistakes:
    most = BUDGET_PERIOD // spec.monitoring.cooldown + 1
    # The default is an upper bound for any cooldown; a budget that was chosen ought to bind.
    if "budget" in spec.monitoring.model_fields_set and spec.monitoring.budget > most:
        allowed = (
            f"at most {most}: monitoring.cooldown ({duration_text(spec.monitoring.cooldown)}) allows no more in 30 days"
        )
        yield mistake(
            "monitoring.budget", spec.monitoring.budget, allowed, f"write {most} or less, or shorten the cooldown"
        )


OF_SPEC: tuple[Callable[[ModelSpec], Mistakes], ...] = (
    _history,
    _schedules,
    _windows,
    _learning,
    _cooldown,
    _budget,
)
OF_DATASET: tuple[Callable[[DatasetSpec], Mistakes], ...] = (_days_of_data, _days, _ingests)
