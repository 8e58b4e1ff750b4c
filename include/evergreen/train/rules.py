"""Which rows train and which evaluate; which folds score a trial; what makes two trainings the same. Pure.

Time is counted in cutoffs: the moment `c` of a prediction. Its label is known at `c + horizon` where every entity is
predicted at the end of an interval; that of a request, made within or before the interval, `horizon` after the
interval's end. Durations are counted as the model's calendar does.
"""

from __future__ import annotations

import hashlib
import json
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from evergreen.families import Parameter
from evergreen.handovers.difference import Difference
from evergreen.handovers.gate import Gate
from evergreen.spec.families import defaults
from evergreen.spec.gates import Gates
from evergreen.spec.measures import MEASURES, MetricName
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    import pandas as pd

DEFAULTS, FAMILY = "defaults", "family"  # what proposed the library's own values, and those that a family declares
WARM_TRIALS = 3  # of the model's last study, that the next one tries
# a trial learns from at most as many in a fold, sampled: it ranks parameters, and need not be the best model
FOLD_ROWS = 10_000


@dataclass(frozen=True)
class Split:
    """Cutoffs, all bounds included: `[learn_from, learn_to]`, the purge, `[evaluate_from, evaluate_to]`."""

    learn_from: datetime
    learn_to: datetime
    evaluate_from: datetime
    evaluate_to: datetime
    as_of: datetime  # what is known later does not count

    @property
    def cutoffs(self) -> tuple[datetime, datetime]:
        """The first and the last cutoff that it may use."""
        return min(self.learn_from, self.evaluate_from), self.evaluate_to

    @property
    def whole(self) -> Split:
        """What a refit learns from: every row whose label is mature, up to the last cutoff. None is left to evaluate
        on."""
        return replace(self, learn_to=self.evaluate_to, evaluate_from=self.as_of)

    @property
    def newest(self) -> Split:
        """What a fit of as long a stretch learns from whose end are the newest mature rows. None is left to evaluate
        on."""
        moved = self.evaluate_to - self.learn_to
        return replace(self.whole, learn_from=self.learn_from + moved)

    def learns(self, cutoffs: pd.Series[Any], known_at: pd.Series[Any]) -> pd.Series[bool]:
        """Which rows are learned from: those whose label was known when the evaluation starts."""
        return (cutoffs >= self.learn_from) & (cutoffs <= self.learn_to) & (known_at <= self.evaluate_from)

    def evaluates(self, cutoffs: pd.Series[Any], known_at: pd.Series[Any]) -> pd.Series[bool]:
        """Which rows evaluate."""
        return (cutoffs >= self.evaluate_from) & (cutoffs <= self.evaluate_to) & (known_at <= self.as_of)

    def mask(self, cutoffs: pd.Series[Any], known_at: pd.Series[Any]) -> pd.Series[bool]:
        """Which rows a training may use: the rule against leakage, for whoever builds a
        training set or counts what one would have.

        Args:
            cutoffs: the moment of each row's prediction.
            known_at: when each row's label became known.
        """
        return self.learns(cutoffs, known_at) | self.evaluates(cutoffs, known_at)

    def still_open(self, cutoffs: pd.Series[Any], known_at: pd.Series[Any]) -> tuple[int, int]:
        """How many predictions of either stretch have an outcome that was not known when it had to be; of such as are
        open `known_at` is null."""
        learned = cutoffs.between(self.learn_from, self.learn_to) & ~self.learns(cutoffs, known_at)
        evaluated = cutoffs.between(self.evaluate_from, self.evaluate_to) & ~self.evaluates(cutoffs, known_at)
        return int(learned.sum()), int(evaluated.sum())


def split(as_of: datetime, spec: ModelSpec, changed_at: datetime | None = None) -> Split:
    """The rows that a training as of `as_of` uses.

    The evaluation is the latest stretch of cutoffs whose labels are mature; after a change of the world none of it is
    from before. Learning rows are those whose own labels were mature when the evaluation starts, within the spec's
    window: whether those from before a change are of use the candidates' backtest says (`windows`).
    """
    calendar, horizon = spec.calendar, spec.label.horizon
    evaluate_from, evaluate_to = spec.asking.stretch(spec.split.evaluation, calendar.earlier(as_of, horizon))
    if changed_at is not None:
        evaluate_from = max(evaluate_from, changed_at)
    learn_from = calendar.earlier(as_of, spec.split.window)
    return Split(learn_from, calendar.earlier(evaluate_from, horizon), evaluate_from, evaluate_to, as_of)


@dataclass(frozen=True)
class Fold:
    """Cutoffs, all bounds included: learn on all up to `learn_to`, score on `[score_from, score_to]`."""

    learn_to: datetime
    score_from: datetime
    score_to: datetime


