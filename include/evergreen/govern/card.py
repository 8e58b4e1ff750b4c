"""The card of a version: what it is, what it is for, how good it is and where, what it cost, and who allowed it.

Everything in it was recorded before, or stands in the spec: nothing is typed twice. It is written when the version is
registered, as Markdown and as a page, both files of its MLflow run, and does not change afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from evergreen.evaluate import telling
from evergreen.handovers.explanation import ExplainedRow, Explanation
from evergreen.handovers.gate import between, number
from evergreen.history.events import Approval
from evergreen.history.story import Entry
from evergreen.registry.contents import Environment, Evaluation, Explanations, Fitting, Gates, Recipe, Refit
from evergreen.registry.rules import Version
from evergreen.reports.paper import Paper, Section, Table, pairs
from evergreen.run import Run
from evergreen.spec.durations import duration_text
from evergreen.spec.problem import Answer
from evergreen.train.records import Record

_MOST_INPUTS = 20  # of which the card says what they contributed; the file has them all
_FITTED = {"full": "all of them alike", "since": "those since the change", "weighted": "all, weighted by age"}


@dataclass(frozen=True)
class Facts:
    """What is recorded of a version."""

    version: Version
    gated: str  # the MLflow run of the fit that the gates judged
    page: str  # of the MLflow run, in MLflow
    data: Record
    recipe: Recipe
    environment: Environment
    code: str  # which code made it
    evaluation: Evaluation
    gates: Gates
    refit: Refit | None
    searched: Fitting | None  # what the search and the fit cost that the gates judged; None: it was not measured
    refitted: Fitting | None  # what its refit cost; None: it has none, or that was not measured
    explanations: Explanations
    approval: Entry | None

    @property
    def fitting(self) -> Fitting | None:
        """What the fit that is registered learned from and cost."""
        return self.searched if self.gated == self.version.run_id else self.refitted


def paper(run: Run, facts: Facts) -> Paper:
    """The card."""
    version, evaluation, calendar = facts.version, facts.evaluation, run.spec.calendar
    score = "not defined" if evaluation.value is None else f"{evaluation.value:.4f}"
    summary = (
        f"{run.spec.description} {version.family}, as of {calendar.shown(version.as_of)}: {evaluation.metric} {score} "
        f"on {evaluation.rows:,} later rows, gates {facts.gates.verdict}, {_allowed(facts.approval)}."
    )
    sections = (
        _details(run, facts),
        *_use(run),
        *_risk(run, facts.approval),
        _data(run, facts),
        *telling.selection(evaluation.metric, facts.recipe.selection),
        _metrics(evaluation),
        *telling.parts(evaluation.metric, evaluation),
        _explanations(facts.explanations),
        telling.gates("Gates", facts.gates.gates, facts.gates.reason),
        *_refit(run, facts.refit),
        _cost(facts),
    )
    return Paper(
        f"Model card: {run.spec.model}, version {version.number}", summary, sections, {"MLflow run": facts.page}
    )


def _allowed(entry: Entry | None) -> str:
    return "nobody was asked" if entry is None else f"allowed by {_said(entry).by}"


def _said(entry: Entry) -> Approval:
    assert isinstance(entry.event, Approval)
    return entry.event


def _details(run: Run, facts: Facts) -> Section:
    version, spec = facts.version, run.spec
    chosen = ", ".join(f"{name} {value:.6g}" for name, value in facts.recipe.parameters.items())
    rows = [
        ("Owner", f"{spec.owner.name} <{spec.owner.email}>"),
        ("Predicts", f"{spec.label.name} ({spec.label.type}), {duration_text(spec.label.horizon)} ahead"),
        ("Family", version.family),
        ("Hyperparameters", chosen or "the defaults"),
        ("Seed", str(facts.recipe.seed)),
        ("Trained because", run.reason),
        ("Training key", version.key),
        ("MLflow run", version.run_id),
        ("Code", facts.code),
        ("Python", f"{facts.environment.root.get('python', '')} on {facts.environment.root.get('platform', '')}"),
        ("Libraries", ", ".join(f"{name} {each}" for name, each in facts.environment.packages.items())),
    ]
    if facts.recipe.threshold is not None:
        rows.append(("Operating threshold", f"{facts.recipe.threshold:.4f}, chosen by label.business_value"))
    if facts.recipe.calibration is not None:
        rows.append(("Calibration", str(facts.recipe.calibration)))
    if facts.gated != version.run_id:
        rows.append(("Gated fit", f"MLflow run {facts.gated}; this version is its refit"))
    return Section("Details", tables=(pairs(rows),))


def _use(run: Run) -> Iterator[Section]:
    card = run.spec.card
    if card is None:
        yield Section("Intended use", text=("The spec says nothing about it (card in model.yaml).",))
        return
    yield Section("Intended use", text=(card.intended_use,))
    for heading, points in (
        ("Out of scope", card.out_of_scope),
        ("Limits", card.limits),
        ("Ethics", card.ethics),
    ):
        if points:
            yield Section(heading, points=points)


def _risk(run: Run, approval: Entry | None) -> Iterator[Section]:
    risk = run.spec.risk
    if risk is not None:
        yield Section("Risk", text=(f"Tier {risk.tier}. {risk.impact}",), points=risk.mitigations)
    if approval is None:
        yield Section("Approval", text=("Nobody was asked.",))
        return
    said = _said(approval)
    how = "in Airflow, by their login" if said.how == "airflow" else f"by a command of {said.given_by}"
    rows = [
        ("Allowed by", said.by or "nobody"),
        ("Why", said.reason),
        ("When", f"{approval.at:%Y-%m-%d %H:%M:%S} UTC"),
        ("How", how),
        ("Asked because", said.why),
        ("Entry of the ledger", str(approval.number)),
    ]
    yield Section("Approval", tables=(pairs(rows),))


def _data(run: Run, facts: Facts) -> Section:
    split, shown, counts = facts.data.split, run.spec.calendar.shown, facts.evaluation.rows_of_class
    learned = "" if facts.fitting is None else f", {facts.fitting.rows:,} rows, {_FITTED[facts.recipe.window.way]}"
    classes = "" if not counts else f" ({', '.join(f'{name} {count:,}' for name, count in counts.items())})"
    taken = facts.recipe.taking(run.spec).feature_types
    inputs = ", ".join(f"{name} ({kind})" for name, kind in taken.items())
    rows = [
        ("Learned from", f"{shown(split.learn_from)} to {shown(split.learn_to)}{learned}"),
        (
            "Evaluated on",
            f"{shown(split.evaluate_from)} to {shown(split.evaluate_to)}, {facts.evaluation.rows:,} rows{classes}",
        ),
        ("Content hash", facts.data.content_hash),
        ("Inputs", inputs),
    ]
    tables = Table(
        ("Table", "Version"),
        tuple((table, str(version)) for table, version in sorted(facts.data.versions.items())),
        numbers=(1,),
    )
    return Section("Data", tables=(pairs(rows), tables))


def _metrics(evaluation: Evaluation) -> Section:
    champion: Mapping[str, Any] = (evaluation.champion or {}).get("scores") or {}
    before, rows = evaluation.uncalibrated, []
    for name, value in evaluation.scores.items():
        low, high = evaluation.intervals.get(name, (None, None))
        stated = () if before is None else (number(before.get(name)),)
        others = number(evaluation.baseline.get(name)), number(champion.get(name))
        rows.append((name, number(value), between(low, high), *stated, *others))
    uncalibrated = () if before is None else ("Before calibration",)
    heads = ("Metric", "Value", "Interval", *uncalibrated, "Baseline", "Champion before")
    said = f"On the evaluation rows, which no search has seen. The baseline is {evaluation.baseline_is}."
    return Section("Metrics", text=(said,), tables=(Table(heads, tuple(rows), tuple(range(1, len(heads)))),))


def _explanations(found: Explanations) -> Section:
    """What a few answers are made of: what came of the check of each, then what its inputs contributed."""
    heading = "What answers are made of"
    if not found.rows:
        return Section(heading, text=(f"Nothing is shown: {found.reason or 'no evaluation row is kept'}.",))
    heads = ("Answer", "", "Scale", "Usually", "Score", "Contributions")
    checks = tuple((each.which, _answer(each.answer), each.scale, *_checked(each)) for each in found.rows)
    said = (
        "What each input contributed to three answers to evaluation rows, against what is usual on those rows. "
        "Contributions are shown only where they add up to the score, which is checked for each row."
    )
    made = {each.which: each.explanation for each in found.rows if each.explanation is not None}
    parts = (_parts(made),) if made else ()
    return Section(heading, text=(said,), tables=(Table(heads, checks, numbers=(1, 3, 4)), *parts))


def _answer(answer: Answer) -> str:
    if not isinstance(answer, dict):
        return number(answer)
    likeliest = max(answer, key=lambda name: answer[name])
    return f"{likeliest} {number(answer[likeliest])}"


def _checked(row: ExplainedRow) -> tuple[str, str, str]:
    made = row.explanation
    if made is None:
        return "", "", f"none: {row.reason}"
    how = "exact" if made.way == "one at a time" else "sampled, each with its standard error"
    return number(made.usual), number(made.score), f"{how}; they add up to within {made.off:.1g}"


def _parts(made: Mapping[str, Explanation]) -> Table:
    """Input → what it contributed to each answer; the greatest first, and all others together."""
    of = {which: {part.input: part for part in each.parts} for which, each in made.items()}
    greatest: dict[str, float] = {}
    for part in (part for each in made.values() for part in each.parts):
        greatest[part.input] = max(greatest.get(part.input, 0.0), abs(part.contribution))
    ordered = sorted(greatest, key=lambda name: -greatest[name])
    shown, rest = ordered[:_MOST_INPUTS], ordered[_MOST_INPUTS:]
    rows = [
        (name, *(f"{each[name].contribution:+.4g}{_error(each[name].error)}" for each in of.values())) for name in shown
    ]
    if rest:
        together = (sum(each[name].contribution for name in rest) for each in of.values())
        rows.append((f"{len(rest)} others together", *(f"{each:+.4g}" for each in together)))
    return Table(("Input", *of), tuple(rows), numbers=tuple(range(1, len(of) + 1)))


def _error(error: float) -> str:
    return f" ± {error:.2g}" if error else ""


def _refit(run: Run, refit: Refit | None) -> Iterator[Section]:
    if refit is not None:
        yield telling.gates("Refit", refit.checks, refit.reason)


def _cost(facts: Facts) -> Section:
    """What the version cost: a column for the search and its fit, and of a refit one for that."""
    fits = {"Search and fit": facts.searched, "Refit": facts.refitted}
    known = {name: fit for name, fit in fits.items() if fit is not None}
    if not known:
        return Section("Training cost", text=("It was not measured.",))
    rows = (
        ("Rows", *(f"{fit.rows:,}" for fit in known.values())),
        ("Processor", *(f"{fit.cpu_seconds:.1f} s" for fit in known.values())),
        ("By the clock", *(f"{fit.wall_seconds:.1f} s" for fit in known.values())),
        ("Peak memory of the process", *(f"{fit.peak_memory_mb:,.0f} MB" for fit in known.values())),
    )
    columns = tuple(range(1, len(known) + 1))
    return Section(
        "Training cost",
        text=("Of this family alone: what others were searched for is not counted.",),
        tables=(Table(("", *known), rows, numbers=columns),),
    )
