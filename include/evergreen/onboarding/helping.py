"""Which features helped, on learning rows only: the rows that the gates look at are asked nothing more.

On each time fold a model learns from the earlier rows and predicts the later ones, once as they are, and once for each
feature with its values in another order. What is lost then is what the model had from the feature. Of two features that
say the same neither seems to help: the model has the other one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from evergreen.families import Parameters
from evergreen.handovers.train import SoundTrainingSet
from evergreen.model import metrics, rows
from evergreen.model.rows import Rows
from evergreen.spec.schema import ModelSpec
from evergreen.train import folding

_ROWS = 20_000  # of a fold that are predicted anew for each feature

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Help:
    """What a feature was worth by the search metric, with its 95 % interval; above 0 it helped."""

    feature: str
    of: str  # the view that has it, or `request`
    gain: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """In words."""
        return "helps" if self.low > 0 else "hurts" if self.high < 0 else "not to be told from nothing"


def helped(spec: ModelSpec, data: SoundTrainingSet, family: str, parameters: Parameters) -> list[Help]:
    """Every feature, the most helpful first.

    Args:
        family: whose fits are asked, with `parameters`.
    """
    learn = rows.read(spec, data, "learn")
    views = {name: view for view, declared in spec.features.items() for name in declared.features}
    random = np.random.default_rng(spec.search.seed)
    parts = [replace(part, later=_bounded(part.later, random)) for part in folding.usable(spec, learn).parts]
    if not parts:
        return []
    labels = np.concatenate([part.later.labels for part in parts])
    alike = np.concatenate([spec.asking.alike(part.later.frame).to_numpy(object) for part in parts])
    weighted = [part.later.weights for part in parts if part.later.weights is not None]
    weights = np.concatenate(weighted) if weighted else None
    predicted: dict[str | None, list[Floats]] = {name: [] for name in (None, *spec.feature_types)}
    with threadpool_limits(1):
        for part in parts:
            predict, inputs = folding.fitted(spec, part, family, parameters), part.later.inputs
            predicted[None].append(predict(inputs))
            for name in spec.feature_types:
                other = inputs.assign(**{name: inputs[name].to_numpy()[random.permutation(len(inputs))]})
                predicted[name].append(predict(other))
    metric = metrics.metric(spec.problem, spec.search.metric)
    whole = {name: np.concatenate(each) for name, each in predicted.items()}
    helps = []
    for name in spec.feature_types:
        compared = metric.compare(labels, whole[None], whole[name], alike, weights=weights)
        helps.append(Help(name, views.get(name, "request"), compared.gain, compared.low, compared.high))
    return sorted(helps, key=lambda each: -each.gain)


def _bounded(later: Rows, random: np.random.Generator) -> Rows:
    """At most so many rows to predict."""
    if len(later.labels) <= _ROWS:
        return later
    return later.take(np.sort(random.choice(len(later.labels), _ROWS, replace=False)))
