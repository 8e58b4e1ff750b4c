"""How alike the groups of a protected attribute are decided on, by the numbers of `fairlearn`, with their intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from evergreen.handovers.fairness import Fair
from evergreen.handovers.handover import finite
from evergreen.model.intervals import jackknife
from evergreen.model.weightings import Floats
from evergreen.spec import expression
from evergreen.spec.fairness import Fairness as Asked
from evergreen.spec.schema import ModelSpec

DIFFERENCES = ("demographic_parity", "equalised_odds")
RATIO = "disparate_impact"
NUMBERS = (*DIFFERENCES, RATIO)

_MOST = 20  # groups: the largest
Weightings = Callable[[Floats], Floats]


def of_rows(
    spec: ModelSpec,
    frame: pd.DataFrame,
    decided: Floats,
    labels: npt.NDArray[np.generic] | None,
    alike: npt.NDArray[np.object_],
) -> list[Fair]:
    """The numbers of each protected attribute of a spec that has two groups or more; the arguments as `measure` has
    them.

    Args:
        frame: has the columns that an expression may name.

    Raises:
        QueryRefused: an expression cannot be computed.
    """
    asked = spec.gates.fairness
    if asked is None or not len(frame):
        return []
    rows = expression.table(spec, frame)
    found = [of_attribute(spec, asked, text, rows, decided, labels, alike) for text in asked.by]
    return [each for each in found if each is not None]


def of_attribute(
    spec: ModelSpec,
    asked: Asked,
    attribute: str,
    rows: pa.Table,
    decided: Floats,
    labels: npt.NDArray[np.generic] | None,
    alike: npt.NDArray[np.object_],
) -> Fair | None:
    """The same of one attribute, of rows as an expression is asked about them; None: it has no two groups."""
    values = expression.values(spec, attribute, rows, key=expression.FAIRNESS).to_pandas()
    groups = values.map(lambda value: None if pd.isna(value) else str(value)).astype(object)
    return measure(attribute, groups, decided, labels, alike, asked.minimum_rows)


def measure(
    name: str,
    groups: pd.Series[str],
    decided: Floats,
    labels: npt.NDArray[np.generic] | None,
    alike: npt.NDArray[np.object_],
    least: int,
) -> Fair | None:
    """The numbers of one attribute; None: it has no two groups that are large enough.

    Args:
        name: the attribute.
        groups: of each row; missing: of none.
        decided: 1 for yes, 0 for no.
        labels: what came true, 1 or 0; None: it is not known yet, and equalised odds neither.
        alike: whose rows are alike.
        least: rows of a group.
    """
    sizes = groups.value_counts()
    chosen = [value for value in sizes.index[:_MOST] if sizes[value] >= least]
    if len(chosen) < 2:
        return None
    masks = np.array([(groups == value).to_numpy() for value in chosen])
    counted = {"demographic_parity": _apart(decided, masks, None)}
    counted["disparate_impact"] = _ratio(decided, masks)
    numbers: dict[str, tuple[float | None, float | None, float | None]] = {}
    if labels is not None:
        if all((mask & (labels == each)).any() for mask in masks for each in (1, 0)):
            right, wrong = (_apart(decided, masks, labels == each) for each in (1, 0))
            counted["equalised_odds"] = lambda times: np.fmax(right(times), wrong(times))
        else:  # of a group that lacks an outcome nobody knows the odds
            numbers["equalised_odds"] = None, None, None
    for each, of in counted.items():
        spread = jackknife(of, alike)
        low, high = max(0.0, spread.low()), min(1.0, spread.high())
        numbers[each] = finite(spread.value), finite(low), finite(high)
    return Fair(
        attribute=name,
        shares={str(value): float(decided[mask].mean()) for value, mask in zip(chosen, masks, strict=True)},
        rows={str(value): int(mask.sum()) for value, mask in zip(chosen, masks, strict=True)},
        numbers=numbers,
        left_out=len(groups) - int(masks.sum()),
    )


def _rates(decided: Floats, masks: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_] | None) -> Weightings:
    """The share of yes in each group, weightings by groups."""
    of = masks if among is None else masks & among

    def rates(times: Floats) -> Floats:
        rows = times @ of.T
        return np.where(rows > 0, (times @ (of * decided).T) / np.where(rows > 0, rows, 1.0), np.nan)

    return rates


def _apart(decided: Floats, masks: npt.NDArray[np.bool_], among: npt.NDArray[np.bool_] | None) -> Weightings:
    rates = _rates(decided, masks, among)

    def apart(times: Floats) -> Floats:
        of = rates(times)
        known = np.isfinite(of).sum(axis=1) > 1
        found = np.full(len(of), np.nan)
        found[known] = np.nanmax(of[known], axis=1) - np.nanmin(of[known], axis=1)
        return found

    return apart


def _ratio(decided: Floats, masks: npt.NDArray[np.bool_]) -> Weightings:
    rates = _rates(decided, masks, None)

    def ratio(times: Floats) -> Floats:
        of = rates(times)
        most = of.max(axis=1)
        return np.where(most > 0, of.min(axis=1) / np.where(most > 0, most, 1.0), np.nan)

    return ratio
