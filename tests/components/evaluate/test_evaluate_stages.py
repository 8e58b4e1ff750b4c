"""Evaluation and gates on real candidates in a real MLflow:
who is compared with whom, and that nothing unknown passes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from sklearn.pipeline import Pipeline

from evergreen.errors import EvidenceMissing, StageSkipped
from evergreen.evaluate import stages
from evergreen.govern import stages as govern
from evergreen.handovers.gate import Gate
from evergreen.handovers.train import Candidate, Judged, SoundTrainingSet
from evergreen.history import events, ledger, story
from evergreen.links import Link
from evergreen.model import importance, rows
from evergreen.model.metrics import score
from evergreen.registry import artifacts, pipelines, records, restoring, store
from evergreen.registry import stages as registry
from evergreen.run import Run
from evergreen.spec.gates import BetterThanChampion
from evergreen.spec.problem import Binary
from evergreen.spec.schema import ModelSpec
from evergreen.train import stages as train
from tests import handovers
from tests.components.train.conftest import DAYS, at, rows_of

from .conftest import Contest, Json, run_as_of


def artifact(run_id: str, name: str) -> Json:
    content: Json = json.loads(artifacts.read(records.candidate(run_id), name))
    return content


def gate(judged: Judged, name: str) -> Gate:
    (one,) = (each for each in judged.gates if each.name == name)
    return one


def with_gates(spec: ModelSpec, **changes: Any) -> ModelSpec:
    return spec.model_copy(update={"gates": spec.gates.model_copy(update=changes)}).at(spec.folder)


def test_the_first_candidate_has_no_champion_says_so_and_becomes_version_1(contest: Contest) -> None:
    run = run_as_of(contest.spec)
    data = contest.data(run)
    candidate = contest.candidate(run, data)
    evaluated = stages.evaluate(run, data, (candidate,))
    assert evaluated.champion is None
    later = rows.read(run.spec, data, "evaluate")
    assert evaluated.rows == len(later.labels)
    assert evaluated.rows_of_class == {"1": later.labels.sum(), "0": (later.labels == 0).sum()}
    answers = pipelines.pipeline(candidate.run.id).predict_proba(later.inputs)[:, 1]
    assert evaluated.best.scores == score(run.spec.problem, later.labels, answers), "scored on the evaluation rows"
    assert evaluated.baseline["roc_auc"] == 0.5

    gated = stages.gates(run, evaluated)
    assert gated.passed, gated.reason
    assert gate(gated, "better than the champion").reason == "there is no champion yet"
    assert artifact(candidate.run.id, "gates.json")["verdict"] == "pass"
    evaluation = artifact(candidate.run.id, "evaluation.json")
    assert evaluation["value"] == evaluated.best.scores["roc_auc"]
    logged = mlflow.get_run(candidate.run.id).data
    assert {logged.metrics[f"evaluation_{name}"] for name in Binary().metrics} == set(evaluated.best.scores.values())
    assert logged.tags["evergreen.verdict"] == "pass"
    assert gated.links() == {Link.MLFLOW_RUN: candidate.run.page, Link.GATE_REPORT: gated.report}
    assert evaluated.links() == {Link.MLFLOW_RUN: candidate.run.page}
    assert gated.score == evaluated.best.scores["roc_auc"]
    assert registry.register(run, train.refit(run, govern.approve(run, gated))).version == 1
    again = stages.gates(run, stages.evaluate(run, data, (candidate,)))
    assert again == gated, "judged again before anything was promoted, it is judged the same"


def test_no_training_fails_with_what_it_leans_on(
    contest: Contest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("an input may not change its place")

    monkeypatch.setattr(importance, "of", broken)
    run = run_as_of(contest.spec)
    data = contest.data(run)
    evaluated = stages.evaluate(run, data, (contest.candidate(run, data),))
    assert evaluated.importances == () and evaluated.best.scores["roc_auc"] is not None
    assert "leans on cannot be said" in caplog.text


def test_the_champion_is_scored_again_on_the_rows_of_the_candidate(contest: Contest) -> None:
    earlier, run = run_as_of(contest.spec, 16), run_as_of(contest.spec)
    old = contest.data(earlier)
    weak = contest.candidate(earlier, old, noise=0.42)
    contest.judge(earlier, old, [weak])
    number = contest.champion(earlier, old, weak)

    data = contest.data(run)
    evaluated = stages.evaluate(run, data, (contest.candidate(run, data),))
    champion, later = evaluated.champion, rows.read(run.spec, data, "evaluate")
    assert champion is not None and champion.scores is not None
    assert (champion.version, champion.problem, champion.is_candidate) == (number, "", False)
    answers = pipelines.pipeline(weak.run.id).predict_proba(later.inputs)[:, 1]
    assert champion.scores == pytest.approx(score(run.spec.problem, later.labels, answers))
    assert champion.scores != artifact(weak.run.id, "evaluation.json")["scores"], "not what it once scored"
    comparison, ours, theirs = champion.comparison, evaluated.best.scores["roc_auc"], champion.scores["roc_auc"]
    assert comparison is not None and ours is not None and theirs is not None
    assert comparison.gain == ours - theirs and comparison.low is not None and comparison.high is not None
    assert comparison.low < comparison.gain < comparison.high
    assert (comparison.rows, comparison.groups) == (len(later.labels), len(np.unique(later.keys)))
    gated = stages.gates(run, evaluated)
    assert gated.passed, gated.reason
    assert registry.register(run, train.refit(run, govern.approve(run, gated))).version == number + 1


@pytest.mark.parametrize(("metric", "chosen"), [("roc_auc", "gradient_boosting"), ("log_loss", "logistic_regression")])
def test_the_best_is_the_one_that_the_time_folds_prefer_and_not_the_evaluation_rows(
    contest: Contest, metric: str, chosen: str
) -> None:
    spec = contest.spec.model_copy(update={"search": contest.spec.search.model_copy(update={"metric": metric})})
    run = run_as_of(spec.at(contest.spec.folder))
    data = contest.data(run)
    candidates = [
        contest.candidate(run, data, "gradient_boosting", best_score=0.8, noise=0.7 if metric == "roc_auc" else 0.0),
        contest.candidate(run, data, "logistic_regression", best_score=0.7, noise=0.7 if metric == "log_loss" else 0.0),
    ]
    for order in (candidates, candidates[::-1]):
        evaluated = stages.evaluate(run, data, tuple(order))
        scores = {each.family: each.scores["roc_auc"] or 0.0 for each in evaluated.candidates}
        assert min(scores, key=lambda family: scores[family]) == chosen, (
            "the case: the evaluation rows prefer the other"
        )
        assert evaluated.best.family == chosen


def test_a_candidate_that_is_not_better_is_a_good_run_that_registers_nothing(contest: Contest) -> None:
    earlier, run = run_as_of(contest.spec, 18), run_as_of(contest.spec)
    old = contest.data(earlier)
    contest.champion(earlier, old, contest.candidate(earlier, old))
    data = contest.data(run)
    gated = contest.judge(run, data, [contest.candidate(run, data, noise=0.3)])
    assert not gated.passed
    with pytest.raises(StageSkipped, match=r"not promoted: .*better than the champion: roc_auc 0"):
        registry.register(run, gated)
    assert contest.versions() == [1]


def test_a_hand_over_alone_makes_no_gate_pass(contest: Contest) -> None:
    earlier, run = run_as_of(contest.spec, 18), run_as_of(contest.spec)
    old = contest.data(earlier)
    contest.champion(earlier, old, contest.candidate(earlier, old))
    data = contest.data(run)
    worse = contest.candidate(run, data, noise=0.3)
    with pytest.raises(EvidenceMissing, match="no gates of it in the ledger"):
        registry.register(run, handovers.judged(worse.run.id, key=data.key, family=worse.family))
    forged = contest.judge(run, data, [worse]).model_copy(update={"passed": True})
    with pytest.raises(EvidenceMissing, match=r"in the ledger: better than the champion: roc_auc 0") as refused:
        registry.register(run, forged)
    assert "clear `gates`" in refused.value.next_step
    assert contest.versions() == [1]


def test_a_rerun_of_the_champions_training_finds_nothing_new(contest: Contest) -> None:
    run = run_as_of(contest.spec)
    data = contest.data(run)
    candidate = contest.candidate(run, data)
    contest.champion(run, data, candidate)
    gated = contest.judge(run, data, [candidate])
    assert not gated.passed
    assert "the candidate is the champion already" in gated.reason
    with pytest.raises(StageSkipped):
        registry.register(run, gated)
    assert contest.versions() == [1]


def test_a_candidate_older_than_the_champion_is_refused_twice(contest: Contest) -> None:
    """By its gates; and by the registry too, should a newer champion come between."""
    newer, run = run_as_of(contest.spec), run_as_of(contest.spec, 17)
    data = contest.data(run)
    candidate = contest.candidate(run, data)
    before = contest.judge(run, data, [candidate])
    assert before.passed, "there was no champion yet"
    new = contest.data(newer)
    contest.champion(newer, new, contest.candidate(newer, new, noise=0.42))
    gated = contest.judge(run, data, [candidate])
    assert (gated.passed, gate(gated, "not older than the champion").verdict) == (False, "fail")
    assert gate(gated, "better than the champion").verdict == "pass", "it is refused for its age alone"
    for passed in (gated, before):
        with pytest.raises(StageSkipped, match="champion"):
            registry.register(run, passed)
    assert contest.versions() == [1]


def refused(
    contest: Contest, run: Run, data: SoundTrainingSet, candidate: Candidate, because: str, versions: list[int]
) -> None:
    """The gates end red for the reason; nothing is registered, the champion stays, the verdict is kept."""
    champion = store.champion(contest.spec.model)
    with pytest.raises(EvidenceMissing) as raised:
        contest.judge(run, data, [candidate])
    assert because in raised.value.found
    assert contest.versions() == versions
    assert store.champion(contest.spec.model) == champion
    gates = artifact(candidate.run.id, "gates.json")
    assert gates["verdict"] == "no evidence" and because in gates["reason"]
    assert mlflow.get_run(candidate.run.id).data.tags["evergreen.verdict"] == "no evidence"


def test_too_few_rows_of_any_kind_are_no_evidence(contest: Contest) -> None:
    run = run_as_of(contest.spec)
    data = contest.data(run)
    candidate = contest.candidate(run, data)
    for changes, because in (
        ({"minimum_rows": 10_000}, "only 180 of at least 10000"),
        ({"minimum_positives": 170}, "rows of the rarer class"),
    ):
        refused(contest, run_as_of(with_gates(contest.spec, **changes)), data, candidate, because, [])


def test_metrics_that_are_not_defined_on_the_rows_are_no_evidence(contest: Contest) -> None:
    """Evaluation rows of one class; bounds that would let everything pass."""
    run = run_as_of(with_gates(contest.spec, minimum_rows=1, minimum_positives=1, better_than_baseline=0.0))
    from tests.components.train.conftest import rows_of

    frame = rows_of(range(20))
    frame.loc[frame["event_timestamp"] > frame["event_timestamp"].max() - np.timedelta64(6, "D"), "left"] = 0
    data = contest.data(run, frame)
    refused(contest, run, data, contest.candidate(run, data), "roc_auc could not be computed", [])


def answer_nan(pipeline: Pipeline) -> None:
    for name in ("coef_", "intercept_"):
        setattr(pipeline[-1], name, getattr(pipeline[-1], name) * np.nan)


def lose_classes(pipeline: Pipeline) -> None:
    """As a model of another version of a library may: an attribute that today's code asks for is not there."""
    del pipeline[-1].classes_


