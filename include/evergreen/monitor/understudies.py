"""Fresh fits of a champion's recipe, which are compared and never deployed, and what each model loses on a window.

The recipe is what the version was registered with: its spec's features, its family, its hyperparameters and seed, and
after a change of the world which rows it learns from. An understudy learns from what a training as the window began
would have had: no label that was open then.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from evergreen.errors import PermanentError
from evergreen.families import FamilyUnusable
from evergreen.model import losses, rows
from evergreen.model.code import spec_hash
from evergreen.model.losses import Floats
from evergreen.model.rows import Rows
from evergreen.monitor import kept_fits, recorded
from evergreen.registry import loading
from evergreen.registry import records as registry
from evergreen.registry.contents import Recipe
from evergreen.registry.loading import Predictor
from evergreen.registry.rules import Version
from evergreen.spec.columns import LABEL
from evergreen.spec.schema import ModelSpec
from evergreen.train import dataset, recipes, records, rules

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Understudy:
    """A fit of a recipe.

    Attributes:
        pipeline: the fit.
        newest: the newest cutoff that it learned from.
        usual: mean rows of an interval of those that it learned from.
        key: a digest of all that it follows from.
        is_kept: it was fitted for a window before, and kept.
    """

    pipeline: Pipeline
    newest: datetime
    usual: float
    key: str
    is_kept: bool = False


@dataclass
class Champion:
    """A version and its recipe.

    Attributes:
        spec: the model as it is declared now, which says what is predicted and where the rows are.
    """

    spec: ModelSpec
    number: int
    _fits: dict[datetime, Understudy | None] = field(default_factory=dict)

    @cached_property
    def version(self) -> Version:
        """What is registered of it."""
        return registry.version(self.spec.model, self.number)

    @cached_property
    def own_spec(self) -> ModelSpec:
        """The spec that it was trained with, with the features that it takes."""
        return loading.spec(self.spec.model, self.version)

    @cached_property
    def predictor(self) -> Predictor:
        """The version as it answers."""
        return loading.load(self.spec.model, self.number)

    @cached_property
    def recipe(self) -> Recipe:
        """How it was fitted."""
        return recipes.of(self.own_spec, registry.candidate(self.version.run_id))

    @cached_property
    def trained_on(self) -> records.Record:
        """Its training set."""
        return records.of(self.spec.model, self.version)

    @property
    def undeclared(self) -> list[str]:
        """Features that it learned from, and that are no longer declared so."""
        return sorted(name for name, _ in self.own_spec.feature_types.items() - self.spec.feature_types.items())

    @property
    def comparable(self) -> bool:
        """Whether its recipe can be fitted anew."""
        return not self.undeclared and self.own_spec.problem == self.spec.problem

    @property
    def declared(self) -> str | None:
        """How the recipe that is declared now differs from its own, in words; None: it does not."""
        gone = self.version.family not in self.spec.families
        trained = loading.declared(self.spec.model, self.version)  # a selection is made by each training anew
        return _differs(trained, self.spec, f"without the family {self.version.family}" if gone else "")

    def differs(self, other: Champion) -> str | None:
        """How the recipe of another version differs from its own, in words; None: it does not."""
        family = other.version.family
        return _differs(self.own_spec, other.own_spec, family if family != self.version.family else "")

    @property
    def changed_at(self) -> datetime | None:
        """The moment before which an earlier release learned nothing, because the world changed then; None: it did not.
        A recipe of this release says itself what it learns from."""
        began = self.trained_on.split.learn_from
        return began if began > self.spec.calendar.earlier(self.version.as_of, self.own_spec.split.window) else None

    def understudy(self, as_of: datetime, learned: str) -> Understudy | None:
        """Its recipe, fitted on what was mature at a moment; None where that was too little, or cannot be told.

        Args:
            learned: a digest of the tables that it learns from.
        """
        if as_of not in self._fits:
            try:
                self._fits[as_of] = self._made(as_of, learned)
            except (PermanentError, FamilyUnusable) as error:  # a monitor that ends here would tell nothing of the rest
                log.warning("No understudy as of %s. %s", as_of, error)
                self._fits[as_of] = None
        return self._fits[as_of]

    def keep(self, moments: Collection[datetime]) -> None:
        """Keep what was fitted as of some moments for the next window, and nothing else of the model."""
        fits = {moment: fit for moment in moments if (fit := self._fits.get(moment)) is not None}
        made = [
            kept_fits.Fit(self.spec.model, fit.key, moment, fit.newest, fit.usual, content)
            for moment, fit in fits.items()
            if not fit.is_kept and (content := kept_fits.pack(fit.pipeline)) is not None
        ]
        kept_fits.keep(self.spec.model, max(moments), [fit.key for fit in fits.values()], made)

    def _made(self, as_of: datetime, learned: str) -> Understudy | None:
        if not self.comparable:
            log.info("No understudy of version %d: what it learned from is no longer declared", self.number)
            return None
        family, declared = self.version.family, spec_hash(self.spec)
        follows_from = {"run": self.version.run_id, "as_of": as_of.isoformat(), "spec": declared, "learned": learned}
        key = kept_fits.key(family, follows_from)
        kept = kept_fits.find(self.spec.model, key)
        pipeline = None if kept is None else kept.pipeline(family)
        if kept is None or pipeline is None:
            return self._fitted(as_of, key)
        return Understudy(pipeline, kept.newest, kept.usual, key, is_kept=True)

    def _fitted(self, as_of: datetime, key: str) -> Understudy | None:
        spec, own = self.spec, self.own_spec
        split = rules.split(as_of, spec)
        if self.changed_at is not None:
            split = replace(split, learn_from=max(split.learn_from, self.changed_at))
        split = split.whole if spec.refit else split.newest
        built = dataset.build(spec, split)
        count = built.rows.num_rows
        frame = built.rows.to_pandas()
        labels = spec.problem.labels(frame[spec.label.name])
        lack = spec.problem.lacking(np.unique(labels).tolist())
        if count < spec.split.minimum_rows or lack:
            log.info("No understudy as of %s: %d mature rows%s", as_of, count, f", {lack}" if lack else "")
            return None
        keys, weights = spec.entity.names(frame).to_numpy(object), rows.weights(spec, frame)
        learned = Rows(frame, rows.inputs(own.feature_types, frame), labels, keys, weights)
        pipeline, _ = recipes.fit(own, self.recipe, learned)
        return Understudy(pipeline, split.learn_to, count / len(built.partitions), key)

    def loss(self, labelled: pd.DataFrame) -> float | None:
        """Its mean loss on a window's predictions with their outcomes; None: it cannot be asked."""
        try:
            answers = self.answers(labelled)
        except (PermanentError, ValueError) as error:
            log.warning("What version %d says of a window cannot be had. %s", self.number, error)
            return None
        return mean_loss(self.spec, labelled, answers)

    def answers(self, asked: pd.DataFrame) -> Floats:
        """What it says to rows with predictions: its own logged answers, and where another version answered what it
        says to the same features.

        Raises:
            PermanentError, ValueError: it cannot be asked.
        """
        problem = self.spec.problem
        answers = problem.of_columns(asked).copy()
        known = np.isfinite(answers.reshape(len(asked), -1)).all(axis=1)
        by = asked.reindex(columns=["version"])["version"]
        others = ~((by == self.number).to_numpy() & known)
        if others.any():
            self._check_logged(by[others].dropna().unique().tolist())
            features = rows.inputs(self.own_spec.feature_types, _with(self.own_spec, asked[others]))
            answers[others] = problem.of(self.own_spec.problem, self.predictor.predict(features))
        return answers

    def _check_logged(self, versions: Sequence[int]) -> None:
        """Of what a version's selection has left out nothing is logged, and null is no value of it.

        Raises:
            ValueError: one of them has left out what this one takes.
        """
        logs = recorded.logs(self.own_spec)
        if lacking := [str(number) for number in versions if not logs(number)]:
            raise ValueError(f"version {', '.join(lacking)} answered without features that it takes")

    def loss_of(self, understudy: Understudy | None, labelled: pd.DataFrame) -> float | None:
        """An understudy's mean loss on the same rows."""
        if understudy is None:
            return None
        features = rows.inputs(self.own_spec.feature_types, _with(self.own_spec, labelled))
        return mean_loss(self.spec, labelled, rows.predict(understudy.pipeline, features))

    def apart(self, understudy: Understudy | None) -> int:
        """Intervals between the newest cutoff that it learned from and the newest that an understudy did."""
        calendar, learned = self.spec.calendar, self.trained_on.split.learn_to
        if understudy is None or understudy.newest <= learned:
            return 0
        ours, theirs = calendar.interval_of(learned), calendar.interval_of(understudy.newest)
        return len(calendar.between(ours, theirs)) - 1


def _differs(own: ModelSpec, other: ModelSpec, family: str) -> str | None:
    ours, theirs = own.feature_types, other.feature_types
    without = ", ".join(sorted(name for name, kind in ours.items() if theirs.get(name) != kind))
    new = ", ".join(sorted(name for name, kind in theirs.items() if ours.get(name) != kind))
    said = [family, without and f"without {without}", new and f"with {new}"]
    said.append("another label" if own.problem != other.problem else "")
    return ", ".join(filter(None, said)) or None


def mean_loss(spec: ModelSpec, labelled: pd.DataFrame, answers: Floats) -> float | None:
    """The mean loss of answers to rows that have their `label`, by their weights; None where there is none."""
    weights = rows.weights(spec, labelled)
    of_rows = losses.of_rows(spec.problem, spec.search.metric, spec.problem.labels(labelled[LABEL]), answers)
    mean = float(np.average(of_rows, weights=weights))
    return mean if np.isfinite(mean) else None


def _with(spec: ModelSpec, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with every feature of a spec, null where it was not logged."""
    lacking = [name for name in spec.feature_types if name not in frame]
    return frame.assign(**dict.fromkeys(lacking)) if lacking else frame
