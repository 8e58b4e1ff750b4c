"""A candidate that passed its gates is fitted anew on all mature rows: with real Postgres, MLflow and a lake."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evergreen.evaluate import stages as evaluation
from evergreen.govern import card, carding
from evergreen.govern import stages as govern
from evergreen.handovers.gate import number
from evergreen.handovers.train import Approved, Refitted, SoundTrainingSet
from evergreen.history import events, ledger, story, timeline
from evergreen.model import families, rows
from evergreen.model.rows import predict
from evergreen.registry import artifacts, loading, pipelines, records, store
from evergreen.registry import stages as registry
from evergreen.registry.contents import Evaluation, Fitting, Reference, Refit, Sample, Trials
from evergreen.registry.tags import Tag
from evergreen.run import Run
from evergreen.settings import PROJECT, Settings, settings
from evergreen.spec.schema import ModelSpec
from evergreen.train import records as training_sets
from evergreen.train import refitting, stages
from evergreen.train.rebuilding import rebuild

from .conftest import DAYS, at, run_as_of, spec_in
from .history import HORIZON, feature, label, publish, telling

CUSTOMERS = 40
FAMILY = "gradient_boosting"


@pytest.fixture
def learnable(home: Settings, mlflow_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """A model with a history that tells something of its label; every candidate of it is refitted."""
    monkeypatch.setenv("EVERGREEN_MLFLOW_URL", mlflow_url)
    settings.cache_clear()
    spec = spec_in(
        tmp_path / "model",
        model=f"m_{home.database_prefix}refitted".replace("__", "_"),
        families={FAMILY: {"max_iter": [5, 15]}},
        search={"trials": 2, "seed": 7},
        gates={
            "minimum_rows": 20,
            "minimum_positives": 5,
            "floor": {"roc_auc": 0.6},
            "better_than_champion": {"margin": 0.2},  # which two days of rows can tell, whatever a search finds
        },
        refit=True,
    )
    publish(spec, *telling(CUSTOMERS))
    return spec


def judged(run: Run) -> tuple[SoundTrainingSet, Approved]:
    """A training up to its gates, and the approval that its risk does not ask for."""
    data = SoundTrainingSet(**dict(stages.build(run)), page="http://reports.test/", warnings=())
    candidates = tuple(stages.tune(run, data, family) for family in run.spec.families)
    return data, govern.approve(run, evaluation.gates(run, evaluation.evaluate(run, data, candidates)))


def runs_of(key: str) -> dict[str, str]:
    import mlflow

    client = mlflow.MlflowClient(settings().mlflow_url)
    experiments = [each.experiment_id for each in client.search_experiments()]
    return {run.info.run_id: run.info.status for run in client.search_runs(experiments, f"tags.`{Tag.KEY}` = '{key}'")}


def test_what_passed_its_gates_is_fitted_on_all_mature_rows_and_registered_with_both_fits(learnable: ModelSpec) -> None:
    import mlflow

    spec, run = learnable, run_as_of(learnable)
    data, passed = judged(run)
    assert passed.passed, passed.reason
    plain = run_as_of(spec.model_copy(update={"refit": False}))
    for this, verdict in ((run, passed.model_copy(update={"passed": False})), (plain, passed)):
        as_judged = stages.refit(this, verdict)
        assert (as_judged.refit, as_judged.run, as_judged.key) == (None, passed.run, passed.key)
    assert runs_of(f"{data.key}-refit") == {}, "nothing is fitted where nothing passed, or nothing is asked for"

    fitted = stages.refit(run, passed)
    made = fitted.refit
    assert made is not None and made.chosen, made
    assert fitted.run == made.run != fitted.gated == passed.run

    # all mature rows: those between the two parts too, which the split keeps apart
    mature = [day for day in range(DAYS) if at(day + HORIZON) <= run.as_of and at(day) >= data.learn.start]
    assert made.rows == len(mature) * CUSTOMERS > data.staged.rows
    assert made.learned_to == at(mature[-1]) == data.evaluate.end

    # both fits are in MLflow, one below the other, and which one serves is plain
    client = mlflow.MlflowClient(settings().mlflow_url)
    tags = {each: client.get_run(each).data.tags for each in (fitted.gated.id, made.run.id)}
    assert tags[made.run.id]["mlflow.parentRunId"] == tags[made.run.id][Tag.GATED_RUN] == fitted.gated.id
    assert [tags[each][Tag.FIT] for each in tags] == ["gated, not registered", "refit, registered"]
    for each in tags:
        kept = artifacts.load(records.candidate(each), Refit)
        assert (kept.gated, kept.refit, kept.chosen, kept.rows) == (fitted.gated.id, made.run.id, True, made.rows)
        assert {check["name"] for check in kept.checks} == {check.name for check in made.checks}

    registered = registry.register(run, fitted)
    version = records.version(spec.model, registered.version)
    assert (version.run_id, version.key) == (made.run.id, fitted.key)
    entries = ledger.entries(spec.model)
    (event,) = [each.event for each in entries if isinstance(each.event, events.Registered)]
    assert (event.run_id, event.gated) == (made.run.id, fitted.gated.id)
    (refitted,) = [each.event for each in entries if isinstance(each.event, events.Refitted)]
    assert (refitted.chosen, refitted.rows, refitted.learned_to) == (True, made.rows, made.learned_to)
    assert len(story.gates(entries, registered.version)) == len(passed.gates), "of the fit that they judged"

    # what the monitor compares with: the gated fit on the rows that were held out from it
    reference = artifacts.load(records.candidate(made.run.id), Reference).rows
    held_out = rows.read(spec, data, "evaluate")
    answers = predict(pipelines.pipeline(fitted.gated.id), held_out.inputs)
    assert (reference["prediction"].to_numpy() == answers).all() and len(reference) == data.evaluate.rows
    gated = artifacts.load(records.candidate(fitted.gated.id), Evaluation)
    assert artifacts.load(records.candidate(made.run.id), Evaluation) == gated, "its own scores would be in-sample"
    # what the probe asks: the refit's own answers
    sample = artifacts.load(records.candidate(made.run.id), Sample).rows
    asked = rows.inputs(spec.feature_types, pd.DataFrame([row.features for row in sample]))
    np.testing.assert_allclose(
        loading.load(spec.model, registered.version).predict(asked),
        [row.prediction for row in sample],
        rtol=0,
        atol=1e-12,
    )

    # the card: what the search cost beside the refit, and what the judged fit leans on
    searched, again = (artifacts.load(records.candidate(each), Fitting) for each in (fitted.gated.id, made.run.id))
    text = card.paper(run, carding.facts_of(run, registered.version)).markdown()
    assert f"| Rows | {searched.rows:,} | {again.rows:,} |" in text and searched.rows < again.rows == made.rows
    assert f"| Processor | {searched.cpu_seconds:.1f} s | {again.cpu_seconds:.1f} s |" in text
    first = gated.importances[0]
    assert {each.input for each in gated.importances} == set(spec.feature_types)
    assert f"| {first.input} | {number(first.loss)} |".replace("_", "\\_") in text

    # the same training once more finds its refit and its version
    again = run_as_of(spec)
    assert stages.refit(again, passed) == fitted
    assert registry.register(again, fitted).version == registered.version
    assert list(runs_of(fitted.key).values()) == ["FINISHED"]
    assert [entry.event for entry in ledger.entries(spec.model)] == [entry.event for entry in entries]
    # what is done for it is no search, with which the next one would begin, and no other data of the same moment
    assert stages.build(again).differs is None
    from evergreen.registry import tracking

    assert tracking.last_key(spec.model, FAMILY, before=run.as_of + timedelta(days=1)) == data.key


def test_a_version_that_was_refitted_is_rebuilt_and_fitted_again_bit_for_bit(learnable: ModelSpec) -> None:
    spec, run = learnable, run_as_of(learnable)
    _data, passed = judged(run)
    fitted = stages.refit(run, passed)
    number = registry.register(run, fitted).version
    publish(spec, [feature("c1", at(3), -5.0)], [label("c1", at(3), 1)])  # what the lake says now is no matter

    rebuilt = rebuild(spec.model, number)
    assert rebuilt.record.key == fitted.key and rebuilt.data.rows.num_rows == fitted.refit.rows  # type: ignore[union-attr]
    learned = rows.of(spec, rebuilt.data.rows.to_pandas())
    trials = artifacts.load(records.candidate(fitted.run.id), Trials).root
    best = next(each for each in trials if each.taken)
    anew = families.build(FAMILY, dict(best.parameters), spec.feature_types, spec.search.seed).fit(
        learned.inputs, learned.labels
    )
    registered = predict(pipelines.pipeline(records.version(spec.model, number).run_id), learned.inputs)
    assert (predict(anew, learned.inputs) == registered).all()
    assert not (predict(pipelines.pipeline(fitted.gated.id), learned.inputs) == registered).all()
    assert training_sets.pins(spec.model) == {number: rebuilt.record.pins}, "no clean-up removes what it needs"


def test_a_refit_that_is_too_far_from_the_judged_fit_is_not_registered(
    learnable: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels that are turned round: a fit that went wrong."""
    spec, run, learn = learnable, run_as_of(learnable), refitting.learn
    _, passed = judged(run)

    def turned_round(run: Run, key: str) -> Any:
        whole = learn(run, key)
        return dataclasses.replace(whole, learned=dataclasses.replace(whole.learned, labels=1 - whole.learned.labels))

    monkeypatch.setattr(refitting, "learn", turned_round)
    fitted = stages.refit(run, passed)
    assert fitted.refit is not None and not fitted.refit.chosen
    assert "the gated fit is registered, not its refit" in fitted.refit.reason
    assert "of its gain over the baseline lost, at most 10.0%" in fitted.refit.reason
    assert (fitted.run, fitted.key) == (passed.run, passed.key)
    number = registry.register(run, fitted).version
    assert records.version(spec.model, number).run_id == passed.run.id
    assert artifacts.load(records.candidate(fitted.refit.run.id), Refit).chosen is False, "MLflow has both"
    (told,) = [text for _, text in timeline.lines(ledger.entries(spec.model)) if "refitted" in text]
    assert fitted.refit.reason in told