def test_a_candidate_that_answers_nan_is_no_evidence(contest: Contest) -> None:
    run = run_as_of(contest.spec)
    data = contest.data(run)
    broken = contest.candidate(run, data, "logistic_regression", damage=answer_nan)
    refused(contest, run, data, broken, "roc_auc could not be computed", [])


def overwrite(champion: Candidate, tmp_path: Path) -> None:
    """Leave of a logged model, and of its graph, only files that are no model."""
    uri = mlflow.get_run(champion.run.id).data.tags["evergreen.model_uri"]
    folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path)))
    (folder / "model.skops").write_bytes(b"damaged")
    mlflow.MlflowClient().log_model_artifacts(uri.removeprefix("models:/"), str(folder))
    (tmp_path / "model.onnx").write_bytes(b"damaged")
    mlflow.MlflowClient().log_artifact(champion.run.id, str(tmp_path / "model.onnx"))


def test_a_champion_that_cannot_be_loaded_is_no_reason_to_promote_another(contest: Contest, tmp_path: Path) -> None:
    earlier, run = run_as_of(contest.spec, 18), run_as_of(contest.spec)
    old, data = contest.data(earlier), contest.data(run)
    champion = contest.candidate(earlier, old)
    number = contest.champion(earlier, old, champion)
    overwrite(champion, tmp_path)
    because = f"the champion could not be scored: champion, version {number}: ArtifactUntrusted"
    refused(contest, run, data, contest.candidate(run, data), because, [number])


