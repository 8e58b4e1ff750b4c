"""The one wiring: what each stage takes is what the stages before it hand over, and no way leads around the gates."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from evergreen.errors import HandoverRefused
from evergreen.handovers.handover import Handover
from evergreen.handovers.monitor import Retraining
from evergreen.handovers.train import Candidate
from evergreen.loops import catalogue
from evergreen.loops.wire import VALUES, Loop, LoopName, Step, Wire
from evergreen.loops.wiring import LOOPS
from evergreen.run import DatasetRun, Run
from evergreen.settings import PROJECT
from evergreen.spec.load import load_spec
from tests.handovers import tracked

STEPS = [(loop, step) for loop in LOOPS.values() for step in loop.steps]
SPEC = load_spec(Path(__file__).parents[1] / "specs" / "valid" / "renewals")


def test_the_page_of_the_loops_has_not_drifted() -> None:
    page = catalogue.page()
    assert (PROJECT / "docs" / "loops.md").read_text(encoding="utf-8") == page, (
        "docs/loops.md is old: run `evergreen loops`"
    )
    for loop, step in STEPS:
        assert f"| `{step.name}`" in page and f"`<{loop.of}>__{loop.name}`" in page


def test_every_loop_is_wired() -> None:
    assert set(LOOPS) == set(get_args(LoopName)) and len(STEPS) > 20
    for loop in LOOPS.values():
        names = [step.name for step in loop.steps]
        assert len(names) == len(set(names)), loop.name


@pytest.mark.parametrize(("loop", "step"), STEPS, ids=lambda each: getattr(each, "name", ""))
def test_a_stage_takes_what_the_stages_before_it_hand_over(loop: Loop, step: Step) -> None:
    if step.stage is None:
        (wanted,) = step.given.values()
        assert wanted.hands_over is Retraining and step.starts in LOOPS
        return
    hints = get_type_hints(step.stage)
    run, *names = inspect.signature(step.stage).parameters
    assert hints[run] is (DatasetRun if loop.of == "dataset" else Run) and issubclass(step.hands_over, Handover)
    assert set(names) == {*step.given, *([step.over] if step.over else [])}, (
        "each parameter is a hand-over that is read"
    )
    for name, giver in step.given.items():
        takes: Any = tuple[giver.hands_over, ...] if giver.over else giver.hands_over  # type: ignore[name-defined]
        assert hints[name] == takes, f"{step.name}({name}) takes {hints[name]}, and {giver.name} hands over {takes}"
    if step.over:
        assert hints[step.over] is str and VALUES[step.over](SPEC)


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_a_step_comes_after_those_that_it_waits_for(loop: Loop) -> None:
    for number, step in enumerate(loop.steps):
        assert set(step.before) <= set(loop.steps[:number]), step.name


def test_a_working_file_names_the_task_whose_stage_leaves_it() -> None:
    """By that name the error of a file that is gone says which task to clear."""
    named = {
        (step.name, task)
        for _, step in STEPS
        if step.stage is not None
        for node in ast.walk(ast.parse(inspect.getsource(step.stage)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "staging.write"
        for task in (ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg == "task")
    }
    assert named == {(name, name) for name in ("extract", "validate", "features", "build")}


def _upstream(step: Step) -> set[str]:
    return {step.name}.union(*(_upstream(each) for each in step.before))


def test_whatever_registers_or_deploys_comes_after_every_gate() -> None:
    by_name = {step.name: step for step in LOOPS["train"].steps}
    chain = "validate_training tune evaluate gates approve refit register card probe deploy"
    order = chain.split()
    for number, name in enumerate(order):
        assert set(order[:number]) <= _upstream(by_name[name]), name
    # By what it is made of, too: who approves takes a verdict, what refits what was approved, what registers a fit that
    # was judged, and what deploys a version that was registered and probed.
    promoting = ("approve", "refit", "register", "probe", "deploy")
    assert [get_origin(hint) or hint for name in promoting for hint in _taken(by_name[name])] == [
        by_name["gates"].hands_over,
        by_name["approve"].hands_over,
        by_name["refit"].hands_over,
        by_name["register"].hands_over,
        by_name["probe"].hands_over,
    ]


def _taken(step: Step) -> list[Any]:
    assert step.stage is not None
    hints = get_type_hints(step.stage)
    return [hints[name] for name in step.given]


def test_of_a_step_that_runs_for_several_values_each_must_have_handed_over() -> None:
    (tune,) = [step for step in LOOPS["train"].steps if step.over == "family"]
    each = [
        Candidate(family=family, run=tracked(family), search_score=0.5, trials=1).to_json() for family in SPEC.families
    ]
    read = tune.read(each, SPEC, "renewals")
    assert isinstance(read, tuple) and len(read) == len(each) > 1
    for left in (None, [], each[:-1], [*each[:-1], None]):
        with pytest.raises(HandoverRefused, match="clear `tune`"):
            tune.read(left, SPEC, "renewals")


def test_a_wiring_that_gives_a_stage_too_little_is_no_wiring() -> None:
    register = next(step for step in LOOPS["train"].steps if step.name == "register")
    assert register.stage is not None
    with pytest.raises(ValueError, match="argument"):
        Wire().stage(register.stage)


def test_a_stage_says_what_it_hands_over() -> None:
    def silent(run: Run) -> dict[str, int]:
        return {}

    with pytest.raises(TypeError, match="hand-over"):
        _ = Wire().stage(silent).hands_over  # type: ignore[arg-type]
