"""Where a candidate is worse than on the whole: the declared slices of the evaluation rows, and the worst to be found.

A declared slice is compared with all rows by the search metric. One that is found is compared by the loss that the
model did not foresee: a slice of a telling feature has a worse ROC AUC by nature, and one whose outcomes are open a
greater loss. Whoever looks at many slices finds a bad one by chance: so the intervals hold with a confidence that is
corrected for how many were looked at (Bonferroni), of those that are declared and of those that are found each for
itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, combinations, islice, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from evergreen.handovers.gate import Gate, Verdict
from evergreen.handovers.handover import finite
from evergreen.handovers.train import SliceScore
from evergreen.model import losses
from evergreen.model.intervals import jackknife
from evergreen.model.metrics import Metric, metric
from evergreen.model.rows import Rows
from evergreen.model.weightings import Floats, Weighted, mean
from evergreen.spec import expression
from evergreen.spec.problem import Problem
from evergreen.spec.runner import QueryRefused
from evergreen.spec.schema import ModelSpec
from evergreen.spec.slices import Slices

log = logging.getLogger(__name__)

Mask = npt.NDArray[np.bool_]

DECLARED, FOUND = "worst declared slice", "worst slice found"
_VALUES = 20  # of an expression or input that make a slice each: the most frequent ones
_LOOKED_AT = 5000  # slices at most
_TOLD = 5  # of the slices that were found


@dataclass(frozen=True)
class Slice:
    """A part of the rows."""

    name: str
    rows: Mask


def wanted(
    spec: ModelSpec, bounds: Slices, problem: Problem, later: Rows, predictions: Floats, alike: npt.NDArray[np.object_]
) -> Iterator[tuple[str, Callable[[], tuple[list[SliceScore], Gate]]]]:
    """The gates that are asked for, by their names, and what measures each: its slices' scores, the worst first, and
    its verdict.

    Args:
        problem: with the candidate's threshold.
        predictions: the candidate's, of the later rows.
        alike: whose rows are alike.
    """
    beside = _Beside(spec, problem, later, predictions, alike)
    if bounds.by:
        yield DECLARED, partial(_declared, bounds, beside)
    if bounds.found_margin is not None:
        yield FOUND, partial(_looked_for, bounds.found_margin, bounds.minimum_rows, beside)


def _declared(bounds: Slices, beside: _Beside) -> tuple[list[SliceScore], Gate]:
    """The slices that the spec names. What cannot be computed, has no slice of rows enough, or has one that cannot be
    scored is no evidence; slices of too few rows are counted and not named, for they may be a person."""
    spec, later = beside.spec, beside.later
    rows, large, small, lacking = expression.table(spec, later.frame), list[Slice](), 0, list[str]()
    for text in bounds.by:
        try:
            parts = [*_by(text, _column(spec, text, later, rows))]
        except QueryRefused:
            log.warning("the slices of %s cannot be computed", text, exc_info=True)  # whose words may have a value
            lacking.append(f"{text}, which cannot be computed (see the log of `evaluate`)")
            continue
        enough = [each for each in parts if each.rows.sum() >= bounds.minimum_rows]
        large += enough
        small += len(parts) - len(enough)
        lacking += (
            [] if enough else [f"any slice of {text} (lower gates.slices.minimum_rows, or change gates.slices.by)"]
        )
    scored = [beside.score(each, declared=True, looked_at=len(large)) for each in large]
    if unknown := [each.name for each in scored if each.drop is None or each.low is None]:
        lacking.append(f"{_few(unknown)}, which cannot be scored (raise gates.slices.minimum_rows)")
    about = f"of {len(large)} with at least {bounds.minimum_rows} rows{f' ({small} are too small)' if small else ''}"
    return _worst_first(scored), _gate(DECLARED, scored, bounds.margin, about, lacking)


def _looked_for(margin: float, least: int, beside: _Beside) -> tuple[list[SliceScore], Gate]:
    """The worst slices that can be found."""
    worst, looked_at = _found(beside.later, beside.lost, least)
    scored = [beside.score(each, declared=False, looked_at=looked_at) for each in worst]
    most = f" (there may be more: at most {_LOOKED_AT:,} are looked at)" if looked_at == _LOOKED_AT else ""
    return _worst_first(scored), _gate(FOUND, scored, margin, f"of {looked_at:,} with at least {least} rows{most}")


def _worst_first(scored: list[SliceScore]) -> list[SliceScore]:
    return sorted(scored, key=lambda each: -(each.drop or -np.inf))


def _gate(name: str, scored: Sequence[SliceScore], margin: float, about: str, lacking: Sequence[str] = ()) -> Gate:
    """The worst slice against the margin: it fails where it is worse by more, and not by chance.

    Args:
        about: which slices it is the worst of.
        lacking: of what nothing is known: no evidence.
    """
    told = [f"nothing is known of {each}" for each in lacking]
    known = [each for each in scored if each.drop is not None and each.low is not None]
    if not known:
        return Gate(name, None, margin, "no evidence", "; ".join([*told, f"none can be scored, {about}"]))
    failing = [each for each in known if (each.drop or 0.0) > margin and (each.low or 0.0) > 0]
    worst = max(failing or known, key=lambda each: each.drop or 0.0)
    drop = worst.drop or 0.0
    by = "" if worst.declared else " in unforeseen loss"
    chance = "" if failing or drop <= margin else ", which may be chance"
    told.append(f"{worst.name} is {abs(drop):.4f} {'worse' if drop > 0 else 'better'} than all rows{by}{chance}")
    verdict: Verdict = "fail" if failing else "no evidence" if lacking else "pass"
    reason = "; ".join([*told, f"{worst.rows} rows, the worst {about}"])
    return Gate(name, drop, margin, verdict, reason, low=worst.low, high=worst.high, rows=worst.rows)


def _few(names: Sequence[str]) -> str:
    return f"{', '.join(names[:_TOLD])}{' …' if len(names) > _TOLD else ''}"


@dataclass(frozen=True)
class _Beside:
    """A candidate on all rows, beside which its slices are scored."""

    spec: ModelSpec
    problem: Problem
    later: Rows
    predictions: Floats
    alike: npt.NDArray[np.object_]

    @cached_property
    def measured(self) -> Metric:
        return metric(self.problem, self.spec.search.metric)

    @cached_property
    def lost(self) -> Floats:
        """What each row lost that the model did not foresee."""
        return losses.unforeseen(self.problem, self.spec.search.metric, self.later.labels, self.predictions)

    def score(self, part: Slice, *, declared: bool, looked_at: int) -> SliceScore:
        """A slice, with an interval that allows for how many were looked at."""
        rows, later = part.rows, self.later
        weights = None if later.weights is None else later.weights[rows]
        value = self.measured.value(later.labels[rows], self.predictions[rows], weights)
        made = SliceScore(name=part.name, declared=declared, rows=int(rows.sum()), value=finite(value), drop=None)
        if declared and not np.isfinite(value):
            return made
        drop = self._metric(rows) if declared else self._loss(rows)
        # The one of each end, if only one slice is looked at, shared by all.
        confidence = 1 - (1 - self.spec.gates.better_than_champion.confidence) / max(1, looked_at)
        spread = jackknife(drop, self.alike, later.weights)
        low, high = finite(spread.low(confidence)), finite(spread.high(confidence))
        return made.model_copy(update={"drop": finite(spread.value), "low": low, "high": high})

    @cached_property
    def _of_all(self) -> Weighted:
        return self.measured.weighted(self.later.labels, self.predictions)

    def _metric(self, rows: Mask) -> Weighted:
        rank, of_all = self.measured.measure.rank, self._of_all
        of_part = self.measured.weighted(self.later.labels[rows], self.predictions[rows])
        return lambda times: rank(of_all(times)) - rank(of_part(times[:, rows]))

    def _loss(self, rows: Mask) -> Weighted:
        of_part, of_all = mean(self.lost[rows]), mean(self.lost)
        return lambda times: of_part(times[:, rows]) - of_all(times)


def _column(spec: ModelSpec, text: str, later: Rows, rows: pa.Table) -> pd.Series[Any]:
    """What an expression says of each row; numbers as floats, all else as text."""
    if text in later.inputs:
        column: pd.Series[Any] = later.inputs[text]
        return column
    values: pd.Series[Any] = expression.values(spec, text, rows, key=expression.SLICES).to_pandas()
    return values.astype("float64") if pd.api.types.is_numeric_dtype(values) and values.dtype != bool else values


def _by(name: str, column: pd.Series[Any]) -> Iterator[Slice]:
    """A slice of each value; of a number with many values of each quarter."""
    known = column.dropna()
    if pd.api.types.is_float_dtype(column) and known.nunique() > _VALUES:
        edges = np.unique(np.quantile(known.to_numpy("float64"), [0.25, 0.5, 0.75]))
        places = np.searchsorted(edges, column.to_numpy("float64"), side="right")
        there = column.notna().to_numpy()
        ends = ["", *(f"{edge:.4g}" for edge in edges), ""]
        for place, (low, high) in enumerate(pairwise(ends)):
            bounds = " and ".join([*([f"{name} >= {low}"] if low else []), *([f"{name} < {high}"] if high else [])])
            yield Slice(bounds or name, there & (places == place))
    else:
        for value in known.value_counts().index[:_VALUES]:
            shown = f"{value:g}" if isinstance(value, float) else str(value)[:40]
            yield Slice(f"{name} = {shown}", (column == value).to_numpy())
    if column.isna().any():
        yield Slice(f"{name} is missing", column.isna().to_numpy())


def _found(later: Rows, lost: Floats, least: int) -> tuple[list[Slice], int]:
    """The worst of the slices by one input or two, by how far they are beyond what chance makes of their size; and how
    many were looked at."""
    count = len(lost)
    single = [
        (name, each)
        for name in map(str, later.inputs)
        for each in _by(name, later.inputs[name])
        if least <= each.rows.sum() < count
    ]
    pairs: Iterable[tuple[tuple[str, Slice], tuple[str, Slice]]] = combinations(single, 2)
    if len(single) * (len(single) + 1) // 2 > _LOOKED_AT:  # not all are looked at: the inputs' order does not say which
        left_of, right_of = np.triu_indices(len(single), 1)
        drawn = np.random.default_rng(0).permutation(len(left_of))
        pairs = ((single[left_of[at]], single[right_of[at]]) for at in drawn)
    both = (
        Slice(f"{one.name} and {other.name}", rows)
        for (left, one), (right, other) in pairs
        if left != right and (rows := one.rows & other.rows).sum() >= least
    )
    weights = np.ones(count) if later.weights is None else later.weights
    usual = float(np.average(lost, weights=weights))
    beyond = weights * (lost - usual)
    looked_at, worst = 0, list[tuple[float, Slice]]()
    for each in islice(chain((each for _, each in single), both), _LOOKED_AT):
        looked_at += 1
        worst.append((float(beyond[each.rows].sum() / np.sqrt(weights[each.rows].sum())), each))
        worst = sorted(worst, key=lambda scored: -scored[0])[:_TOLD]
    return [each for _, each in worst], looked_at