@pytest.mark.parametrize(
    ("damage", "because"),
    [
        (answer_nan, "roc_auc could not be computed for both"),
        (lose_classes, "the champion could not be scored: champion, version 1: AttributeError"),
    ],
)
def test_a_champion_that_cannot_answer_is_no_reason_to_promote_another(
    contest: Contest, damage: Callable[[Pipeline], None], because: str
) -> None:
    earlier, run = run_as_of(contest.spec, 18), run_as_of(contest.spec)
    old, data = contest.data(earlier), contest.data(run)
    contest.champion(earlier, old, contest.candidate(earlier, old, "logistic_regression", damage=damage))
    refused(contest, run, data, contest.candidate(run, data), because, [1])


def test_a_champion_that_learned_from_other_columns_is_asked_on_those_as_the_server_asks_it(contest: Contest) -> None:
    """Of `city`, which is no longer computed, nothing is known: the champion can be beaten, and is no dead end."""
    wider = contest.spec.features["activity"].model_copy(
        update={"features": {**contest.spec.features["activity"].features, "city": "category"}}
    )
    before = contest.spec.model_copy(update={"features": {"activity": wider}}).at(contest.spec.folder)
    earlier, run = run_as_of(before, 18), run_as_of(contest.spec)
    from tests.components.train.conftest import rows_of

    old = contest.data(earlier, rows_of(range(20)).assign(city="Graz"))
    contest.champion(earlier, old, contest.candidate(earlier, old))
    data = contest.data(run)
    gated = contest.judge(run, data, [contest.candidate(run, data)])
    assert gated.compared_with == 1
    compared = next(gate for gate in gated.gates if "champion" in gate.name)
    assert compared.verdict in ("pass", "fail") and isinstance(compared.observed, float), compared