@pytest.mark.long
def test_killed_at_any_instant_and_run_again_it_ends_the_same(
    learnable: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By SIGKILL while the refit is being logged, then by an error at each step after that."""
    from evergreen.registry import tracking

    run = run_as_of(learnable)
    data, passed = judged(run)
    key = f"{data.key}-refit"
    given = tmp_path / "given.pickle"
    given.write_bytes(pickle.dumps((run, passed)))
    command = [sys.executable, str(Path(__file__).with_name("refit_alone.py")), str(given)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": str(PROJECT / "include")}
        )
    deadline = time.monotonic() + 200
    while "RUNNING" not in runs_of(key).values():
        assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=20) == -signal.SIGKILL
    (half_written,) = runs_of(key)

    real, fitted = tracking.record, None
    for allowed in range(4):
        left = iter(range(allowed))

        def record(*given: Any, left: Any = left, **named: Any) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            real(*given, **named)

        monkeypatch.setattr(tracking, "record", record)
        try:
            fitted = stages.refit(run, passed)
        except KeyboardInterrupt:
            assert allowed < 3
    assert isinstance(fitted, Refitted) and fitted.refit is not None and fitted.refit.chosen
    assert runs_of(key) == {half_written: "KILLED", fitted.run.id: "FINISHED"}
    assert sum(isinstance(entry.event, events.Refitted) for entry in ledger.entries(learnable.model)) == 1


def champion(run: Run, fitted: Refitted) -> None:
    """Register a fit, and let it be the champion."""
    number = registry.register(run, fitted).version
    store.set_champion(run.spec.model, number, last_known_good=None)
    promoted = events.Promoted(
        id=f"promotion/{number}",
        model=run.spec.model,
        as_of=run.as_of,
        actor="test",
        reason="",
        version=number,
        replaced=None,
    )
    ledger.append(promoted)


def test_a_refitted_champion_is_compared_only_on_rows_from_after_its_last_one(learnable: ModelSpec) -> None:
    from evergreen.errors import EvidenceMissing

    first = run_as_of(learnable, DAYS - 4)
    _data, passed = judged(first)
    fitted = stages.refit(first, passed)
    champion(first, fitted)
    assert fitted.refit is not None

    def compared(run: Run) -> Any:
        data = SoundTrainingSet(**dict(stages.build(run)), page="http://reports.test/", warnings=())
        candidates = tuple(stages.tune(run, data, family) for family in run.spec.families)
        evaluated = evaluation.evaluate(run, data, candidates)
        assert evaluated.champion is not None and evaluated.champion.since is not None
        since = evaluated.champion.since
        assert since.after == fitted.refit.learned_to
        later = rows.read(run.spec, data, "evaluate")
        there = (later.frame["event_timestamp"] > since.after).to_numpy()
        assert since.rows == there.sum() < len(there)
        version = records.version(run.spec.model, 1)
        answers = predict(pipelines.pipeline(version.run_id), later.inputs.loc[there])
        from evergreen.model.metrics import score

        assert evaluated.champion.scores == pytest.approx(score(run.spec.problem, later.labels[there], answers))
        return evaluated

    run = run_as_of(learnable, DAYS - 2)
    evaluated = compared(run)
    assert evaluated.champion.since.rows == 2 * CUSTOMERS and evaluated.rows > 2 * CUSTOMERS
    (against,) = [gate for gate in evaluation.gates(run, evaluated).gates if gate.name == "better than the champion"]
    assert against.verdict != "no evidence" and "on the same rows" in against.reason

    stricter = learnable.gates.model_copy(update={"minimum_rows": 3 * CUSTOMERS})
    run = run_as_of(learnable.model_copy(update={"gates": stricter}), DAYS - 2)
    with pytest.raises(EvidenceMissing, match="only 80 of at least 120 rows are from after 2026-01-16"):
        evaluation.gates(run, compared(run))

    again = run_as_of(learnable, DAYS - 4)
    assert "the candidate is the champion already" in judged(again)[1].reason


def test_what_a_refitted_version_needs_is_no_candidate_to_be_removed(learnable: ModelSpec) -> None:
    from evergreen.housekeeping import jobs

    spec = learnable.model_copy(
        update={"retention": learnable.retention.model_copy(update={"candidates": timedelta(days=1)})}
    )
    first = run_as_of(spec, DAYS - 4)
    data, passed = judged(first)
    fitted = stages.refit(first, passed)
    registry.register(first, fitted)
    run = run_as_of(spec)
    data, passed = judged(run)
    house = jobs.House(spec.name, None, spec, (spec,))
    assert jobs.candidates(house, apply=True) == [], "the fit that its gates judged is part of the version"
    assert runs_of(data.key) and records.find_candidate(fitted.gated.id) is not None
