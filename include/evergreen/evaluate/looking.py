"""What else is looked at of the best candidate, where the spec asks for it: each by a module of its own, which decides
its gates."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.errors import TransientError
from evergreen.evaluate import behaviour, leaks, noise, packaged, parity, slices
from evergreen.handovers.fairness import Fair
from evergreen.handovers.gate import Gate
from evergreen.handovers.train import SliceScore
from evergreen.model import fairness
from evergreen.model.rows import Rows, without
from evergreen.model.weightings import Floats
from evergreen.spec.problem import Problem
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

_TOLD = 12  # slices in the log


@dataclass(frozen=True)
class Candidate:
    """The best candidate on the evaluation rows.

    Attributes:
        problem: with its threshold.
        predictions: of the later rows; `predict` gives those of other inputs.
        alike: whose rows are alike.
        run_id: of MLflow, which has its files.
        dropped: the features that it does not take: they leak nothing.
    """

    spec: ModelSpec
    problem: Problem
    learn: Rows
    later: Rows
    predictions: Floats
    predict: Callable[[pd.DataFrame], Floats]
    alike: npt.NDArray[np.object_]
    run_id: str = ""
    dropped: Collection[str] = ()


@dataclass
class Looked:
    """What was found of a candidate, and every gate that it decides."""

    slices: list[SliceScore] = field(default_factory=list)
    fairness: list[Fair] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)


def look(of: Candidate) -> Looked:
    """Look at everything that the spec asks for."""
    found, asked, of_rows = Looked(), of.spec.gates, (of.problem, of.later, of.predictions)
    if (sliced := asked.slices) is not None:
        for name, measure in slices.asked(sliced).items():

            def by_slices(measure: slices.Measure = measure) -> Gate:
                scored, gate = measure(of.spec, sliced, *of_rows, of.alike)
                found.slices += scored
                return gate

            found.gates += _decided(name, by_slices)
    if (fair := asked.fairness) is not None:
        decided = of.problem.decided(of.predictions)
        for attribute in fair.by:

            def by_groups(attribute: str = attribute) -> list[Gate]:
                one = fairness.of_rows(of.spec, [attribute], of.later.frame, decided, of.later.labels, of.alike)
                found.fairness += one
                return parity.gates(fair, attribute, one)

            found.gates += _decided(f"fairness of {attribute}", by_groups)
    if asked.behaviour:
        rows, alike = behaviour.sample(of.later, of.alike)
        for test in asked.behaviour:
            decide = partial(behaviour.measure, of.spec, test, rows, of.predict, alike)
            found.gates += _decided(behaviour.name(test), decide)
    if (noisy := asked.noise) is not None:
        found.gates += _decided(noise.NAME, lambda: noise.measure(of.spec, noisy, *of_rows, of.predict, of.alike))
    if (weighed := asked.packaged) is not None:
        for name, weigh in packaged.asked(weighed).items():
            found.gates += _decided(name, partial(weigh, of.spec, weighed, of.run_id, of.later))
    if (leaky := asked.leaks) is not None:
        learn, later = without(of.learn, of.dropped), without(of.later, of.dropped)
        for name, look_for in leaks.asked(leaky).items():
            found.gates += _decided(name, partial(look_for, of.spec, leaky, learn, later, of.predictions, of.alike))
    return found


def _decided(name: str, decide: Callable[[], Gate | Iterable[Gate]]) -> list[Gate]:
    """What is decided; what cannot be looked at is no evidence, and takes no other gate with it. The words of a library
    may have a value of a row: the log has them, and what is kept for good has not."""
    try:
        decided = decide()
        return [decided] if isinstance(decided, Gate) else list(decided)
    except TransientError:
        raise
    except Exception as error:  # whatever the rows or an expression raise
        log.warning("%s cannot be looked at", name, exc_info=True)
        told = f"{type(error).__name__}, see the log of `evaluate`"
        return [Gate(name, None, None, "no evidence", f"it cannot be looked at: {told}")]


def lines(scored: Sequence[SliceScore]) -> Iterator[str]:
    """The worst slices, for a log."""
    for each in scored[:_TOLD]:
        value = "not defined" if each.value is None else f"{each.value:.4f}"
        than = "" if each.drop is None else f", {each.drop:+.4f} worse than all rows"
        between = "" if each.low is None or each.high is None else f" ({each.low:+.4f} to {each.high:+.4f})"
        kind = "declared" if each.declared else "found, by unforeseen loss"
        yield f"  {each.name} ({kind}): {value} of {each.rows} rows{than}{between}"
