"""The training loop without Airflow, call after call as the jobs of a workflow:
to a verdict, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from evergreen.errors import EvidenceMissing, RunError
from evergreen.handovers.labels import Labelled
from evergreen.handovers.train import SoundTrainingSet, TrainingSet
from evergreen.loops import inline
from evergreen.loops.inline import Skipped
from evergreen.registry import store
from evergreen.run import Run
from evergreen.settings import settings
from evergreen.spec.schema import ModelSpec

from .conftest import run_as_of


@pytest.fixture
def run(spec: ModelSpec, training_set: Callable[..., SoundTrainingSet]) -> Run:
    """A run whose labels are there and whose training set an earlier job has built and validated."""
    this_run = inline.of(spec, run_as_of(spec).interval)
    folder = settings().home / "runs" / spec.model / "train" / this_run.run_id
    folder.mkdir(parents=True)
    sound = training_set(this_run)
    built = TrainingSet(**{name: getattr(sound, name) for name in TrainingSet.model_fields})
    for stage, kept in (("labels", Labelled(partitions={})), ("build", built), ("validate_training", sound)):
        (folder / f"{stage}.json").write_text(json.dumps(kept.to_json()))
    return this_run


def _with_gates(run: Run, **gates: Any) -> Run:
    return replace(run, spec=run.spec.model_copy(update={"gates": run.spec.gates.model_copy(update=gates)}))


def test_a_verdict_decides_what_the_next_job_does(run: Run) -> None:
    tuned = inline.run(run, "train", first="tune", last="tune")["tune"]
    assert [one.family for one in tuned] == list(run.spec.families)
    assert inline.run(run, "train", first="evaluate", last="gates")["gates"].passed is True

    with pytest.raises(EvidenceMissing, match="deciding the gates"):
        inline.run(_with_gates(run, minimum_rows=1_000_000), "train", first="gates", last="gates")
    with pytest.raises(RunError, match="no result of gates"):  # an older verdict counts no more
        inline.run(run, "train", first="register")

    hard = _with_gates(run, better_than_baseline=0.49)
    assert inline.run(hard, "train", first="gates", last="gates")["gates"].passed is False
    results = inline.run(hard, "train", first="approve")
    assert list(results) == ["approve", "refit", "register", "card", "probe", "deploy", "describe"]
    promoting = [results[stage] for stage in ("register", "probe", "deploy")]
    assert all(isinstance(each, Skipped) and each.reason.startswith("not promoted") for each in promoting)
    assert store.champion(run.spec.model) is None

    inline.run(run, "train", first="gates", last="refit")
    registered = inline.run(run, "train", first="register", last="register")["register"]
    again = inline.run(run, "train", first="register", last="register")["register"]
    assert registered.version == 1 and registered == again, "one version, however often the job runs"
