"""Which inputs a candidate leans on: what the search metric loses on evaluation rows when one input's values are in
another order, with its interval. Of two inputs that say the same neither seems to matter: the model has the other one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from evergreen.handovers.handover import finite
from evergreen.model.metrics import metric
from evergreen.model.rows import Rows
from evergreen.registry.contents import Importance
from evergreen.spec.schema import ModelSpec

Floats = npt.NDArray[np.float64]
_ROWS = 20_000  # that are predicted anew for each input


def of(spec: ModelSpec, later: Rows, predict: Callable[[pd.DataFrame], Floats]) -> list[Importance]:
    """Every input, the most important first. The same seed gives the same orders."""
    random = np.random.default_rng(spec.search.seed)
    if len(later.labels) > _ROWS:
        later = later.take(np.sort(random.choice(len(later.labels), _ROWS, replace=False)))
    measured, alike = metric(spec.problem, spec.search.metric), spec.asking.alike(later.frame).to_numpy(object)
    plain, found = predict(later.inputs), []
    for name in spec.feature_types:
        other = later.inputs[name].to_numpy()[random.permutation(len(later.labels))]
        without = predict(later.inputs.assign(**{name: other}))
        lost = measured.compare(later.labels, plain, without, alike, weights=later.weights)
        found.append(Importance(name, finite(lost.gain), finite(lost.low), finite(lost.high)))
    return sorted(found, key=lambda each: -(each.loss if each.loss is not None else float("-inf")))


def lines(metric_name: str, found: Sequence[Importance]) -> list[str]:
    """As a log has it: those that surely matter."""
    sure = [each for each in found if each.low is not None and each.low > 0]
    told = [f"{len(sure)} of {len(found)} inputs matter ({metric_name} that is lost without their order)"]
    return told + [f"  {each.input}: {each.loss:.4g}, {each.low:.4g} to {each.high:.4g}" for each in sure]
