"""One task by itself: what it reads and leaves, and what it shows when it fails."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from evergreen.errors import EvidenceMissing, HandoverRefused, StageSkipped, showing
from evergreen.handovers.handover import MARK, Handover
from evergreen.handovers.train import Candidate
from evergreen.links import Link
from evergreen.loops.wire import Step, Wire
from evergreen.run import Run
from evergreen.settings import PROJECT
from evergreen.spec.load import load_spec
from tests.handovers import decided, tracked

SPEC = load_spec(PROJECT / "include" / "models" / "churn")


class Counted(Handover):
    """A number and a page."""

    rows: int
    page: str
    carried = ("rows",)
    pages = {"page": Link.DRIFT_REPORT}  # noqa: RUF012 - as the types do


def tune(run: Run, family: str) -> Candidate:
    return Candidate(family=family, run=tracked("r"), search_score=0.5, trials=1)


def choose(run: Run, candidates: tuple[Candidate, ...]) -> Candidate:
    return candidates[0]


def count(run: Run, candidate: Candidate) -> Counted:
    if run.reason == "red":
        with showing({Link.MODEL_SERVER: "http://server"}):
            raise EvidenceMissing(
                "counting", found="none", expected="one", next_step="look", links={Link.DATA_DOCS: "http://docs"}
            )
    if run.reason == "skipped":
        raise StageSkipped("nothing to count")
    return Counted(rows=3, page="http://report")


def steps() -> dict[str, Step]:
    wire = Wire()
    candidates = wire.each(tune, over="family")
    wire.stage(count, wire.stage(choose, candidates))
    return {step.name: step for step in wire.steps}


def context(reason: str | None = None) -> dict[str, Any]:
    day = datetime(2026, 2, 1, tzinfo=UTC)
    run = SimpleNamespace(
        run_id="r",
        run_type="manual",
        data_interval_start=day,
        data_interval_end=day.replace(day=2),
        run_after=day.replace(day=2),
        logical_date=day,
        triggering_user_name="ada",
        start_date=day,
    )
    instance = SimpleNamespace(dag_id="d", run_id="r", task_id="task", map_index=-1)
    return {"dag_run": run, "params": {"reason": reason}, "ti": instance, "outlet_events": {}}


def task(name: str, **inputs: Any) -> Any:
    from evergreen.orchestration.operator import StageOperator

    return StageOperator(spec=SPEC, loop="monitor", step=steps()[name], task_id=name, inputs=inputs)


def shown(done: Any) -> dict[Link, str]:
    """What Airflow sends once a task has ended, each in a request of its own: as `task_runner.finalize` does."""
    return {button.link: button.get_link(operator=done, ti_key=None) for button in done.operator_extra_links}


def left(hand_over: Handover) -> Any:
    return json.loads(json.dumps(hand_over.to_json()))


CANDIDATE = Candidate(family="mlp", run=tracked("r"), search_score=0.5, trials=1)


def test_a_task_reads_and_leaves_hand_overs_and_shows_their_pages() -> None:
    count = task("count", candidate=left(CANDIDATE))
    result = count.execute(context())
    assert result == {MARK: Counted.mark(), "rows": 3, "page": "http://report"}
    assert shown(count) == {Link.DRIFT_REPORT: "http://report", Link.MLFLOW_RUN: CANDIDATE.run.page}


def test_a_log_begins_with_the_day_that_the_run_works_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "evergreen"):
        task("count", candidate=left(CANDIDATE)).execute(context())
    first = caplog.records[0].getMessage()
    assert first == f"{SPEC.model} of 2026-02-01: count, as of 2026-02-02T00:00:00+00:00 (manual)"


@pytest.mark.parametrize("reason", ["red", "skipped"])
def test_a_task_that_hands_nothing_over_shows_what_it_was_given_and_what_its_error_says(reason: str) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    count = task("count", candidate=left(CANDIDATE))
    with pytest.raises(EvidenceMissing if reason == "red" else AirflowSkipException):
        count.execute(context(reason))
    error = {Link.DATA_DOCS: "http://docs", Link.MODEL_SERVER: "http://server"} if reason == "red" else {}
    assert shown(count) == {Link.MLFLOW_RUN: CANDIDATE.run.page, **error}


@pytest.mark.parametrize("value", [None, {}, left(decided()), left(CANDIDATE) | {MARK: "Candidate/00000000"}], ids=str)
def test_a_task_before_it_that_was_marked_a_success_is_named_and_nothing_is_retried(value: Any) -> None:
    from airflow.sdk import RetryAction

    from evergreen.orchestration.failures import RETRY_POLICY

    with pytest.raises(HandoverRefused, match="clear `choose`") as refused:
        task("count", candidate=value).execute(context())
    assert RETRY_POLICY.evaluate(refused.value, 1, 3, {}).action == RetryAction.FAIL


def test_a_mapped_task_that_was_marked_a_success_is_missed() -> None:
    each = [left(CANDIDATE.model_copy(update={"family": family})) for family in SPEC.families]
    assert task("choose", candidates=each).execute(context())["family"] == next(iter(SPEC.families))
    with pytest.raises(HandoverRefused, match=f"{len(each) - 1} hand-overs"):
        task("choose", candidates=each[1:]).execute(context())


def test_a_run_says_who_started_it_by_hand() -> None:
    from evergreen.orchestration.identity import run_of

    assert run_of(SPEC, "ingest", context()).triggered_by == "ada"
