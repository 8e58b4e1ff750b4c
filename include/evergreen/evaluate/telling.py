"""The gate report: what the gates said of a candidate, for a person who has a minute. The log of the task has its text.

`<reports>/<model>/gates/<interval>.html`; a rerun replaces it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from evergreen.evaluate import rules
from evergreen.handovers.gate import Gate, between, doubts, number
from evergreen.handovers.selection import Selected
from evergreen.handovers.train import Evaluated
from evergreen.registry.contents import Evaluation
from evergreen.reports.pages import publish
from evergreen.reports.paper import Paper, Section, Table
from evergreen.run import Run


def write(run: Run, page: str) -> str:
    """Write the page, whole or not at all; returns its address."""
    return publish(f"{run.spec.model}/gates/{run.interval.partition}.html", page)


def paper(run: Run, evaluated: Evaluated, checked: Sequence[Gate]) -> Paper:
    """The report."""
    verdict, reason = rules.verdict(list(checked)), rules.reason(list(checked))
    best, champion = evaluated.best, evaluated.champion
    passed = sum(gate.verdict == "pass" for gate in checked)
    score = number(best.scores.get(evaluated.metric)) or "not defined"
    against = "there is no champion yet" if champion is None else f"compared with version {champion.version}"
    told = f"{verdict.capitalize()}: {passed} of {len(checked)} gates passed."
    summary = f"{told} {best.family}, {evaluated.metric} {score} on {evaluated.rows:,} rows; {against}."
    warned = (*evaluated.warnings, *doubts(checked))
    sections = [gates("Gates", [asdict(gate) for gate in _worst_first(checked)], reason)]
    if warned:
        sections.append(Section("What warns", points=warned))
    sections += [_candidates(run, evaluated), *selection(evaluated.metric, best.selection)]
    sections += [*parts(evaluated.metric, evaluated)]
    title = f"{run.spec.model}: gates as of {run.spec.calendar.shown(run.as_of)}"
    return Paper(title, summary, tuple(sections), {"MLflow run": best.run.page})


def _worst_first(checked: Sequence[Gate]) -> list[Gate]:
    order = ("no evidence", "fail", "pass")
    return sorted(checked, key=lambda gate: order.index(gate.verdict))


def _candidates(run: Run, evaluated: Evaluated) -> Section:
    names = run.spec.problem.metrics
    rows = []
    for each in evaluated.candidates:
        rows.append((each.family, number(each.search_score), *(number(each.scores.get(name)) for name in names)))
        if each.uncalibrated is not None:
            stated = each.uncalibrated
            rows.append((f"{each.family} before calibration", "", *(number(stated.get(name)) for name in names)))
    rows.append(("baseline", "", *(number(evaluated.baseline.get(name)) for name in names)))
    if evaluated.champion is not None and evaluated.champion.scores is not None:
        scores = evaluated.champion.scores
        rows.append((f"champion, version {evaluated.champion.version}", "", *(number(scores.get(n)) for n in names)))
    heads = ("Family", f"{evaluated.metric} on time folds", *names)
    said = f"The baseline is {evaluated.baseline_is}. The best by the time folds is judged: {evaluated.best.family}."
    return Section("Candidates", text=(said,), tables=(Table(heads, tuple(rows), tuple(range(1, len(heads)))),))


def selection(metric: str, selected: Selected | None) -> Iterator[Section]:
    """Which features a candidate takes, which it does not, and why."""
    if selected is None:
        return
    rows = tuple(
        (
            each.input,
            "taken" if each.taken else "dropped",
            number(each.loss),
            between(each.low, each.high),
            each.reason,
        )
        for each in selected.inputs
    )
    heads = ("Input", "", f"{metric} lost without its order", "Interval", "Reason")
    yield Section("Feature selection", text=(f"{selected.reason}.",), tables=(Table(heads, rows, numbers=(2, 3)),))


def parts(metric: str, of: Evaluated | Evaluation) -> Iterator[Section]:
    """How a candidate does on parts of the rows, how alike it decides on groups, and which inputs it leans on."""
    if slices := of.slices:
        rows = tuple(
            (
                each.name,
                "declared" if each.declared else "found",
                f"{each.rows:,}",
                number(each.value),
                number(each.drop),
                between(each.low, each.high),
            )
            for each in slices
        )
        heads = ("Slice", "", "Rows", metric, "Worse by", "Interval")
        yield Section("Slices", tables=(Table(heads, rows, numbers=(2, 3, 4, 5)),))
    if fairness := of.fairness:
        shares = Table(
            ("Attribute", "Share of yes, of rows"),
            tuple((each.attribute, each.answered) for each in fairness),
        )
        numbers = Table(
            ("Attribute", "Number", "Value", "Interval"),
            tuple(
                (each.attribute, name.replace("_", " "), number(value), between(low, high))
                for each in fairness
                for name, (value, low, high) in each.numbers.items()
            ),
            numbers=(2, 3),
        )
        yield Section("Fairness", tables=(shares, numbers))
    if of.importances:
        lost = Table(
            ("Input", f"{metric} lost without its order", "Interval"),
            tuple((each.input, number(each.loss), between(each.low, each.high)) for each in of.importances),
            numbers=(1, 2),
        )
        said = (
            "What is lost on the evaluation rows when the values of one input change places.",
            "Of two inputs that say the same neither seems to matter: the model has the other one.",
        )
        yield Section("Which inputs it leans on", text=said, tables=(lost,))


def gates(heading: str, checked: Sequence[Mapping[str, Any]], reason: str) -> Section:
    """Each gate with what was observed, its interval, its bound, its verdict and its reason."""
    rows = tuple(
        (
            str(gate["name"]),
            number(gate.get("observed")),
            between(gate.get("low"), gate.get("high")),
            number(gate.get("bound")),
            str(gate["verdict"]),
            str(gate["reason"]),
        )
        for gate in checked
    )
    heads = ("Gate", "Observed", "Interval", "Bound", "Verdict", "Reason")
    return Section(
        heading, text=(f"{reason[:1].upper()}{reason[1:]}.",), tables=(Table(heads, rows, numbers=(1, 2, 3)),)
    )
