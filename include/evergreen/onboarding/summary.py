"""What was decided of a file, in the lines that `evergreen new` prints for who has to agree. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evergreen.onboarding.rules import Column, Draft, Label
from evergreen.quoting import listed, shown
from evergreen.spec.durations import duration_text

_MOST_COLUMNS, _MOST_FEATURES = 40, 30  # in lines, and in one line
_FEW_OF_CLASS = 50  # rows
_FEW_NUMBERS = 12  # different ones, which may be classes


def lines(draft: Draft) -> Iterator[str]:
    """What the file is, what each of its columns became, and what is proposed."""
    profile, label = draft.profile, draft.profile.label
    yield f"{profile.rows:,} rows of {len(profile.columns)} columns"
    if draft.style == "batch":
        if profile.undivided is not None:
            yield f"{profile.undivided} does not fall into hours, days, weeks or months that follow each other"
        yield (
            "no time: one batch, split by a hash of the key; nothing was tested against time, and no training is"
            " scheduled"
        )
    else:
        yield (
            f"time: {profile.time}, {profile.first:%Y-%m-%d} to {profile.last:%Y-%m-%d}, in intervals of a"
            f" {draft.calendar.every}"
        )
    key = draft.key if draft.key == profile.key else f"{draft.key}, {draft.made_of}"
    how = {"request": "each row is a request", "interval": "predicted every interval", "batch": "each row once"}
    yield f"key: {key} ({how[draft.style]})"
    yield f"label: {label.name}, {label.type}" + (f", 1 is {label.sql}" if label.type == "binary" else "")
    if label.type == "numeric" and label.is_column and label.different <= _FEW_NUMBERS:
        yield (
            f"  it has {label.different} different numbers: if they are names of classes, say"
            f' --label "CAST({label.sql} AS VARCHAR)"'
        )
    if label.type != "numeric" and (rows := label.rarest * (profile.rows - label.missing)) < _FEW_OF_CLASS:
        yield (
            f"  its rarest class, {label.rarest_class}, has {rows:,.0f} rows, and every part of a split wants some;"
            f" {_fewer(label, label.rarest_class)}"
        )
    if label.missing:
        yield f"  {label.missing:,} rows have none and are left out"
    if draft.style == "request":
        yield f"label's delay: {delay(label)}; known {duration_text(draft.horizon)} after the row"
    if profile.repeated:
        what = "may be learned from and evaluate too" if draft.numbered else "go to quarantine"
        yield f"{profile.repeated:,} rows repeat another one, and {what}"
    yield "columns:"
    for column in profile.columns[:_MOST_COLUMNS]:
        yield f"  {_column(draft, column)}"
    if more := profile.columns[_MOST_COLUMNS:]:
        yield f"  and {len(more):,} more, in model.yaml"
    for column in profile.columns:
        if column.nested:
            yield (
                f"nested: {column.name} has objects or lists, and each is one text to the model: give what matters in"
                " them columns of their own"
            )
    for name, why in draft.left_out.items():
        if name not in label.columns or not label.is_column:
            yield f"left out: {name}: {why}"
    for name, why in profile.suspected.items():
        if name not in draft.left_out:
            yield f"suspected, and kept: {name}: {why}; take it out if it is only known with the outcome"
    if features := [feature.name for view in draft.views for feature in view.features]:
        yield f"{len(features)} features of the past are proposed: {listed(features, _MOST_FEATURES)}"


def few(draft: Draft, wanted: int, rows_of_class: Mapping[str, int]) -> Iterator[str]:
    """The classes that have fewer later rows than the gates want, each with what to do.

    Args:
        wanted: of each class.
        rows_of_class: of the rows that evaluate.
    """
    for name, rows in rows_of_class.items():
        if rows < wanted:
            yield (
                f"class {name} has {rows:,} rows to evaluate on, where the gates want {wanted:,}: without evidence"
                f" nothing is promoted; {_fewer(draft.profile.label, name)}"
            )


def no_better(draft: Draft) -> str:
    """What to do after a first fit that is no better than guessing."""
    others = "other" if draft.style == "batch" else "later"
    back = "of the columns that are left out take back in what is known before the outcome, " if draft.left_out else ""
    return (
        f"No better than guessing: what it learned does not hold on {others} rows. Before more work goes into it,"
        f" {back}add columns that tell the outcome, or take a longer sample; whether a search finds more, the gates of"
        f" `evergreen try {draft.model}` say"
    )


def _fewer(label: Label, name: str) -> str:
    """What helps against a class with few rows."""
    if label.type != "multiclass":
        return "take a longer sample"
    out = f"leave it out, --label \"nullif({label.stated}, '{name}')\", or " if label.is_column else ""
    return f'{out}put it together with another one, --label "CASE … END"'


def delay(label: Label) -> str:
    """How long after its row an outcome is known, as far as the file says."""
    if label.delays is None:
        return (
            "nothing in the file says when the outcome is known, so an interval later is an assumption (--label-time)"
        )
    return ", ".join(f"{quantile:.0%} within {hours / 24:,.1f} days" for quantile, hours in label.delays.items())


def _column(draft: Draft, column: Column) -> str:
    parts = [f"{shown(column.raw)} → {column.name}" if column.raw != column.name else column.name, f": {column.kind}"]
    if column.form is not None:
        parts.append(f", written as {column.form}")
    if column.unit is not None:
        parts.append(f", written with {column.unit}")
    if column.nulls:
        parts.append(f", no value in {column.nulls:,} rows")
    if column.markers:
        parts.append(f" ({listed(column.markers)})")
    return "".join([*parts, f": {_use(draft, column)}"])


def _use(draft: Draft, column: Column) -> str:
    name, label = column.name, draft.profile.label
    if name == draft.profile.time and draft.style != "batch":
        return "the time"
    if name == draft.key:
        return "the key"
    if name in label.columns and label.is_column:
        return "the label"
    if name in draft.left_out:
        return "left out"
    return "features of its past" if draft.style == "interval" else "an input"