@pytest.mark.parametrize("gone", ["alias", "version"])
def test_a_champion_that_is_gone_in_mlflow_is_no_evidence_until_it_is_given_back(contest: Contest, gone: str) -> None:
    """Two clicks in MLflow: once, an older training was promoted uncompared after them."""
    earlier, run = run_as_of(contest.spec, 18), run_as_of(contest.spec)
    old, data = contest.data(earlier), contest.data(run)
    number = contest.champion(earlier, old, contest.candidate(earlier, old, noise=0.4))
    candidate = contest.candidate(run, data)
    person = mlflow.MlflowClient()
    if gone == "alias":
        person.delete_registered_model_alias(contest.spec.model, "champion")
    else:
        person.delete_model_version(contest.spec.model, str(number))
    restore = f"`evergreen registry restore {contest.spec.model}` gives it back"
    with pytest.raises(EvidenceMissing) as refused:
        contest.judge(run, data, [candidate])
    assert (
        restore in refused.value.found and f"evergreen retire {contest.spec.model} {number}" in refused.value.next_step
    )
    restoring.restore(contest.spec.model, actor="ada")
    judged = contest.judge(run, data, [candidate])
    assert (judged.compared_with, gate(judged, "better than the champion").verdict) == (number, "pass")


def test_every_gate_stands_in_the_ledger_and_so_does_a_training_that_is_not_better(contest: Contest) -> None:
    earlier, run = run_as_of(contest.spec, 18), run_as_of(contest.spec)
    old, data = contest.data(earlier), contest.data(run)
    number = contest.champion(earlier, old, contest.candidate(earlier, old))
    bad = contest.candidate(run, data, noise=0.5)
    for _ in range(2):
        judged = contest.judge(run, data, [bad])
    assert not judged.passed
    entries = ledger.entries(contest.spec.model)
    every = [entry.event for entry in entries if isinstance(entry.event, events.Judged)]
    recorded = [each for each in every if each.run_id == bad.run.id]
    assert [(each.gate, each.verdict, each.reason, each.observed) for each in recorded] == [
        (each.name, each.verdict, each.reason, each.observed) for each in judged.gates
    ], "each gate, once"
    assert {(each.run_id, each.actor, each.compared_with, each.judgement) for each in recorded} == {
        (bad.run.id, run.actor, number, 1)
    }
    (not_better,) = [entry.event for entry in entries if isinstance(entry.event, events.NotBetter)]
    assert (not_better.reason, not_better.compared_with) == (judged.reason, number)
    other = with_gates(contest.spec, minimum_rows=10**6)
    with pytest.raises(EvidenceMissing):
        stages.gates(dataclasses.replace(run, spec=other), stages.evaluate(run, data, (bad,)))
    again = story.judgement(ledger.entries(contest.spec.model), bad.run.id)
    assert {each.judgement for each in again} == {2} and any(each.verdict == "no evidence" for each in again)


