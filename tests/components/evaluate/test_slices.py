"""Where a candidate is worse than on the whole, told apart from what chance makes of many slices."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from evergreen.errors import SpecError
from evergreen.evaluate import looking, slices, stages
from evergreen.handovers.gate import Gate
from evergreen.model import rows
from evergreen.model.rows import Rows
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec
from evergreen.spec.slices import Slices
from tests.components.train.conftest import rows_of, spec_in
from tests.small_models import SHOP, write_shop

from .conftest import Contest, run_as_of
from .test_evaluate_stages import artifact

PLANS = Slices(by=("plan",), margin=0.05)


def world(
    folder: Path, *, blind: str = "", seed: int = 0, count: int = 4000, whole: bool = True
) -> tuple[ModelSpec, Rows, np.ndarray]:
    """Rows, and predictions that tell nothing where `blind` holds."""
    spec = spec_in(folder)
    frame = rows_of(range(count // 200), 200, seed)
    frame = frame.dropna().reset_index(drop=True) if whole else frame
    random = np.random.default_rng(seed)
    later = rows.of(spec, frame)
    chance = 1 / (1 + np.exp((frame["minutes"].fillna(30) - 30) / 5 + (frame["plan"] == "pro")))
    told = chance.to_numpy()
    if blind:
        told = np.where(frame.eval(blind, engine="python"), random.random(len(frame)), told)
    return spec, later, told


def judged(spec: ModelSpec, later: Rows, predictions: np.ndarray, bounds: Slices) -> list[Gate]:
    alike = spec.asking.alike(later.frame).to_numpy(object)
    wanted = slices.wanted(spec, bounds, spec.problem, later, predictions, alike)
    return [measure()[1] for _, measure in wanted]


def test_a_declared_slice_in_which_the_model_tells_nothing_fails_with_its_numbers(tmp_path: Path) -> None:
    spec, later, told = world(tmp_path, blind="plan == 'pro'")
    (gate,) = judged(spec, later, told, PLANS)
    pro = (later.inputs["plan"] == "pro").to_numpy()
    drop = roc_auc_score(later.labels, told) - roc_auc_score(later.labels[pro], told[pro])
    assert (gate.name, gate.verdict, gate.bound, gate.rows) == (slices.DECLARED, "fail", 0.05, pro.sum())
    assert gate.observed == pytest.approx(drop) and "plan = pro" in gate.reason
    assert gate.low is not None and gate.high is not None and 0 < gate.low < drop < gate.high


def test_the_worst_slice_is_found_without_being_declared(tmp_path: Path) -> None:
    spec, later, told = world(tmp_path, blind="plan == 'pro' and mobile")
    (gate,) = judged(spec, later, told, Slices(found_margin=0.1))
    assert gate.verdict == "fail" and "plan = pro" in gate.reason and "mobile = 1" in gate.reason, gate.reason


@pytest.mark.parametrize("seed", range(4))
def test_what_is_found_by_chance_alone_fails_nothing(tmp_path: Path, seed: int) -> None:
    spec, later, told = world(tmp_path, seed=seed)
    gates = judged(spec, later, told, Slices(by=("mobile", "sessions < 3"), margin=0.05, found_margin=0.02))
    assert [(gate.name, gate.verdict) for gate in gates] == [(slices.DECLARED, "pass"), (slices.FOUND, "pass")]


def test_a_slice_is_a_value_a_quarter_or_what_is_missing(tmp_path: Path) -> None:
    spec, later, told = world(tmp_path, whole=False)
    alike = spec.asking.alike(later.frame).to_numpy(object)
    bounds = Slices(by=("plan", "minutes", "sessions * 2"), margin=0.5)
    scored, _ = dict(slices.wanted(spec, bounds, spec.problem, later, told, alike))[slices.DECLARED]()
    names = {each.name for each in scored}
    assert {"plan = basic", "plan = pro", "plan is missing", "minutes is missing", "sessions * 2 = 16"} <= names
    quarters = [each for each in scored if each.name.startswith("minutes ") and "missing" not in each.name]
    assert len(quarters) == 4 and sum(each.rows for each in quarters) == later.inputs["minutes"].notna().sum()
    assert all(each.declared for each in scored)
    drops = [each.drop for each in scored if each.drop is not None]
    assert drops == sorted(drops, reverse=True), "the worst first"


def test_slices_that_are_too_small_or_of_one_class_are_no_evidence(tmp_path: Path) -> None:
    spec, later, told = world(tmp_path)
    (gate,) = judged(spec, later, told, Slices(by=("plan",), margin=0.05, minimum_rows=3000))
    assert gate.verdict == "no evidence" and "(2 are too small)" in gate.reason and "plan = " not in gate.reason
    later.labels[(later.inputs["mobile"] == 1).to_numpy()] = 0
    later.labels[(later.inputs["mobile"] == 0).to_numpy()] = 1
    (gate,) = judged(spec, later, told, Slices(by=("mobile",), margin=0.05))
    assert gate.verdict == "no evidence"


def test_what_was_asked_for_and_cannot_be_scored_is_no_evidence_and_named(tmp_path: Path) -> None:
    spec, later, told = world(tmp_path)
    (gate,) = judged(spec, later, told, Slices(by=("plan",), margin=0.5))
    assert (gate.verdict, "nothing is known" in gate.reason) == ("pass", False)
    single = "cast(minutes as varchar)"  # a slice of each row
    (gate,) = judged(spec, later, told, Slices(by=("plan", single), margin=0.5))
    assert gate.verdict == "no evidence"
    assert gate.reason.startswith(f"nothing is known of any slice of {single} (lower gates.slices.minimum_rows, or ")
    assert f"{single} = " not in gate.reason, "a slice of a few rows may be a person"
    later.labels[(later.inputs["plan"] == "pro").to_numpy()] = 1
    (gate,) = judged(spec, later, told, Slices(by=("plan",), margin=0.5))
    assert gate.verdict == "no evidence" and gate.reason.startswith("nothing is known of plan = pro, which cannot be ")


def test_an_expression_that_cannot_be_computed_is_no_evidence_and_costs_no_other_gate(tmp_path: Path) -> None:
    spec, later, told = world(tmp_path)
    bad = Slices(by=("1 / 0 + cast(plan as int)", "plan"), margin=0.05, found_margin=0.5)
    gated = spec.model_copy(update={"gates": spec.gates.model_copy(update={"slices": bad})})
    alike = spec.asking.alike(later.frame).to_numpy(object)
    tried = looking.Candidate(gated, spec.problem, later, later, told, lambda inputs: told, alike)
    seen = looking.look(tried)
    declared, found = seen.gates
    assert (declared.name, declared.verdict) == (slices.DECLARED, "no evidence")
    assert "1 / 0 + cast(plan as int), which cannot be computed" in declared.reason
    assert not {"basic", "pro"} & set(declared.reason.partition("; ")[0].replace("'", " ").split()), "no value of a row"
    assert (found.name, found.verdict) == (slices.FOUND, "pass")
    assert any(each.name.startswith("plan = ") for each in seen.slices)


def test_four_thousand_rows_are_looked_at_in_seconds(tmp_path: Path) -> None:
    spec, later, told = world(tmp_path)
    wide = pd.concat([later.inputs.add_suffix(f"_{n}") for n in range(4)], axis=1)
    began = time.process_time()
    (gate,) = judged(spec, Rows(later.frame, wide, later.labels, later.keys), told, Slices(found_margin=0.2))
    assert time.process_time() - began < 5 and "of 1,402 with" in gate.reason, gate.reason


def test_where_not_all_slices_can_be_looked_at_the_last_inputs_may_be_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, later, told = world(tmp_path, blind="plan == 'pro' and mobile")
    noise = np.random.default_rng(1).random((len(later.labels), 12))
    wide = pd.concat([pd.DataFrame(noise, later.inputs.index).add_prefix("noise_"), later.inputs], axis=1)
    asked = spec, Rows(later.frame, wide, later.labels, later.keys), told, Slices(found_margin=0.2)
    (whole,) = judged(*asked)
    assert whole.reason.startswith("mobile = 1 and plan = pro") and "at most" not in whole.reason
    monkeypatch.setattr(slices, "_LOOKED_AT", 1500)  # of 1,816; by the inputs' order it would be the last
    (cut,) = judged(*asked)
    assert "of 1,500 with" in cut.reason and "at most 1,500 are looked at" in cut.reason
    assert cut.reason.startswith("mobile = 1 and plan = pro"), cut.reason


def test_the_gates_and_the_record_of_a_candidate_have_its_slices(contest: Contest) -> None:
    strict = contest.spec.gates.model_copy(
        update={"slices": Slices(by=("plan",), margin=0.0, found_margin=0.0, minimum_rows=10)}
    )
    spec = contest.spec.model_copy(update={"gates": strict}).at(contest.spec.folder)
    run = run_as_of(spec)
    data = contest.data(run)
    candidate = contest.candidate(run, data)
    evaluated = stages.evaluate(run, data, (candidate,))
    gated = stages.gates(run, evaluated)
    assert {slices.DECLARED, slices.FOUND} <= {gate.name for gate in gated.gates}
    assert {"plan = basic", "plan = pro"} <= {each.name for each in evaluated.slices}
    kept = artifact(candidate.run.id, "evaluation.json")["slices"]
    assert [each["name"] for each in kept] == [each.name for each in evaluated.slices]


@pytest.mark.parametrize(("text", "said"), [("prize < 3", "prize"), ("avg(visits_7d)", "gates.slices.by")])
def test_an_expression_that_is_none_is_told_by_the_check(tmp_path: Path, text: str, said: str) -> None:
    declared: dict[str, Any] = SHOP | {"gates": SHOP["gates"] | {"slices": {"by": [text], "margin": 0.1}}}
    with pytest.raises(SpecError) as caught:
        load_spec(write_shop(tmp_path / "shop", declared, {}), deep=True)
    assert "gates.slices.by" in str(caught.value) and said in str(caught.value)
