"""How alike the version decides on the groups of the protected attributes, window by window: by the same numbers and
bounds as its gates. A number beyond its bound is told on the page of the window; it is no cause of retraining."""

from __future__ import annotations

import pandas as pd

from evergreen.handovers.fairness import Fair, named
from evergreen.handovers.monitor import Fairness, Finding
from evergreen.model import fairness
from evergreen.spec.columns import AS_OF, EVENT, LABEL
from evergreen.spec.schema import ModelSpec


def look(spec: ModelSpec, threshold: float | None, answered: pd.DataFrame, scored: pd.DataFrame | None) -> Fairness:
    """The numbers of the interval's answers, and of those whose labels matured.

    Args:
        threshold: by which the version decides; None: as the spec has it.
        answered, scored: features, predictions and, of the second, labels.
    """
    if spec.gates.fairness is None:
        return Fairness()
    matured = () if scored is None else _of(spec, threshold, scored)
    return Fairness(answered=_of(spec, threshold, answered), matured=matured)


def findings(spec: ModelSpec, found: Fairness) -> list[Finding]:
    """The numbers that are surely beyond their bound: the whole interval is."""
    asked = spec.gates.fairness
    if asked is None:
        return []
    wrong = {}
    for each in (*found.answered, *found.matured):  # what is known of labels counts more
        for number in fairness.NUMBERS:
            bound = getattr(asked, number)
            value, low, high = each.numbers.get(number, (None, None, None))
            if bound is None or value is None or low is None or high is None:
                continue
            if high < bound if number == fairness.RATIO else low > bound:
                cause = named(number, each.attribute)
                said = f"{cause} is {value:.3f} ({low:.3f} to {high:.3f}), bound {bound:g}"
                wrong[cause] = Finding(cause=cause, kind="drift", observed=value, bound=bound, said=said)
    return list(wrong.values())


def _of(spec: ModelSpec, threshold: float | None, rows: pd.DataFrame) -> tuple[Fair, ...]:
    """The numbers of each attribute that has two groups or more."""
    problem = spec.problem.at(threshold)
    known = rows[rows[list(problem.outputs)].notna().all(axis=1)]
    known = known if EVENT in known else known.assign(**{EVENT: known[AS_OF]})
    decided, alike = problem.decided(problem.of_columns(known)), spec.asking.alike(known).to_numpy(object)
    labels = problem.labels(known[LABEL]) if LABEL in known else None
    return tuple(fairness.of_rows(spec, known, decided, labels, alike))


def numbers(found: Fairness) -> dict[str, dict[str, float | None]]:
    """For the record: attribute → its numbers, of what matured where anything did."""
    return {
        each.attribute: {name: value for name, (value, _, _) in each.numbers.items()}
        for each in (*found.answered, *found.matured)
    }