@pytest.mark.parametrize(
    ("after_change", "champion", "noise", "verdict"),
    [
        (False, "logistic_regression", 0.0, "pass"),
        (True, "logistic_regression", 0.0, "fail"),
        (True, "gradient_boosting", 0.48, "pass"),
    ],
    ids=["equal, fresher", "equal, after a change", "better, after a change"],
)
def test_planted_candidates_are_judged_with_an_interval_that_log_ledger_and_mlflow_tell(
    contest: Contest,
    after_change: bool,
    champion: str,
    noise: float,
    verdict: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One that is as good as the champion is promoted where fresher is enough, and not where it must be better."""
    spec = with_gates(contest.spec, better_than_champion=BetterThanChampion(margin=0.03))
    frame = rows_of(range(DAYS), customers=600)
    earlier = run_as_of(spec, DAYS - 2)
    run = run_as_of(spec, changed_at=at(DAYS - 8) if after_change else None)
    old, data = contest.data(earlier, frame), contest.data(run, frame)
    number = contest.champion(earlier, old, contest.candidate(earlier, old, champion, noise=noise))
    candidate = contest.candidate(run, data, "logistic_regression")
    caplog.set_level("INFO", "evergreen")
    judged = contest.judge(run, data, [candidate])
    told = gate(judged, "better than the champion")
    assert told.verdict == verdict, told.reason
    assert judged.compared_with == number and told.low is not None and told.high is not None
    assert told.observed is not None and told.low < told.observed < told.high
    assert (told.low > 0) == (noise > 0), "surely better is the one that is planted so, and no other"
    (line,) = [each for each in caplog.messages if each.startswith("better than the champion")]
    assert f"{told.low:.4f}".rstrip("0") in line and f"{told.high:.4f}".rstrip("0") in line and verdict in line
    recorded = [entry.event for entry in ledger.entries(spec.model) if isinstance(entry.event, events.Judged)]
    (in_ledger,) = [each for each in recorded if each.gate == told.name]
    (in_mlflow,) = [each for each in artifact(candidate.run.id, "gates.json")["gates"] if each["name"] == told.name]
    kept = (told.verdict, told.observed, told.low, told.high, told.rows)
    assert kept == (in_ledger.verdict, in_ledger.observed, in_ledger.low, in_ledger.high, in_ledger.rows)
    assert kept == tuple(in_mlflow[name] for name in ("verdict", "observed", "low", "high", "rows"))
