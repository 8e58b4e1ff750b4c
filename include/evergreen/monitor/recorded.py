"""What was recorded of a version that answered: the rows that it is compared with, how well it did, how it decides."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import pandas as pd

from evergreen.errors import PermanentError
from evergreen.registry import artifacts, contents, loading, records
from evergreen.registry.rules import Version
from evergreen.spec.schema import ModelSpec


@dataclass(frozen=True)
class Recorded:
    """A version, by its number. What is asked for again is looked up once."""

    spec: ModelSpec  # of the model, as it is declared now
    version: int

    @property
    def held_out(self) -> pd.DataFrame:
        """The rows of its reference."""
        return artifacts.load(self._candidate, contents.Reference).rows

    @property
    def evaluated(self) -> float:
        """The metric at its evaluation; NaN: it had none."""
        value = artifacts.load(self._candidate, contents.Evaluation).value
        return math.nan if value is None else value

    @cached_property
    def threshold(self) -> float | None:
        """By which it decides; None: nothing that is told depends on it."""
        if self.spec.label.business_value is None and self.spec.gates.fairness is None:
            return None
        return loading.threshold(loading.spec(self.spec.model, self._version), self._candidate)

    @cached_property
    def watched(self) -> ModelSpec:
        """The model as it is declared now, without the features that the version's selection has left out: they are
        neither served nor logged."""
        return loading.taking(self.spec, self._candidate)

    @cached_property
    def _version(self) -> Version:
        return records.version(self.spec.model, self.version)

    @cached_property
    def _candidate(self) -> records.Candidate:
        return records.candidate(self._version.run_id)


def watched(spec: ModelSpec, version: int | None) -> ModelSpec:
    """A model without the features that a version's selection has left out; None: as it is declared."""
    return spec if version is None else Recorded(spec, version).watched


def logs(spec: ModelSpec) -> Callable[[int], bool]:
    """Whether a version logs every feature of a spec: of what its selection has left out there is nothing to see. One
    that cannot be looked up any more counts as one without a selection."""
    wanted = spec.feature_types.keys()

    @cache
    def logs_them(version: int) -> bool:
        try:
            return wanted <= Recorded(spec, version).watched.feature_types.keys()
        except PermanentError:
            return True

    return logs_them
