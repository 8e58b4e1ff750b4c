"""Which inputs a candidate leans on: what the search metric loses on rows that it has not learned from when one input's
values are in another order, with its interval. Of two inputs that say the same neither seems to matter: the model has
the other one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.handovers.handover import finite
from evergreen.handovers.selection import Importance
from evergreen.model.metrics import metric
from evergreen.model.rows import Rows
from evergreen.spec.schema import ModelSpec

Floats = npt.NDArray[np.float64]
_ROWS = 20_000  # that are predicted anew for each input


@dataclass(frozen=True)
class Fitted:
    """A fit, and rows that it has not learned from."""

    later: Rows
    predict: Callable[[pd.DataFrame], Floats]
    """Inputs → predictions."""


def of(spec: ModelSpec, fits: Sequence[Fitted], names: Collection[str] | None = None) -> list[Importance]:
    """The inputs, the most important first. The same seed gives the same orders.

    Args:
        fits: of one recipe, each with rows of its own; an input's values change places within these.
        names: of the inputs that are looked at; None: all.
    """
    random, most = np.random.default_rng(spec.search.seed), _ROWS // len(fits)
    chosen = [each.later for each in fits]
    chosen = [
        later if len(later.labels) <= most else later.take(np.sort(random.choice(len(later.labels), most, False)))
        for later in chosen
    ]
    labels = np.concatenate([later.labels for later in chosen])
    alike = np.concatenate([spec.asking.alike(later.frame).to_numpy(object) for later in chosen])
    stated = [later.weights for later in chosen if later.weights is not None]
    weights = np.concatenate(stated) if stated else None
    measured = metric(spec.problem, spec.search.metric)
    plain = np.concatenate([fit.predict(later.inputs) for fit, later in zip(fits, chosen, strict=True)])
    found = []
    for name in spec.feature_types if names is None else names:
        without = []
        for fit, later in zip(fits, chosen, strict=True):
            other = later.inputs[name].to_numpy()[random.permutation(len(later.labels))]
            without.append(fit.predict(later.inputs.assign(**{name: other})))
        lost = measured.compare(labels, plain, np.concatenate(without), alike, weights=weights)
        found.append(Importance(input=name, loss=finite(lost.gain), low=finite(lost.low), high=finite(lost.high)))
    return sorted(found, key=lambda each: -(each.loss if each.loss is not None else float("-inf")))


def lines(metric_name: str, found: Sequence[Importance]) -> list[str]:
    """As a log has it: those that surely matter."""
    sure = [each for each in found if each.low is not None and each.low > 0]
    told = [f"{len(sure)} of {len(found)} inputs matter ({metric_name} that is lost without their order)"]
    return told + [f"  {each.input}: {each.loss:.4g}, {each.low:.4g} to {each.high:.4g}" for each in sure]
