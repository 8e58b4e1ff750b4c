"""What else is looked at of the best candidate, where the spec asks for it: each by a module of its own, which decides
its gates."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from evergreen.errors import TransientError
from evergreen.evaluate import behaviour, leaks, noise, packaged, parity, slices
from evergreen.handovers.fairness import Fair
from evergreen.handovers.gate import Gate
from evergreen.handovers.train import SliceScore
from evergreen.model import fairness
from evergreen.model.rows import Rows, without
from evergreen.model.weightings import Floats
from evergreen.spec import expression
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

    @cached_property
    def rows(self) -> pa.Table:
        """The later rows as an expression is asked about them."""
        return expression.table(self.spec, self.later.frame)

    @cached_property
    def decided(self) -> Floats:
        """What is decided of each later row."""
        return self.problem.decided(self.predictions)


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
        for name, measure in slices.wanted(of.spec, sliced, *of_rows, of.alike):

            def by_slices(measure: Callable[[], tuple[list[SliceScore], Gate]] = measure) -> Gate:
                scored, gate = measure()
                found.slices += scored
                return gate

            found.gates += _decided(name, by_slices)
    if (fair := asked.fairness) is not None:
        for attribute in fair.by:

            def by_groups(attribute: str = attribute) -> list[Gate]:
                one = fairness.of_attribute(of.spec, fair, attribute, of.rows, of.decided, of.later.labels, of.alike)
                found.fairness += [] if one is None else [one]
                return parity.gates(fair, attribute, one)

            found.gates += _decided(f"fairness of {attribute}", by_groups)
    for name, decide in _wanted(of):
        found.gates += _decided(name, decide)
    return found


def _wanted(of: Candidate) -> Iterator[tuple[str, Callable[[], Gate]]]:
    """The gates that leave nothing else to be told, by their names, and what decides each."""
    asked, later = of.spec.gates, of.later
    yield from behaviour.wanted(of.spec, asked.behaviour, later, of.predict, of.alike)
    if (noisy := asked.noise) is not None:
        rows = (of.problem, later, of.predictions)
        yield noise.NAME, partial(noise.measure, of.spec, noisy, *rows, of.predict, of.alike)
    if (weighed := asked.packaged) is not None:
        yield from packaged.wanted(of.spec, weighed, of.run_id, later)
    if (leaky := asked.leaks) is not None:
        learn, taken = without(of.learn, of.dropped), without(later, of.dropped)
        yield from leaks.wanted(of.spec, leaky, learn, taken, of.predictions, of.alike)


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
