"""The folder of a drafted model, as text with comments. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping

from evergreen.onboarding import contracts, queries, summary
from evergreen.onboarding.naming import named_as_key
from evergreen.onboarding.rules import AHEAD, PARTS, Column, Draft
from evergreen.spec.durations import duration_text

_PLAIN = re.compile(r"[A-Za-z_][\w./ +-]*[\w./+-]|[A-Za-z_]")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_WIDTH = 120
_TRAIN = {"hour": "0 4 * * *", "day": "0 5 * * 1", "week": "0 5 * * 1", "month": "0 5 2 * *"}


def folder(draft: Draft, command: str) -> dict[str, str]:
    """Path below the model's folder → text.

    Args:
        command: how the model was asked for.
    """
    files = {"model.yaml": _model(draft, command), "label.sql": queries.label(draft)}
    table = draft.profile.table
    files[f"contracts/{table}.yaml"] = _contract(
        contracts.of_source(draft), "What the sample was like. A warning is told; what is critical stops the run."
    )
    if draft.relation is not None:
        files[f"sources/{table}.sql"] = queries.source(draft, draft.relation)
    if draft.style == "request":
        files["request.sql"] = queries.requests(draft)
    for view in draft.views:
        files[f"features/{view.name}.sql"] = queries.view(draft, view)
        files[f"contracts/{view.name}.yaml"] = _contract(contracts.of_view(view.key), "What must hold of the features.")
    if draft.style == "batch":
        files["features/columns.sql"] = queries.rows(draft)
        files["contracts/columns.yaml"] = _contract(contracts.of_view(draft.key), "What must hold of the features.")
    return files


def _model(draft: Draft, command: str) -> str:
    parts = [_head(draft, command), _data(draft), _source(draft), _features(draft)]
    if draft.style == "request":
        parts.append(_request(draft))
    parts += [_label(draft), _split(draft), _learning(draft), _gates(draft), _monitoring(draft)]
    return "\n".join(parts)


def _head(draft: Draft, command: str) -> str:
    profile, label = draft.profile, draft.profile.label
    about = {
        "request": "Each row is a request, predicted at its own moment.",
        "interval": f"Every {draft.key} is predicted at the end of each {draft.calendar.every}.",
        "batch": "Its rows have no time that counts, so nothing here was tested against time.",
    }[draft.style]
    what = {"binary": "Probability of", "multiclass": "Probability of each class of", "numeric": "Value of"}[label.type]
    stated = " ".join(label.stated.split())
    return "\n".join(
        [
            "# yaml-language-server: $schema=../model.schema.json",
            *_comment(f"Made by `{command}` from {profile.rows:,} rows of {profile.file}. {about}"),
            *_comment(
                "All of it is yours to change: `evergreen check` says what is wrong with it, docs/model-spec.md what"
                " each key means."
            ),
            f"model: {draft.model}",
            f"description: {_text(f'{what} {stated}, from {profile.file}.')}",
            "owner:",
            "  name: you  # who is told when a task fails",
            "  email: you@example.com",
            "",
        ]
    )


def _data(draft: Draft) -> str:
    profile, every = draft.profile, draft.calendar.every
    lines = []
    if draft.style == "batch":
        lines += _comment(
            f"The rows have no time that counts. `evergreen new` dealt them out to {PARTS} days by a hash of their key,"
            " so that those which evaluate are others than those which are learned from. The days mean nothing"
            " else; on one more the outcomes of the last are known."
        )
    else:
        rhythm = profile.rhythms[every]
        lines += _comment(
            f"{rhythm.intervals:,} intervals of a {every}, {rhythm.filled:,} of them with rows:"
            f" {rhythm.rows:,.0f} in the middle, {rhythm.most:,} at most."
        )
    lines += [f"calendar: {{every: {every}, zone: UTC}}", f"first_day: {draft.first_day}"]
    lines.append(
        f"last_day: {draft.last_day}"
        + ("" if draft.style == "batch" else "  # of the sample: take the line out when data goes on")
    )
    lines += ["", "schedule:"]
    if draft.style == "batch":
        lines.append("  train: null  # only by hand: no time, no reason to train again")
    else:
        lines.append(f'  train: "{_TRAIN[every]}"  # UTC')
    lines += ["  catch_up: false  # the sample is history", ""]
    lines += ["entity:", f"  name: {_entity(draft)}", f"  key: {draft.key}", f"  type: {draft.key_type}"]
    if draft.key != profile.key:
        lines[-2] += f"  # no column names the rows: {draft.made_of}"
    if draft.references:
        lines.append("references:  # what a request names beside itself: features of their past")
        lines += [f"  {name}: {{key: {key}, type: {kind}}}" for name, (key, kind) in draft.references.items()]
    return "\n".join([*lines, ""])


def _entity(draft: Draft) -> str:
    if draft.key != draft.profile.key:
        return "row"
    stem = draft.key.rpartition("_")[0]
    return stem if stem and named_as_key(draft.key) else f"{draft.key}_entity"[:40]


def _source(draft: Draft) -> str:
    profile = draft.profile
    lines = ["sources:", f"  {profile.table}:"]
    if draft.relation is not None:
        lines.append(f"    connection: {draft.relation.connection}  # rows by sources/{profile.table}.sql")
    else:
        lines.append(f"    path: {_text(draft.path)}")
    if draft.relation is None and draft.style != "batch":
        lines.append("    history: true  # one file for all intervals; for one file each, put {partition} in its name")
    of_files = ("compression", "encoding", "skip_lines", "delimiter", "trailing_delimiter", "format")
    dealt = of_files if draft.style == "batch" or draft.relation is not None else ()
    for key, value in profile.declared.items():
        if (key, value) != ("format", "csv") and (key not in dealt or (value == "parquet" and draft.relation is None)):
            lines.append(f"    {key}: {_value(value)}")
    lines.append(f"    event_time: {draft.time}")
    quarantined = profile.repeated and not draft.numbered
    repeats = f"  # {profile.repeated:,} rows repeat another one, and go to quarantine" if quarantined else ""
    lines.append(f"    keys: {_value(list(draft.identity))}{repeats}")
    lines.append("    columns:")
    for column in profile.columns:
        lines.append(f"      {column.name}: {_column(draft, column)}{_note(draft, column.name)}")
    if draft.numbered:
        lines.append(f"      {draft.key}: int  # its number among the rows of the file")
    if draft.style == "batch":
        lines.append(f"      {draft.dealt}: timestamp  # the day that the row was dealt out to")
    if outcome := list(_outcome(draft)):
        delay = draft.moment or duration_text(draft.horizon)
        lines.append("    outcome:  # what is known only later, so that no request and no earlier feature sees it")
        lines += [f"      {name}: {delay}" for name in outcome if name != draft.moment]
    return "\n".join([*lines, ""])


def _note(draft: Draft, name: str) -> str:
    if name in draft.left_out:
        return f"  # not used: {draft.left_out[name]}"
    suspicion = draft.profile.suspected.get(name)
    return f"  # suspected: {suspicion}" if suspicion else ""


def _outcome(draft: Draft) -> Iterator[str]:
    if draft.style != "request":
        return
    profile = draft.profile
    for column in profile.columns:
        if column.name in profile.known_later and column.name not in (profile.time, *profile.identity):
            yield column.name


def _column(draft: Draft, column: Column) -> str:
    kind = "timestamp" if column.name == draft.profile.time else column.kind
    keys: dict[str, object] = {"type": kind}
    if column.raw != column.name:
        keys["from"] = column.raw
    if column.form is not None:
        keys["format"] = column.form
    if column.unit is not None:
        keys["unit"] = column.unit
    if column.fractions and column.name in (draft.key, *draft.identity):
        keys["normalise"] = []  # else a key that is a number with a fraction is none
    if not set(column.markers) <= set(draft.profile.declared.get("nulls", ())):  # type: ignore[call-overload]  # a list
        keys["nulls"] = list(column.markers)
    return kind if len(keys) == 1 else _value(keys)


def _features(draft: Draft) -> str:
    table = draft.profile.table
    if not draft.views and draft.style != "batch":
        return "# No features: what a request says is all that the model learns from.\n"
    lines = ["features:"]
    if draft.style == "batch":
        lines += ["  columns:", f"    sources: [{table}]", "    look_back: 1d", "    features:"]
        lines += [f"      {name}: {kind}" for name, (kind, _) in draft.inputs.items()]
    for view in draft.views:
        lines += [f"  {view.name}:  # proposed: `evergreen try {draft.model}` says which of them help"]
        lines += [f"    entity: {view.entity}"] if draft.references else []
        lines += [f"    sources: [{table}]", f"    look_back: {duration_text(view.look_back)}", "    features:"]
        lines += [f"      {feature.name}: {feature.kind}" for feature in view.features]
    return "\n".join([*lines, ""])


def _request(draft: Draft) -> str:
    lines = ["request:  # what a client sends, beside the keys", f"  sources: [{draft.profile.table}]", "  inputs:"]
    lines += [f"    {name}: {kind}" for name, (kind, _) in draft.inputs.items()]
    return "\n".join([*lines, ""])


def _label(draft: Draft) -> str:
    label = draft.profile.label
    lines = ["label:", f"  name: {label.name}", f"  type: {label.type}"]
    if label.type == "binary":
        lines[-1] += f"  # 1: {' '.join(label.sql.split())}"
    if label.classes:
        lines.append(f"  classes: {_value(list(label.classes))}")
    if draft.style == "request":
        lines += _comment(f"Its delay after the row's own time: {summary.delay(label)}.", "  ")
    lines.append(f"  horizon: {duration_text(draft.horizon)}")
    if draft.moment is not None:
        lines[-1] += "  # by then most are known; the newest predictions are used from then on"
        lines.append(
            "  known:  # an outcome is a label from its own moment on; what is open is counted, and is no label"
        )
        lines += [
            f"    column: {draft.moment}",
            f"    within: {duration_text(draft.within)}",
            f"    share: {draft.share}",
        ]
    lines.append(f"  sources: [{draft.profile.table}]")
    if label.missing:
        lines += _comment(f"{label.missing:,} rows have no label and are left out.", "  ")
    return "\n".join([*lines, ""])


def _split(draft: Draft) -> str:
    learned, evaluated = draft.units
    unit = duration_text(AHEAD[draft.calendar.every])
    return "\n".join(
        [
            *_comment(
                f"About {draft.per_interval * learned:,.0f} rows of {learned} times {unit} to learn from,"
                f" and {draft.per_interval * evaluated:,.0f} later ones to evaluate on."
            ),
            "split:",
            f"  window: {duration_text(draft.window)}",
            f"  evaluation: {duration_text(draft.evaluation)}",
            "  folds: 3",
            f"  minimum_rows: {draft.minimum_rows}",
            "",
        ]
    )


def _learning(draft: Draft) -> str:
    linear = "ridge" if draft.profile.label.type == "numeric" else "logistic_regression"
    return "\n".join(
        [
            "families:",
            f"  {linear}: {{}}",
            "  gradient_boosting: {}",
            "",
            "search:",
            "  trials: 8",
            f"  metric: {draft.metric}",
            "",
        ]
    )


def _gates(draft: Draft) -> str:
    label = draft.profile.label
    lines = [
        *_comment("Bounds that hold on the sample's size; raise them when you know what is good enough."),
        "gates:",
        f"  minimum_rows: {draft.evaluation_rows}",
    ]
    if label.type == "binary":
        lines.append(f"  minimum_positives: {draft.rows_of_class}")
    if label.type == "multiclass":
        lines.append(f"  minimum_per_class: {draft.rows_of_class}")
    lines += ["  floor:", *(f"    {metric}: {bound:g}" for metric, bound in draft.floor.items())]
    return "\n".join([*lines, ""])


def _monitoring(draft: Draft) -> str:
    unit = AHEAD[draft.calendar.every]
    lines = ["monitoring:", f"  minimum_rows: {max(1, int(draft.per_interval / 5))}"]
    lines.append(f"  cooldown: {duration_text(max(draft.horizon, 4 * unit))}")
    return "\n".join(lines) + "\n"


def _contract(expectations: Iterable[Mapping[str, object]], about: str) -> str:
    lines = [f"# {about}", "expectations:"]
    for expectation in expectations:
        (first, value), *others = expectation.items()
        lines.append(f"  - {first}: {_value(value)}")
        lines += [f"    {key}: {_value(each)}" for key, each in others]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    """A value in one line of YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _text(value) if isinstance(value, str) else f"{value}"


def _text(text: str) -> str:
    """Text as YAML reads it back: plain where nothing could be taken for something else."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS and text.isascii()
    return text if plain else json.dumps(text, ensure_ascii=False)


def _comment(text: str, indent: str = "") -> list[str]:
    """Lines of a comment."""
    lines, line = [], f"{indent}#"
    for word in "".join(one if one.isprintable() else " " for one in text).split():
        if len(line) + 1 + len(word) > _WIDTH and line != f"{indent}#":
            lines.append(line)
            line = f"{indent}#"
        line += f" {word}"
    return [*lines, line]
