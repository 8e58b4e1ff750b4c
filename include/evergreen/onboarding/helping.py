"""Which features helped, on learning rows only: the rows that the gates look at are asked nothing more.

On each time fold a model learns from the earlier rows and predicts the later ones, once as they are, and once for each
feature with its values in another order. What is lost then is what the model had from the feature. Of two features that
say the same neither seems to help: the model has the other one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from evergreen.families import Parameters
from evergreen.handovers.train import SoundTrainingSet
from evergreen.model import families, metrics, rows
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
    folds = list(_folds(spec, learn))
    if not folds:
        return []
    labels = np.concatenate([learn.labels[later] for _, later in folds])
    alike = spec.asking.alike(learn.frame).to_numpy(object)
    weights = None if learn.weights is None else np.concatenate([learn.weights[later] for _, later in folds])
    entities = np.concatenate([alike[later] for _, later in folds])
    predicted: dict[str | None, list[Floats]] = {name: [] for name in (None, *spec.feature_types)}
    random = np.random.default_rng(spec.search.seed)
    with threadpool_limits(1):
        for earlier, later in folds:
            unfitted = families.build(family, parameters, spec.feature_types, spec.search.seed, label=spec.problem.kind)
            part = None if learn.weights is None else learn.weights[earlier]
            fitted = families.fit(unfitted, learn.inputs.iloc[earlier], learn.labels[earlier], part)
            scored = learn.inputs.iloc[later]
            predicted[None].append(rows.predict(fitted, scored))
            for name in spec.feature_types:
                other = scored.assign(**{name: scored[name].to_numpy()[random.permutation(len(scored))]})
                predicted[name].append(rows.predict(fitted, other))
    metric = metrics.metric(spec.problem, spec.search.metric)
    whole = {name: np.concatenate(each) for name, each in predicted.items()}
    helps = []
    for name in spec.feature_types:
        compared = metric.compare(labels, whole[None], whole[name], entities, weights=weights)
        helps.append(Help(name, views.get(name, "request"), compared.gain, compared.low, compared.high))
    return sorted(helps, key=lambda each: -each.gain)


def _folds(spec: ModelSpec, learn: Rows) -> Iterator[tuple[folding.Positions, folding.Positions]]:
    """Positions of the rows to learn from and to predict, of the folds in which labels differ; bounded."""
    random = np.random.default_rng(spec.search.seed)
    for _, earlier, later in folding.folds(spec, learn):
        some = np.sort(random.choice(later, _ROWS, replace=False)) if len(later) > _ROWS else later
        if not any(spec.problem.lacking(np.unique(learn.labels[part]).tolist()) for part in (earlier, some)):
            yield earlier, some
