"""Whether the rows of an evaluation will be enough for the comparison with the champion, told before any training."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pandas as pd

from evergreen.evaluate import planning
from evergreen.evaluate.planning import Plan
from evergreen.evaluate.rules import CHAMPION_GATE, MARGIN_SHARE
from evergreen.features import computing, due
from evergreen.features import rules as spans
from evergreen.history import ledger, story
from evergreen.history.events import Judged
from evergreen.lake import catalogue, tables
from evergreen.lake.schema import LABELS, RAW
from evergreen.model.rows import weights
from evergreen.spec.columns import EVENT, KNOWN_AT
from evergreen.spec.schema import ModelSpec
from evergreen.train import rules as training

_ASSUMED = (
    "planned with two models that do not exist yet: each has a ROC AUC of 0.80, or explains half of a number's "
    "variance, and they share half of what they do wrong"
)


def line(spec: ModelSpec) -> str:
    """By the last comparison that the ledger has; before any by the outcomes so far; without them by the spec alone.

    Raises:
        EvergreenError: the ledger or the lake cannot be read, or the label's query fails.
    """
    last, stated = story.compared(ledger.entries(spec.model, "judged")), spec.gates.better_than_champion
    plan = None
    if _lacks_interval(last) and stated.margin != 0 and (as_of := _ingested_until(spec)) is not None:
        outcomes = _outcomes(spec, as_of)
        if outcomes is not None:
            plan = planning.planned(spec.problem, spec.search.metric, outcomes, stated.confidence)
    return foreseen(spec, last, plan, groups_of_spec(spec))


def of_spec(spec: ModelSpec) -> str | None:
    """What the spec alone says: that its evaluations can never tell; None: they may."""
    return _never(groups_of_spec(spec))


def foreseen(spec: ModelSpec, last: Judged | None, plan: Plan | None = None, groups: int | None = None) -> str:
    """Whether the rows of an evaluation can tell the margin of the comparison with the champion, in a line for the
    owner.

    Args:
        last: the last comparison that the ledger has.
        plan: what stands for it, where it has none; None: there are no outcomes yet.
        groups: into how many an evaluation's rows fall at most, where the spec says it; None: it does not.
    """
    stated = spec.gates.better_than_champion.margin
    if stated == 0:
        return f"{CHAMPION_GATE}: no margin, so no rows are too few"
    if last is not None and last.rows and last.enough and last.bound:
        before = abs(last.bound)
        margin = before if stated is None else stated
        enough = math.ceil(last.enough * (before / margin) ** 2)
        least = before * math.sqrt(last.enough / last.rows)
        return _told(spec, margin, enough, last.rows, least, "the last training had")
    if (never := _never(groups)) is not None:
        return never
    margin = 0.0 if plan is None else MARGIN_SHARE * plan.worth if stated is None else stated
    if plan is None or margin <= 0 or not plan.compared.tells:
        return f"{CHAMPION_GATE}: how many rows its margin needs is told once outcomes of an evaluation are there"
    rows, tells = plan.compared.rows, plan.compared.tells
    enough = math.ceil(rows * (tells / margin) ** 2)
    return f"{_told(spec, margin, enough, rows, tells, 'an evaluation as of now would have')} ({_ASSUMED})"


def _lacks_interval(last: Judged | None) -> bool:
    return last is None or not (last.rows and last.enough and last.bound)


def _never(groups: int | None) -> str | None:
    """That evaluations of so many groups never tell; None: they may."""
    if groups is None or groups > 1:
        return None
    return (
        f"WARNING: {CHAMPION_GATE}: split.evaluation holds the requests of one day, or of one interval, which are "
        "alike. Of one group there is no interval, so every training with a champion will be red for lack of evidence: "
        "evaluate on several"
    )


def _told(spec: ModelSpec, margin: float, enough: int, rows: int, least: float, had: str) -> str:
    """How many rows a margin needs; a warning where it is more than there are, with what would do.

    Args:
        least: the gain that is told on so many rows as there are.
        had: what there are.
    """
    told = f"a margin of {margin:.3g} in {spec.search.metric} needs about {enough:,} rows; {had} {rows:,}"
    if enough <= rows:
        return f"{CHAMPION_GATE}: {told}"
    evaluation = spec.split.evaluation * enough / rows
    days = f"{math.ceil(evaluation / timedelta(days=1))}d"
    longer = "which split.window has no room for" if evaluation >= spec.split.window else f"split.evaluation: {days}"
    return (
        f"WARNING: {CHAMPION_GATE}: {told}: a training that is neither clearly better nor clearly worse will be"
        f" red for lack of evidence. Such rows tell {least:.3g}: state at least this as"
        f" gates.better_than_champion.margin, or evaluate on more rows ({longer})"
    )


def _ingested_until(spec: ModelSpec) -> datetime | None:
    """The end of the newest interval that every source of the model has been ingested for; None: there is none."""
    newest = [
        catalogue.newest(RAW.of(dataset.name, source)) for dataset in spec.datasets.values() for source in dataset.dated
    ]
    ends = [spec.calendar.at(each).end for each in newest if each is not None]
    return min(ends) if ends and len(ends) == len(newest) else None


def groups_of_spec(spec: ModelSpec) -> int | None:
    """Into how many groups of rows that are alike an evaluation falls at most, where the spec alone says it: days of
    requests. Of entities it does not say how many there are."""
    if not spec.asking.named_by_request:
        return None
    until = spec.calendar.later(spec.first_interval.end, spec.split.window)
    split = training.split(until, spec)
    hours = pd.date_range(split.evaluate_from, split.evaluate_to, freq="h", inclusive="left")
    return int(spec.asking.alike(pd.DataFrame({EVENT: hours})).nunique())


def _outcomes(spec: ModelSpec, as_of: datetime) -> planning.Outcomes | None:
    """The outcomes that a training as of a moment would evaluate on; those that no training has computed yet are
    computed, and not kept. None: there are none."""
    split = training.split(as_of, spec)
    wanted = [
        span
        for span in spans.mature_label_spans(spec, as_of)
        if span.interval.end >= split.evaluate_from - spec.asking.longest_lead
    ]
    missing = due.of_label(spec, wanted)
    stored = tables.read(
        LABELS.of(spec.model, spec.label.name), [span.partition for span in wanted if span.partition not in missing]
    )
    found = [stored, *(computing.labels(spec, each.span)[0] for each in missing.values())]
    frames = [table.to_pandas() for table in found if table is not None and table.num_rows]
    if not frames:
        return None
    rows = pd.concat(frames, ignore_index=True)
    rows = rows[split.evaluates(rows[EVENT], rows[KNOWN_AT])].reset_index(drop=True)
    if rows.empty:
        return None
    labels = spec.problem.labels(rows[spec.label.name])
    return planning.Outcomes(labels, spec.asking.alike(rows).to_numpy(object), weights(spec, rows))
