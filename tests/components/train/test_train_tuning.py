"""The search on a real Postgres: the same trials whatever the timing, pruning, and what an interruption leaves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import optuna
import pytest

from evergreen.errors import EvidenceMissing, ServiceUnavailable
from evergreen.settings import Settings
from evergreen.settings import settings as evergreen_settings
from evergreen.spec.schema import ModelSpec
from evergreen.train import rules, searching, tuning

from .conftest import run_as_of

Outcomes = list[tuple[str, float | None, dict[str, Any]]]
FOLDS, TRIALS = 3, 12


def bowl(trial: optuna.Trial) -> Iterator[float]:
    """A score for each fold, best at 0.3; a pure function of the parameters."""
    x, y = trial.suggest_float("x", 0, 1), trial.suggest_int("y", 1, 100, log=True)
    for fold in range(FOLDS):
        yield -((x - 0.3) ** 2) - y / 1000 + fold / 100


def slow_bowl(trial: optuna.Trial) -> Iterator[float]:
    for score in bowl(trial):
        time.sleep(0.013 * (trial.number % 3))
        yield score


def outcomes(trials: list[optuna.trial.FrozenTrial]) -> Outcomes:
    return [(trial.state.name, trial.value, trial.params) for trial in trials]


def search(name: str, scores: tuning.Scores = bowl, **options: Any) -> Outcomes:
    return outcomes(tuning.search(name, scores, **{"trials": TRIALS, "seed": 7, "maximize": True} | options))


def test_studies_side_by_side_make_the_trials_that_each_makes_alone(home: Settings) -> None:
    with ThreadPoolExecutor(3) as threads:
        beside = list(threads.map(search, ("beside 0", "beside 1", "beside 2"), (bowl, slow_bowl, bowl)))
    assert beside == [search("alone")] * 3
    assert search("other seed", seed=8) != beside[0]


def test_bad_trials_are_pruned_after_their_first_folds_and_are_never_best(home: Settings) -> None:
    trials = tuning.search("pruned", bowl, trials=TRIALS, seed=7, maximize=True)
    assert len(trials) == TRIALS
    pruned = [trial for trial in trials if trial.state.name == "PRUNED"]
    assert pruned, "something is pruned"
    assert all(len(trial.intermediate_values) < FOLDS for trial in pruned), "pruning saves folds"
    ended = [trial.value for trial in trials if trial.state.name == "COMPLETE"]
    assert max(ended) == max(trial.value for trial in trials)


FIRST = (
    rules.Proposal({"x": 0.9, "y": 7}, "defaults"),
    rules.Proposal({"x": 0.25, "y": 3}, "another study"),
)


def test_a_study_tries_first_what_was_proposed_when_it_was_new(home: Settings) -> None:
    trials = tuning.search("proposed", bowl, trials=TRIALS, seed=7, maximize=True, first=lambda: FIRST)
    assert [trial.params for trial in trials[:2]] == [proposal.parameters for proposal in FIRST]
    assert [tuning.proposer(trial) for trial in trials[:3]] == ["defaults", "another study", "sampler"]
    assert len(trials) == TRIALS

    def later() -> list[rules.Proposal]:
        raise AssertionError("the study is not new")

    again = tuning.search("proposed", bowl, trials=TRIALS + 1, seed=7, maximize=True, first=later)
    assert outcomes(again)[:TRIALS] == outcomes(trials)


def test_the_best_trials_of_a_study_are_those_that_came_to_their_ends(home: Settings) -> None:
    trials = tuning.search("source", bowl, trials=TRIALS, seed=7, maximize=True)
    ended = sorted(
        (trial for trial in trials if trial.state.name == "COMPLETE"), key=lambda trial: -(trial.value or 0.0)
    )
    assert tuning.best("source", 2) == [trial.params for trial in ended[:2]]
    least = tuning.search("least", bowl, trials=TRIALS, seed=7, maximize=False)
    value = min(trial.value or 0.0 for trial in least if trial.state.name == "COMPLETE")
    assert tuning.best("least", 1) == [next(trial.params for trial in least if trial.value == value)]
    assert tuning.best("nowhere", 2) == []


def test_a_finished_study_runs_no_trial_again(home: Settings) -> None:
    def never(trial: optuna.Trial) -> Iterator[float]:
        raise AssertionError("a trial was run")

    first = search("once")
    assert search("once", never) == first
    assert search("once", trials=TRIALS + 2)[:TRIALS] == first, "more trials go on from there"


@pytest.mark.parametrize("breaks_in", [0, 2, 7])
def test_a_trial_that_an_error_ended_is_tried_again_and_the_rest_is_the_same(home: Settings, breaks_in: int) -> None:
    def breaks(trial: optuna.Trial) -> Iterator[float]:
        scores = bowl(trial)
        yield next(scores)
        if trial.number == breaks_in:
            raise RuntimeError("out of memory")
        yield from scores

    with pytest.raises(RuntimeError, match="out of memory"):
        search("broken", breaks)
    assert search("broken") == search("whole")

    def breaks_at_once(trial: optuna.Trial) -> Iterator[float]:
        if trial.number == breaks_in:
            raise RuntimeError("out of memory")
        return bowl(trial)

    with pytest.raises(RuntimeError, match="out of memory"):
        search("broken, of proposals", breaks_at_once, first=lambda: FIRST)
    # What would be proposed now is another thing: the study keeps what it was created with.
    assert search("broken, of proposals", first=tuple) == search("whole, of proposals", first=lambda: FIRST)


def test_an_attempt_that_was_killed_between_a_proposal_and_its_trial_is_continued_with_it(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(study: optuna.Study) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(optuna.Study, "ask", killed)
        with pytest.raises(KeyboardInterrupt):
            search("waiting", first=lambda: FIRST)
    assert search("waiting") == search("not killed", first=lambda: FIRST)


def test_a_model_that_diverges_is_never_the_best_and_alone_is_no_evidence(spec: ModelSpec) -> None:
    def diverges(trial: optuna.Trial) -> Iterator[float]:
        yield float("nan") if trial.suggest_float("x", 0, 1) > 0.3 else 0.5

    trials = tuning.search("some", diverges, trials=TRIALS, seed=7, maximize=True)
    assert {trial.state.name for trial in trials} == {"COMPLETE", "PRUNED"}
    run = run_as_of(spec)
    assert searching.taken(run, "mlp", trials)[0].params["x"] <= 0.3
    with pytest.raises(EvidenceMissing, match="finite predictions"):
        searching.taken(run, "mlp", [trial for trial in trials if trial.params["x"] > 0.3])


def test_a_database_that_goes_away_is_worth_a_retry(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERGREEN_DATABASE", "postgresql://evergreen@127.0.0.1:1")
    evergreen_settings.cache_clear()
    with pytest.raises(ServiceUnavailable):
        search("nowhere")


def test_only_one_process_works_on_a_study_at_a_time(home: Settings) -> None:
    order: list[str] = []

    def waits() -> None:
        with tuning.alone("study"):
            order.append("second")

    with ThreadPoolExecutor(1) as threads:
        with tuning.alone("study"):
            second = threads.submit(waits)
            with tuning.alone("another study"):
                order.append("another is free")
            time.sleep(0.3)
            order.append("first")
        second.result(timeout=20)
    assert order == ["another is free", "first", "second"]
