"""Which features a family takes: backward elimination by permutation importance, on the time folds of what is learned
from.

Each round looks at what is taken by then, and tries to do without every feature whose importance is not surely above 0.
Of two features that say the same neither seems to matter: so the rest is fitted and scored without them, and where it
is worse, without the weaker half of them, down to one after the other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from evergreen.handovers.handover import finite
from evergreen.handovers.selection import Importance, Selected, Weighed
from evergreen.model import importance
from evergreen.model.metrics import metric
from evergreen.model.rows import without
from evergreen.run import Run
from evergreen.spec.families import defaults, space
from evergreen.spec.schema import ModelSpec
from evergreen.spec.selection import Selection, kept
from evergreen.train import folding
from evergreen.train.folding import Part


@dataclass(frozen=True)
class _Tried:
    """The fits of each fold without some features.

    Attributes:
        gain: of the search metric over the trivial answer, the mean of the folds; NaN where it is not defined.
    """

    spec: ModelSpec
    fits: tuple[importance.Fitted, ...]
    score: float
    gain: float


def narrowed(parts: Sequence[Part], dropped: Collection[str]) -> tuple[Part, ...]:
    """The folds for a model that does without some features."""
    return tuple(Part(without(part.learn, dropped), without(part.later, dropped), part.classes) for part in parts)


def select(run: Run, family: str, parts: Sequence[Part]) -> Selected | None:
    """What a family takes, by fits with its default parameters; None: the spec asks for no selection. The same folds
    give the same.

    Args:
        parts: the time folds.
    """
    asked = run.spec.selection
    if asked is None:
        return None
    with threadpool_limits(1):  # families are tuned side by side, one core each; and the same order of additions
        return _selected(run.spec, asked, family, parts)


def _selected(spec: ModelSpec, asked: Selection, family: str, parts: Sequence[Part]) -> Selected:
    always, dropped = kept(spec), frozenset[str]()
    whole = now = _tried(spec, family, parts, dropped)
    allowed = whole.gain * (1 - asked.loss) if whole.gain > 0 else whole.gain
    weighed: dict[str, Importance] = {}
    needed: set[str] = set()  # what was tried to do without alone, and is missed
    while True:
        weighed |= {each.input: each for each in importance.of(now.spec, now.fits)}
        taken = [name for name in weighed if name not in dropped]
        weak = sorted(
            (name for name in taken if name not in always and name not in needed and _is_weak(weighed[name])),
            key=lambda name: weighed[name].loss or 0.0,
        )
        count = min(len(weak), len(taken) - asked.fewest)
        while count > 0:
            fewer = _tried(spec, family, parts, dropped | {*weak[:count]})
            if fewer.gain >= allowed:
                break
            if count == 1:
                needed.add(weak.pop(0))
            count = min(len(weak), max(1, count // 2))
        else:
            break
        dropped, now = dropped | {*weak[:count]}, fewer
    bound = f"{asked.loss:.1%} of what {spec.search.metric} gains would be lost"
    missed = f"without it more than {bound}"
    missed = missed if np.isfinite(whole.gain) else f"{spec.search.metric} is not defined on every time fold"
    fewest = f"at least {asked.fewest} inputs are taken"
    inputs = tuple(
        Weighed(
            **dict(weighed[name]),
            taken=name not in dropped,
            reason=_reason(weighed[name], always, dropped, missed if name in needed else fewest),
        )
        for name in spec.feature_types
    )
    left_out = [each.input for each in inputs if not each.taken]
    of_all = f"{len(inputs) - len(left_out)} of {len(inputs)} inputs are taken"
    scores = f"{spec.search.metric} {now.score:.4f} on {len(parts)} time folds, {whole.score:.4f} with all of them"
    said = f"; left out: {', '.join(left_out)}" if left_out else ""
    return Selected(
        inputs=inputs, before=finite(whole.score), after=finite(now.score), reason=f"{of_all}: {scores}{said}"
    )


def _tried(spec: ModelSpec, family: str, parts: Sequence[Part], dropped: Collection[str]) -> _Tried:
    own, measured = spec.without(dropped), metric(spec.problem, spec.search.metric)
    parameters = defaults(space(family, spec.families[family]))
    fits, scores, gains = [], [], []
    for part in narrowed(parts, dropped):
        later = part.later
        predict = folding.fitted(own, part, family, parameters)
        trivial = spec.problem.baseline(part.learn.labels, len(later.labels), part.learn.weights)
        score = measured.value(later.labels, predict(later.inputs), later.weights)
        fits.append(importance.Fitted(later, predict))
        scores.append(score)
        gains.append(measured.measure.gain(score, measured.value(later.labels, trivial, later.weights)))
    return _Tried(own, tuple(fits), float(np.mean(scores)), float(np.mean(gains)))


def _is_weak(of: Importance) -> bool:
    """Whether it is not surely above 0; of one that is not defined nothing is known."""
    return of.low is not None and of.low <= 0


def _reason(of: Importance, always: Mapping[str, str], dropped: Collection[str], why: str) -> str:
    if of.input in dropped:
        return "its importance is not surely above 0"
    if of.input in always:
        return always[of.input]
    if of.low is None:
        return "its importance is not defined"
    return why if _is_weak(of) else "its importance is surely above 0"


def lines(selected: Selected) -> list[str]:
    """As a log has it."""
    told = [selected.reason]
    for each in selected.inputs:
        loss = "none" if each.loss is None else f"{each.loss:.4g}, {each.low:.4g} to {each.high:.4g}"
        told.append(f"  {'takes' if each.taken else 'drops'} {each.input}: importance {loss}; {each.reason}")
    return told
