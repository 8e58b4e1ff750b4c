"""What to do about gates that could not be decided. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from evergreen.handovers.gate import Gate
from evergreen.handovers.train import Evaluated
from evergreen.spec.durations import duration_text
from evergreen.spec.problem import Problem
from evergreen.spec.schema import ModelSpec


def way_out(spec: ModelSpec, as_of: datetime, evaluated: Evaluated, checked: Sequence[Gate]) -> str:
    """The next step of who has to provide what the gates of a training lacked."""
    if any(gate.verdict == "no evidence" and gate.enough is not None for gate in checked):
        return (
            "lengthen split.evaluation in model.yaml until it has as many rows, or state a greater"
            " gates.better_than_champion.margin; `evergreen check` tells beforehand whether the rows are enough"
        )
    lacking = {gate.name for gate in checked if gate.verdict == "no evidence"}
    if lacking and lacking <= {gate.name for gate in evaluated.further}:
        return (
            "do what the reasons above say, or change in model.yaml what asks for these gates (gates.slices,"
            " gates.behaviour, …); then train anew"
        )
    champion = evaluated.champion
    if champion is not None and champion.since is not None and not champion.problem:
        return (
            "train as of a later moment, when more rows come after the champion's last one; where trainings follow each"
            " other faster than rows do, lower gates.minimum_rows, train less often, or set `refit: false` in"
            " model.yaml"
        )
    if champion is not None and champion.problem:
        return (
            f"correct what the problem names, or `evergreen rollback {spec.model}`; where no other version is good,"
            f" `evergreen retire {spec.model} {champion.version} --reason …`; then clear `evaluate`"
        )
    ways = list(dict.fromkeys(_of_rows(spec, as_of, evaluated)))
    if not ways:  # rows enough, and yet a metric that is no number
        return "look at the log of `evaluate`, which says what each model predicted; then train anew"
    return f"{'; or '.join(ways)}. Then train anew"


def _of_rows(spec: ModelSpec, as_of: datetime, evaluated: Evaluated) -> Iterator[str]:
    """How the evaluation gets the rows that it lacks."""
    fewest = spec.gates.fewest_of_class(spec.problem)
    rare = {name: count for name, count in (evaluated.rows_of_class or {}).items() if count < fewest}
    too_few = evaluated.rows < spec.gates.minimum_rows
    if not (rare or too_few):
        return
    yield f"lengthen split.evaluation in model.yaml (it is {duration_text(spec.split.evaluation)}) to have more rows"
    if spec.goes_on_after(as_of):
        yield f"train as of a later moment, when the outcomes of more {spec.calendar.every}s are known"
    if rare:
        yield from _of_classes(spec.problem, rare, fewest)
    if too_few:
        yield f"lower gates.minimum_rows ({spec.gates.minimum_rows}), where {evaluated.rows} rows are evidence enough"


def _of_classes(problem: Problem, rare: dict[str, int], fewest: int) -> Iterator[str]:
    names = ", ".join(rare)
    if problem.kind == "multiclass":
        yield f"let label.sql put {names} with another class, or leave it out, and take it out of label.classes"
    if any(rare.values()):
        yield f"lower gates.{problem.class_bound} ({fewest}), where {min(rare.values())} of a class are evidence enough"