def folds(
    cutoffs: Sequence[datetime],
    known_before: Callable[[datetime], datetime],
    wanted: int,
    scored_from: datetime | None = None,
) -> list[Fold]:
    """Time folds within the learning rows, the latest last; fewer than wanted when the learning rows span few cutoffs.

    The latest cutoffs are scored in blocks, so that the first fold has about a block's length to learn from too. Each
    fold learns on the cutoffs whose labels were mature when its scoring starts, at least one.

    Args:
        known_before: of a moment, the newest cutoff whose label was mature then (`asking.known_before`).
        scored_from: the first cutoff that may be scored; None: any may.
    """
    ordered = sorted(set(cutoffs))
    scorable = ordered[bisect_left(ordered, ordered[0], key=known_before) :] if ordered else []
    if scored_from is not None:
        scorable = scorable[bisect_left(scorable, scored_from) :]
    scored = scorable[-max(wanted, len(ordered) * wanted // (wanted + 1)) :]
    count = min(wanted, len(scored))
    blocks = [scored[len(scored) * i // count : len(scored) * (i + 1) // count] for i in range(count)]
    return [Fold(known_before(block[0]), block[0], block[-1]) for block in blocks]


@dataclass(frozen=True)
class Proposal:
    """A point that a study tries before its sampler proposes any.

    Attributes:
        parameters: hyperparameter → value, within the study's ranges.
        proposed_by: `defaults`, `family`, or the name of the earlier study whose best it is.
    """

    parameters: dict[str, float]
    proposed_by: str


def first_trials(
    ranges: Mapping[str, Parameter],
    best: Sequence[Mapping[str, float]],
    *,
    study: str,
    trials: int,
    declared: Sequence[Mapping[str, float]] = (),
) -> list[Proposal]:
    """What a study tries first: the library's defaults, what else the family declares, then what was best before. At
    least half of the other trials stay the sampler's.

    Args:
        ranges: what is searched now. A value beyond is brought within; a parameter that
            was not searched before has its default.
        best: of the earlier study, the best first.
        study: its name.
        trials: how many the study will have.
        declared: what the family tries in place of defaults.
    """
    proposals = [Proposal(defaults(ranges), DEFAULTS)]
    points = [(each, FAMILY) for each in declared] + [(each, study) for each in best[:WARM_TRIALS]]
    for point, proposed_by in points:
        near = {name: among.nearest(point.get(name, among.default)) for name, among in ranges.items()}
        if len(proposals) <= (trials - 1) // 2 and all(near != other.parameters for other in proposals):
            proposals.append(Proposal(near, proposed_by))
    return proposals


def training_key(
    model: str,
    as_of: datetime,
    content_hash: str,
    spec_hash: str,
    code_hash: str,
    seed: int,
    changed_at: datetime | None = None,
) -> str:
    """What makes two trainings the same: with the same key a rerun finds its study and
    its version, and makes no second one."""
    after = [] if changed_at is None else [changed_at.isoformat()]
    parts = [model, as_of.isoformat(), content_hash, spec_hash, code_hash, seed, *after]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def refit_checks(
    metric: MetricName,
    bounds: Gates,
    *,
    gated: float,
    refit: float,
    baseline: float | None,
    apart: float,
    spread: float,
) -> tuple[Gate, ...]:
    """Whether a refit is near enough to the fit that the gates judged.

    Args:
        gated, refit, baseline: the metric of each on the newest rows; not finite, or None: it is not defined.
        apart: root mean square of the difference of the two fits' answers.
        spread: standard deviation of the gated fit's answers.
    """
    name = "refit: no worse on the newest rows"
    known = baseline is not None and all(map(math.isfinite, (gated, refit, baseline)))
    margin = MEASURES[metric].gain(gated, baseline) if known and baseline is not None else 0.0
    if margin > 0:
        lost = MEASURES[metric].gain(gated, refit) / margin
        loss = Gate(
            name,
            lost,
            bounds.refit_loss,
            "pass" if lost <= bounds.refit_loss else "fail",
            f"{metric} {refit:.4f} against {gated:.4f} of the gated fit: {max(lost, 0.0):.1%} of its gain over the "
            f"baseline lost, at most {bounds.refit_loss:.1%}",
        )
    else:
        loss = Gate(name, None, bounds.refit_loss, "no evidence", f"{metric} has no gain over the baseline to lose")
    distance = apart / spread if spread > 0 else (0.0 if apart == 0 else math.inf)
    name, near = "refit: answers near the gated fit's", distance <= bounds.refit_distance
    return (
        loss,
        Gate(
            name,
            distance if math.isfinite(distance) else None,
            bounds.refit_distance,
            "pass" if near else "fail" if math.isfinite(distance) else "no evidence",
            f"{distance:.3f} standard deviations apart, at most {bounds.refit_distance:g}",
        ),
    )


def difference(key: str, earlier: Mapping[str, str], now: Mapping[str, str]) -> Difference | None:
    """By which partitions a training set differs from an earlier one; None: by none.

    Args:
        key: the earlier training's.
        earlier: partition → digest of its rows in the earlier set.
        now: the same of this one.
    """
    added, removed = sorted(now.keys() - earlier.keys()), sorted(earlier.keys() - now.keys())
    changed = sorted(name for name in now.keys() & earlier.keys() if now[name] != earlier[name])
    if not (added or changed or removed):
        return None
    return Difference(key=key, added=tuple(added), changed=tuple(changed), removed=tuple(removed))
