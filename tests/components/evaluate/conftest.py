"""Candidates as training logs them, without the search:
fitted, in a real MLflow, and registered when a test says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from evergreen.evaluate import stages as evaluate
from evergreen.govern import stages as govern
from evergreen.handovers.selection import Selected, Weighed
from evergreen.handovers.train import Candidate, Refitted, SoundTrainingSet
from evergreen.history import ledger
from evergreen.history.events import Promoted
from evergreen.model import families, rows
from evergreen.registry import candidates, store
from evergreen.registry import stages as registry
from evergreen.registry.contents import Recipe, Trials
from evergreen.run import Run
from evergreen.spec.schema import ModelSpec
from evergreen.train import stages as train
from tests.components.train.conftest import DAYS, rows_of, run_as_of, spec, training_set
from tests.handovers import gated, judged, tracked

__all__ = ["Contest", "run_as_of", "spec", "training_set"]
Json = dict[str, Any]


@dataclass
class Contest:
    """One model's candidates and champion."""

    spec: ModelSpec
    write: Callable[..., SoundTrainingSet]

    def data(self, run: Run, frame: pd.DataFrame | None = None) -> SoundTrainingSet:
        """The training set of a run."""
        return self.write(run, rows_of(range(DAYS + 10)) if frame is None else frame)

    def candidate(
        self,
        run: Run,
        data: SoundTrainingSet,
        family: str = "gradient_boosting",
        *,
        best_score: float = 0.7,
        noise: float = 0.0,
        damage: Callable[[Pipeline], None] | None = None,
        held_out: pd.DataFrame | None = None,
        dropped: Sequence[str] = (),
    ) -> Candidate:
        """A candidate that learned from the set, with a share of its labels flipped;
        `damage` is done to it before it is logged. Its reference are rows that it learned from, without their labels,
        or those that are given. It does without what is `dropped`."""
        spec, learn = run.spec.without(dropped), rows.without(rows.read(run.spec, data, "learn"), dropped)
        inputs = tuple(
            Weighed(input=name, taken=name not in dropped, loss=0.0, low=0.0, high=0.0, reason="a test")
            for name in run.spec.feature_types
        )
        selection = Selected(inputs=inputs, before=0.7, after=0.7, reason="a test") if dropped else None
        flipped = np.random.default_rng(0).random(len(learn.labels)) < noise
        parameters: Json = {"max_iter": 10} if family == "gradient_boosting" else {}
        pipeline = families.build(family, parameters, spec.feature_types, 0)
        families.fit(pipeline, learn.inputs, np.where(flipped, 1 - learn.labels, learn.labels), None)
        # It knew the labels of the rows that it learned from: an estimate that learned from them would be of nothing.
        compared = candidates.compared_with(spec, learn, rows.predict(pipeline, learn.inputs)).drop(columns="label")
        if held_out is not None:
            later = rows.of(run.spec, held_out)
            compared = candidates.compared_with(spec, later, rows.predict(pipeline, later.inputs))
        with pytest.MonkeyPatch.context() as patch:
            if damage is not None:
                damage(pipeline)
                patch.setattr(Pipeline, "predict_proba", lambda _, x: np.full((len(x), 2), 0.5))  # only to be logged
            run_id = candidates.log_candidate(
                run,
                data,
                recipe=Recipe(family=family, parameters=parameters, seed=0, selection=selection),
                study="a study",
                pipeline=pipeline,
                rows=learn,
                reference=compared,
                metrics={"search_score": best_score},
                trials=Trials(()),
            )
        return Candidate(family=family, run=tracked(run_id), search_score=best_score, trials=1)

    def evaluate(self, run: Run, data: SoundTrainingSet, candidate: Candidate) -> Candidate:
        """Evaluate a candidate alone, whatever its gates would say."""
        evaluate.evaluate(run, data, (candidate,))
        return candidate

    def judge(self, run: Run, data: SoundTrainingSet, candidates: list[Candidate]) -> Refitted:
        """Evaluate, then the gates; what is registered then."""
        judged = evaluate.gates(run, evaluate.evaluate(run, data, tuple(candidates)))
        return train.refit(run, govern.approve(run, judged))

    def champion(
        self,
        run: Run,
        data: SoundTrainingSet,
        candidate: Candidate,
        decision_id: str | None = None,
        replaced: int | None = None,
    ) -> int:
        """Register a candidate and make it the champion, whatever its gates would say."""
        passed = gated(run, judged(candidate.run.id, key=data.key, family=candidate.family))
        number = registry.register(run, passed).version
        store.set_champion(self.spec.model, number, last_known_good=None)
        ledger.append(
            Promoted(
                id=f"promotion/{self.spec.model}/{number}",
                model=self.spec.model,
                as_of=run.as_of,
                actor="test",
                reason="",
                version=number,
                replaced=replaced,
                decision_id=decision_id,
            )
        )
        return number

    def versions(self) -> list[int]:
        import mlflow

        registered = mlflow.MlflowClient().search_model_versions(f"name = '{self.spec.model}'")
        return sorted(int(version.version) for version in registered)


@pytest.fixture
def contest(spec: ModelSpec, training_set: Callable[..., SoundTrainingSet]) -> Contest:
    return Contest(spec, training_set)
