"""Fairness, behaviour, noise and leaks: each a gate with its verdict, bound, interval and reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from evergreen.errors import ModelUnloadable
from evergreen.evaluate import leaks, looking, noise, packaged, stages
from evergreen.handovers.gate import Gate
from evergreen.model import fairness, rows
from evergreen.model.rows import Rows
from evergreen.registry import loading
from evergreen.spec.behaviour import Behaviour
from evergreen.spec.fairness import Fairness
from evergreen.spec.gates import Gates
from evergreen.spec.leaning import Leaks, Noise
from evergreen.spec.packaged import Packaged
from evergreen.spec.schema import ModelSpec
from tests.components.train.conftest import rows_of, spec_in

from .conftest import Contest, run_as_of
from .test_evaluate_stages import artifact


def chance(inputs: pd.DataFrame) -> np.ndarray:
    """The world's own probabilities, which are a perfect model of it."""
    odds = (inputs["minutes"].fillna(30) - 30) / 5 + (inputs["plan"] == "pro")
    told: np.ndarray = (1 / (1 + np.exp(odds))).to_numpy()
    return told


def candidate(
    folder: Path,
    predict: Callable[[pd.DataFrame], np.ndarray] = chance,
    change: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame,
    **gates: Any,
) -> looking.Candidate:
    spec = spec_in(folder)
    asked = Gates.model_validate(spec.gates.model_dump() | gates)
    spec = spec.model_copy(update={"gates": asked}).at(folder)
    learn, later = (
        rows.of(spec, change(rows_of(days, 200, seed).dropna()).reset_index(drop=True))
        for days, seed in ((range(10), 1), (range(12, 24), 2))
    )
    alike = spec.asking.alike(later.frame).to_numpy(object)
    return looking.Candidate(spec, spec.problem, learn, later, predict(later.inputs), predict, alike)


def of(made: looking.Looked) -> dict[str, Gate]:
    return {gate.name: gate for gate in made.gates}


# Fairness


def test_the_numbers_of_fairness_are_what_their_definitions_say(tmp_path: Path) -> None:
    asked = Fairness(by=("plan",), demographic_parity=0.1, equalised_odds=0.9, disparate_impact=0.8)
    tried = candidate(tmp_path, fairness=asked)
    found = looking.look(tried)
    yes, plan, labels = tried.predictions >= 0.5, tried.later.inputs["plan"].to_numpy(), tried.later.labels
    share = {value: yes[plan == value].mean() for value in ("basic", "pro")}
    odds = [
        abs(np.subtract(*(yes[(plan == value) & (labels == label)].mean() for value in ("basic", "pro"))))
        for label in (0, 1)
    ]
    gates = of(found)
    parity, ratio = gates["demographic parity of plan"], gates["disparate impact of plan"]
    equal = gates["equalised odds of plan"]
    assert parity.observed == pytest.approx(abs(share["basic"] - share["pro"]))
    assert ratio.observed == pytest.approx(min(share.values()) / max(share.values()))
    assert equal.observed == pytest.approx(max(odds))
    assert (parity.verdict, ratio.verdict, equal.verdict) == ("fail", "fail", "pass")
    for each in (parity, ratio, equal):
        assert each.low is not None and each.observed is not None and each.high is not None
        assert each.low < each.observed < each.high and "basic" in each.reason and each.rows == len(labels)
    (fair,) = found.fairness
    assert fair.shares == pytest.approx(share)


def test_groups_that_are_too_small_are_no_evidence_and_a_number_without_a_bound_is_no_gate(tmp_path: Path) -> None:
    asked = Fairness(by=("plan", "mobile"), minimum_rows=100_000)
    found = looking.look(candidate(tmp_path, fairness=asked))
    assert {gate.name: gate.verdict for gate in found.gates} == {
        "disparate impact of plan": "no evidence",
        "disparate impact of mobile": "no evidence",
    }
    assert found.fairness == []


def test_rows_of_no_group_that_is_compared_are_counted_and_not_named(tmp_path: Path) -> None:
    def few(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(plan=[*["one", "of", "three"], None, *frame["plan"][4:]])

    asked = Fairness(by=("plan",), disparate_impact=0.1, minimum_rows=10)
    found = looking.look(candidate(tmp_path, change=few, fairness=asked))
    (fair,), (gate,) = found.fairness, found.gates
    assert set(fair.shares) == {"basic", "pro"} and fair.left_out == 4
    assert gate.reason.endswith("4 rows are of no group that is compared") and "three" not in gate.reason


def test_of_a_group_that_lacks_an_outcome_nobody_knows_the_odds() -> None:
    groups, alike = pd.Series(["a"] * 4 + ["b"] * 4), np.arange(8).astype(object)
    decided, labels = np.array([1.0, 0, 1, 0, 1, 1, 1, 0]), np.array([1, 1, 0, 0, 1, 1, 1, 0])
    fair = fairness.measure("g", groups, decided, labels, alike, 2)
    assert fair is not None and fair.numbers["equalised_odds"][0] == pytest.approx(0.5), (
        "of the wrong; 0.5 of the right"
    )
    lacking = fairness.measure("g", groups, decided, np.array([1, 1, 0, 0, 1, 1, 1, 1]), alike, 2)
    assert lacking is not None and lacking.numbers["equalised_odds"] == (None, None, None), "nobody in b is wrong"
    none = fairness.measure("g", groups, np.zeros(8), labels, alike, 2)
    assert none is not None and none.numbers["disparate_impact"][0] is None, "nobody is answered a yes"
    open_ones = fairness.measure("g", groups, decided, None, alike, 2)
    assert open_ones is not None and "equalised_odds" not in open_ones.numbers


# Behaviour


@pytest.mark.parametrize(
    ("test", "verdict", "observed"),
    [
        ({"change": {"mobile": "NOT mobile"}}, "pass", 1.0),
        ({"change": {"minutes": "minutes + 5"}, "expect": "lower"}, "pass", 1.0),
        ({"change": {"minutes": "minutes + 5"}, "expect": "higher"}, "fail", 0.0),
        ({"change": {"minutes": "minutes + 5"}, "expect": "higher", "tolerance": 1.0}, "pass", 1.0),
        ({"change": {"plan": "'pro'"}, "where": "plan = 'basic'", "expect": "lower"}, "pass", 1.0),
        ({"change": {"plan": "'pro'"}}, "fail", None),
        ({"change": {"plan": "'pro'"}, "share": 0.4}, "pass", None),
        ({"change": {"plan": "'pro'"}, "where": "minutes > 1000"}, "no evidence", None),
        ({"row": {"minutes": 10.0, "plan": "basic"}, "between": [0.9, 1.0]}, "pass", 1 / (1 + np.exp(-4))),
        ({"row": {"minutes": 30.0, "plan": "pro"}, "between": [0.9, 1.0]}, "fail", 1 / (1 + np.e)),
    ],
)
def test_a_model_does_what_it_must(tmp_path: Path, test: dict[str, Any], verdict: str, observed: float | None) -> None:
    asked = Behaviour.model_validate({"name": "it holds", **test}, strict=False)
    (gate,) = looking.look(candidate(tmp_path, behaviour=(asked,))).gates
    assert (gate.name, gate.verdict) == ("behaviour: it holds", verdict), gate.reason
    if observed is not None:
        assert gate.observed == pytest.approx(observed)


def test_rows_that_all_move_the_right_way_are_off_by_nothing(tmp_path: Path) -> None:
    asked = Behaviour(name="it holds", change={"minutes": "minutes + 5"}, expect="lower")
    (gate,) = looking.look(candidate(tmp_path, behaviour=(asked,))).gates
    assert gate.reason.endswith("the worst is off by 0"), gate.reason


def test_an_expression_that_fails_on_the_rows_is_no_evidence_of_behaviour(tmp_path: Path) -> None:
    asked = Behaviour(name="it holds", change={"minutes": "cast(plan as double)"})
    same = Behaviour(name="the plan says nothing", change={"plan": "plan"})
    failed, held = looking.look(candidate(tmp_path, behaviour=(asked, same))).gates
    assert (failed.name, failed.verdict) == ("behaviour: it holds", "no evidence")
    assert failed.reason == "it cannot be looked at: QueryRefused, see the log of `evaluate`", "no value of a row"
    assert (held.name, held.verdict) == ("behaviour: the plan says nothing", "pass"), "one costs no other"


# Noise


def test_a_model_that_leans_on_the_last_digit_fails_under_noise(tmp_path: Path) -> None:
    def fragile(inputs: pd.DataFrame) -> np.ndarray:
        whole = np.isclose(inputs["minutes"] * 1e6 % 1, 0) | np.isclose(inputs["minutes"] * 1e6 % 1, 1)
        return np.where(whole, chance(inputs), 1 - chance(inputs))

    def rounded(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(minutes=frame["minutes"].round(2))

    asked = Noise(scale=0.02, margin=0.05)
    (good,) = looking.look(candidate(tmp_path / "good", chance, rounded, noise=asked)).gates
    (bad,) = looking.look(candidate(tmp_path / "bad", fragile, rounded, noise=asked)).gates
    assert (good.verdict, bad.verdict) == ("pass", "fail"), (good.reason, bad.reason)
    assert bad.low is not None and bad.observed is not None and 0.05 < bad.low < bad.observed
    again = looking.look(candidate(tmp_path / "again", chance, rounded, noise=asked)).gates
    assert again == [good], "the noise is drawn by the spec's seed"


def test_a_loss_without_an_interval_is_no_evidence_of_stability(tmp_path: Path) -> None:
    asked = Noise(scale=0.02, margin=0.0)
    tried = candidate(tmp_path, noise=asked)
    (gate,) = looking.look(replace(tried, alike=np.zeros(len(tried.alike), object))).gates  # all rows of one entity
    assert gate.verdict == "no evidence" and "an interval of roc_auc is not defined" in gate.reason


def test_noise_keeps_what_is_missing_and_the_kinds_of_values() -> None:
    inputs = pd.DataFrame({"a": [1.0, None, 3.0, 4.0], "b": [0.0, 1.0, 1.0, 0.0], "c": ["x", "y", None, "x"]})
    noisy = noise.disturbed(inputs, 0.5, seed=1)
    assert noisy["a"].isna().tolist() == [False, True, False, False] and (noisy["a"] != inputs["a"]).all()
    assert set(noisy["b"]) <= {0.0, 1.0} and set(noisy["c"].dropna()) <= {"x", "y"}


# Leaks


def test_an_input_that_knows_the_outcome_is_too_good_alone(tmp_path: Path) -> None:
    def told(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(sessions=frame["left"] * 5.0 + frame["sessions"] % 2)

    def leaning(inputs: pd.DataFrame) -> np.ndarray:
        return np.where(inputs["sessions"] >= 5, 0.9, 0.1)

    clean, leak = (of(looking.look(each))[leaks.ALONE] for each in (
        candidate(tmp_path / "a", leaks=Leaks()), candidate(tmp_path / "b", leaning, told, leaks=Leaks()),
    ))  # fmt: skip
    assert (clean.verdict, leak.verdict) == ("pass", "fail"), (clean.reason, leak.reason)
    assert "sessions 100%" in leak.reason and leak.observed == pytest.approx(1.0)
    assert clean.low is not None and clean.observed is not None and clean.high is not None
    assert clean.low < clean.observed < clean.high and "minutes" in clean.reason


def test_an_input_that_tells_the_time_is_told(tmp_path: Path) -> None:
    def counted(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(minutes=frame["event_timestamp"].astype("int64") / 8.64e10 + frame["sessions"] / 9)

    clean, clock = (of(looking.look(each))[leaks.TIME] for each in (
        candidate(tmp_path / "a", leaks=Leaks()), candidate(tmp_path / "b", change=counted, leaks=Leaks()),
    ))  # fmt: skip
    assert (clean.verdict, clock.verdict) == ("pass", "fail") and clock.reason.startswith("minutes goes with")
    assert clean.low is not None and clean.observed is not None and clean.high is not None
    assert clean.low < clean.observed < clean.high < 0.95


def test_how_much_an_input_tells_the_time_is_its_rank_correlation(tmp_path: Path) -> None:
    tried = candidate(tmp_path, leaks=Leaks())
    gate, frame = of(looking.look(tried))[leaks.TIME], tried.learn.frame
    moments = frame["event_timestamp"].astype("int64")
    inputs = tried.learn.inputs.select_dtypes("number")
    strongest = max(abs(spearmanr(inputs[name], moments).statistic) for name in inputs)
    assert gate.observed is not None and gate.observed >= strongest - 1e-9
    one, both = np.arange(50.0), np.ones(50, bool)
    like = leaks._correlation(both, one, one[::-1].copy())(np.ones((2, 50)))
    assert like == pytest.approx([1.0, 1.0]), "the other way round is as strong"


def test_entities_in_both_parts_are_counted_where_that_is_asked_for(tmp_path: Path) -> None:
    assert leaks.ENTITIES not in of(looking.look(candidate(tmp_path / "a", leaks=Leaks())))
    both = of(looking.look(candidate(tmp_path / "b", leaks=Leaks(entities=0.1))))[leaks.ENTITIES]
    assert (both.observed, both.verdict) == (1.0, "fail")
    tried = candidate(tmp_path / "c", leaks=Leaks(entities=0.1))
    other = Rows(tried.later.frame, tried.later.inputs, tried.later.labels, tried.later.keys.astype(str) + "x")
    asked = Leaks(entities=0.1)
    wanted = dict(leaks.wanted(tried.spec, asked, tried.learn, other, tried.predictions, tried.alike))
    gate = wanted[leaks.ENTITIES]()
    assert (gate.observed, gate.verdict) == (0.0, "pass")


def test_the_averages_of_an_input_are_those_of_the_learning_rows(tmp_path: Path) -> None:
    tried = candidate(tmp_path)
    answers = leaks.averages(tried.spec.problem, tried.learn, tried.later, "plan")
    pro = (tried.learn.inputs["plan"] == "pro").to_numpy()
    assert set(answers[(tried.later.inputs["plan"] == "pro").to_numpy()]) == {tried.learn.labels[pro].mean()}
    by_minutes = leaks.averages(tried.spec.problem, tried.learn, tried.later, "minutes")
    assert roc_auc_score(tried.later.labels, by_minutes) > 0.8


# What is served


def test_a_candidate_that_is_too_large_or_too_slow_fails_each_by_its_own_gate(contest: Contest) -> None:
    run = run_as_of(contest.spec)
    data = contest.data(run)
    made = contest.candidate(run, data)
    later = rows.read(contest.spec, data, "evaluate")
    least = Packaged(megabytes=1e-6, milliseconds=1e-6)
    size, latency = (decide() for _, decide in packaged.wanted(contest.spec, least, made.run.id, later))
    assert (size.verdict, latency.verdict) == ("fail", "fail")
    assert (size.low, size.high) == (None, None), "it is counted"
    assert latency.low is not None and latency.observed is not None and latency.high is not None
    assert 0 < latency.low <= latency.observed <= latency.high
    asked = Packaged(milliseconds=5)
    assert [name for name, _ in packaged.wanted(contest.spec, asked, made.run.id, later)] == [packaged.LATENCY]


def test_a_latency_that_cannot_be_measured_takes_no_size_with_it(
    contest: Contest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(spec: ModelSpec, run_id: str) -> None:
        raise ModelUnloadable("loading a candidate", found="nothing", expected="a model", next_step="train anew")

    run = run_as_of(contest.spec)
    data = contest.data(run)
    made = contest.candidate(run, data)
    monkeypatch.setattr(loading, "candidate", lost)
    asked = {"packaged": Packaged(megabytes=100, milliseconds=100), "leaks": None}
    spec = contest.spec.model_copy(update={"gates": contest.spec.gates.model_copy(update=asked)})
    later = rows.read(spec, data, "evaluate")
    alike = spec.asking.alike(later.frame).to_numpy(object)
    tried = looking.Candidate(spec, spec.problem, later, later, chance(later.inputs), chance, alike, made.run.id)
    found = of(looking.look(tried))
    assert {name: gate.verdict for name, gate in found.items()} == {
        packaged.SIZE: "pass",
        packaged.LATENCY: "no evidence",
    }


# All of them


def test_what_a_spec_does_not_ask_for_is_not_looked_at(tmp_path: Path) -> None:
    assert looking.look(candidate(tmp_path)) == looking.Looked()


def test_a_gate_that_fails_stops_the_candidate_and_its_numbers_are_kept(contest: Contest) -> None:
    asked = {"fairness": Fairness(by=("plan",), disparate_impact=1.0, minimum_rows=10), "leaks": Leaks(time=None)}
    spec = contest.spec.model_copy(update={"gates": contest.spec.gates.model_copy(update=asked)})
    run = run_as_of(spec.at(contest.spec.folder))
    data = contest.data(run)
    made = contest.candidate(run, data)
    evaluated = stages.evaluate(run, data, (made,))
    judged = stages.gates(run, evaluated)
    assert not judged.passed and "disparate impact of plan" in judged.reason
    assert [each["attribute"] for each in artifact(made.run.id, "evaluation.json")["fairness"]] == ["plan"]
