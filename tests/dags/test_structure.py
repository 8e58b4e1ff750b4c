"""The DAGs as a contract: exactly these, found without errors, built by the house rules,
with promotion behind every gate."""

from __future__ import annotations

import ast
import itertools
import json
import runpy
import time
import tomllib
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pendulum
import pytest
import yaml

from evergreen.errors import RunError
from evergreen.housekeeping import jobs
from evergreen.loops.wiring import LOOPS as LOOP_OF
from evergreen.orchestration import assets, housekeeping, serving
from evergreen.settings import PROJECT
from evergreen.spec.load import load

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG

DECLARED = load(PROJECT / "include" / "models")
SPECS, DATASETS = DECLARED.valid_models, DECLARED.valid_datasets
LOOPS = ("ingest", "correct", "train", "monitor", "rollout", "rollback")
BY_HAND = ("correct", "rollout", "rollback")  # of the shipped models no rollout has steps
OWNERS = {loop: DATASETS if loop in ("ingest", "correct") else SPECS for loop in LOOPS}
HEAVY = set(
    tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]["flake8-tidy-imports"][
        "banned-module-level-imports"
    ]
)
PARSE_BUDGET = 2.0  # seconds per file, on a slow machine; measured 0.1 s


def dags(dag_bag: DagBag) -> list[DAG]:
    all_dags = list(dag_bag.dags.values())
    assert all_dags, "the DAG folder is empty: nothing was tested"
    return all_dags


def test_exactly_the_loops_of_every_spec_and_no_import_error(dag_bag: DagBag) -> None:
    assert dag_bag.import_errors == {}
    assert SPECS and DATASETS, "no valid folder"
    loops = {f"{spec.name}__{loop}" for loop, specs in OWNERS.items() for spec in specs}
    assert set(dag_bag.dags) == loops | {housekeeping.DAG_ID, serving.DAG_ID}


def test_every_file_gives_one_dag_a_spec(dag_bag: DagBag) -> None:
    per_file = {stats.file.rsplit("/", 1)[-1]: stats.dag_num for stats in dag_bag.dagbag_stats}
    assert per_file == {f"{loop}.py": len(specs) for loop, specs in OWNERS.items()} | {
        "housekeeping.py": 1,
        "serving.py": 1,
        "spec_errors.py": 0,
    }


def test_the_process_of_a_task_builds_the_dag_of_the_task_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from evergreen.orchestration.airflow import scheduled

    for spec, loop in (("tickets", "train"), ("churn", "ingest")):
        monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", f"{spec}__{loop}")  # as Airflow says it there
        declared = scheduled()
        assert {(each.name, name) for name, wired in LOOP_OF.items() for each in declared.of(wired)} == {(spec, loop)}
        assert {model.name for model in declared.users("churn")} == {"churn", "newsletter", "tickets"}


def test_the_graphs_read_like_the_design(dag_bag: DagBag) -> None:
    chains = {
        "ingest": "extract validate publish features validate_features publish_features materialize",
        "rollout": "collect compare move",
        "train": "labels build validate_training tune evaluate gates approve refit register card probe deploy",
        "rollback": "rollback",
    }
    for spec, loop in [(spec, name) for name in chains for spec in OWNERS[name]]:
        dag, chain = dag_bag.dags[f"{spec.name}__{loop}"], chains[loop]
        # Pictures stand beside the chain, and nothing waits for them.
        beside = {"describe"} if loop == "train" else set()
        assert [task.task_id for task in dag.topological_sort() if task.task_id not in beside] == chain.split()
        assert all(not dag.get_task(task_id).downstream_task_ids for task_id in beside)
        for upstream, downstream in itertools.pairwise(chain.split()):
            assert upstream in dag.get_task(downstream).upstream_task_ids, f"{downstream} does not wait for {upstream}"


def test_promotion_is_downstream_of_every_gate_on_every_path(dag_bag: DagBag) -> None:
    for spec in SPECS:
        dag = dag_bag.dags[f"{spec.model}__train"]
        for promoting, needed in itertools.product(
            ("refit", "register", "probe", "deploy"), ("validate_training", "evaluate", "gates", "approve")
        ):
            assert needed in dag.get_task(promoting).get_flat_relative_ids(upstream=True), (
                f"{promoting} does not wait for {needed}"
            )
        for judge in ("gates", "approve"):
            reachable_without = {t.task_id for t in dag.roots} | set().union(
                *(paths_avoiding(dag, root.task_id, judge) for root in dag.roots)
            )
            assert reachable_without.isdisjoint({"refit", "register", "probe", "deploy"}), judge
        for task in dag.tasks:
            rule = task.trigger_rule
            assert rule.value == "all_success", (
                f"{task.task_id} runs on {rule}: a red or skipped stage would not stop it"
            )


def paths_avoiding(dag: DAG, start: str, avoided: str) -> set[str]:
    """The tasks that can be reached from `start` without passing `avoided`."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        task_id = waiting.pop()
        for following in dag.get_task(task_id).downstream_task_ids - seen - {avoided}:
            seen.add(following)
            waiting.append(following)
    return seen


def test_nothing_is_corrected_but_after_the_list_of_what_changes(dag_bag: DagBag) -> None:
    for spec in DATASETS:
        dag = dag_bag.dags[f"{spec.name}__correct"]
        ingested = [task.task_id for task in dag_bag.dags[f"{spec.name}__ingest"].topological_sort()]
        assert {task.task_id for task in dag.tasks} == {"plan", "begin", *ingested, "relabel"}
        assert [task.task_id for task in dag.roots] == ["plan"]
        assert paths_avoiding(dag, "plan", "begin") == set(), "a way around what is written down, and the dry run"
        assert dag.get_task("relabel").upstream_task_ids == {"publish"}
        for task_id in ingested[1:]:
            assert dag.get_task(task_id).upstream_task_ids == (
                dag_bag.dags[f"{spec.name}__ingest"].get_task(task_id).upstream_task_ids
            ), "the same chain as an ingestion's"
        assert {task.pool for task in dag.tasks} == {"evergreen_ingest"}
        assert {task.trigger_rule.value for task in dag.tasks} == {"all_success"}
        values = {name: dag.params.get_param(name).value for name in dag.params}
        assert values == {"partition": None, "reason": None, "dry_run": True}, "the safe choice is the default"


def test_retraining_is_triggered_by_nothing_but_a_decision(dag_bag: DagBag) -> None:
    triggers = [task for dag in dags(dag_bag) for task in dag.tasks if hasattr(task, "trigger_dag_id")]
    assert sorted(task.trigger_dag_id for task in triggers) == sorted(f"{spec.model}__train" for spec in SPECS)
    for spec in SPECS:
        dag = dag_bag.dags[f"{spec.model}__monitor"]
        trigger = dag.get_task("retrain")
        assert trigger.trigger_dag_id == f"{spec.model}__train" and trigger.trigger_dag_id in dag_bag.dags
        for task_id in ("retrain_wanted", "retrain"):
            assert dag.get_task(task_id).trigger_rule.value == "all_success", f"{task_id} would run without a decision"
        assert trigger.upstream_task_ids == {"retrain_wanted"}
        assert "decide" in dag.get_task("retrain_wanted").upstream_task_ids
        assert (trigger.logical_date, trigger.skip_when_already_exists, trigger.fail_when_dag_is_paused) == (
            None,
            True,
            True,
        )


def test_a_fall_back_follows_a_decision_and_the_owner_is_told_whatever_comes_of_it(dag_bag: DagBag) -> None:
    for spec in SPECS:
        dag = dag_bag.dags[f"{spec.model}__monitor"]
        fall_back = dag.get_task("fall_back")
        assert fall_back.upstream_task_ids == {"collect", "decide"} and not fall_back.downstream_task_ids
        assert fall_back.trigger_rule.value == "all_success", "it would run without a decision"
        assert [asset.uri for asset in fall_back.outlets] == [f"evergreen://registry/{spec.model}/champion"]


@pytest.mark.parametrize("loop", LOOPS)
def test_house_rules_of_dags(dag_bag: DagBag, loop: str) -> None:
    for spec in OWNERS[loop]:
        dag = dag_bag.dags[f"{spec.name}__{loop}"]
        named = f"{dag.dag_id}: "
        assert dag.owner == spec.owner.name, named + "the owner is the spec's"
        assert dag.description, named + "a description says what it does"
        assert dag.doc_md is not None and "**Triage**" in dag.doc_md and "**Runbook**" in dag.doc_md, (
            named + "doc_md tells on-call what to do"
        )
        assert {"evergreen", spec.name, loop} <= set(dag.tags), named + "tags find it in the UI"
        if loop in BY_HAND:
            assert dag.deadline is None and not dag.timetable.can_be_scheduled and not dag.is_paused_upon_creation, (
                named + "never by itself, and always ready"
            )
        else:
            assert type(dag.timetable).__name__ == "IntervalsUntil", (
                named + "a bare cron is a point in time, not an interval"
            )
            catches_up = dag.timetable.serialize()["catch_up"]
            assert catches_up == (spec.schedule.catch_up and loop != "train"), (
                named + "of trainings the newest is enough"
            )
            assert [alert.name for alert in dag.deadline or ()] == [f"{spec.name} {loop} is late"], (
                named + "one alarm tells that it is late"
            )
        assert dag.catchup is False, named + "unpausing must not start a year of runs: history is a backfill"
        assert dag.dagrun_timeout is not None, named + "a run that hangs must end"
        assert all(dag.params.get_param(name).description for name in dag.params), (
            named + "every param says what it does"
        )
        assert loop == "ingest" or dag.max_active_runs == 1, named + "each run looks at what the one before it left"


def test_no_run_by_hand_is_green_for_want_of_tasks(dag_bag: DagBag) -> None:
    """Airflow makes no task whose start date lies after a run's logical date, or whose end date lies before it."""
    for dag in dags(dag_bag):
        bounds = [dag.start_date, dag.end_date]
        bounds += [moment for task in dag.tasks for moment in (task.start_date, task.end_date)]
        assert bounds == [None] * len(bounds), dag.dag_id


def test_the_page_of_a_dag_tells_of_each_of_its_tasks(dag_bag: DagBag) -> None:
    for dag in dags(dag_bag):
        silent = [task.task_id for task in dag.tasks if f"`{task.task_id}`" not in (dag.doc_md or "")]
        assert not silent, f"{dag.dag_id}: the docstring of its file says nothing of {silent}"


def test_a_model_without_a_training_schedule_is_trained_by_hand_and_by_the_monitor_alone() -> None:
    from evergreen.orchestration import airflow

    spec = next(each for each in SPECS if each.schedule.train is not None)
    unscheduled = spec.model_copy(update={"schedule": spec.schedule.model_copy(update={"train": None})})
    dag = airflow.loop(unscheduled, LOOP_OF["train"], "")
    assert type(dag.timetable).__name__ == "ByHand" and not dag.deadline
    assert type(airflow.loop(spec, LOOP_OF["train"], "").timetable).__name__ == "IntervalsUntil"


def test_nothing_is_scheduled_after_the_last_day_of_data_also_once_airflow_has_stored_the_dag(dag_bag: DagBag) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    ended = [(spec, loop) for loop in ("ingest", "monitor") for spec in OWNERS[loop] if spec.last_day is not None]
    assert ended
    for spec, loop in ended:
        stored = DagSerialization.from_dict(DagSerialization.to_dict(dag_bag.dags[f"{spec.name}__{loop}"]))
        day = timedelta(days=1)
        first, last = (
            pendulum.datetime(each.year, each.month, each.day) for each in (spec.last_day - 2 * day, spec.last_day)
        )
        planned = stored.iter_dagrun_infos_between(first, last + 30 * day)
        assert [info.data_interval.start for info in planned] == [first, first + day, last], stored.dag_id


def test_a_schedule_after_midnight_begins_an_interval_on_the_last_day_too() -> None:
    from airflow.timetables.base import TimeRestriction

    from evergreen.orchestration.timetable import IntervalsUntil

    timetable = IntervalsUntil("0 5 * * *", date(2026, 3, 31))
    restriction = TimeRestriction(earliest=pendulum.datetime(2026, 3, 29), latest=None, catchup=True)
    starts, before = [], None
    while info := timetable.next_dagrun_info(last_automated_data_interval=before, restriction=restriction):
        before = info.data_interval
        starts.append(before.start)
    assert starts == [pendulum.datetime(2026, 3, day, 5) for day in (29, 30, 31)]


def test_the_timetable_shows_a_run_by_hand_the_interval_that_its_date_begins() -> None:
    from airflow.utils.types import DagRunType

    from evergreen.orchestration.timetable import IntervalsUntil

    for last_day in (None, date(2026, 3, 31)):
        timetable = IntervalsUntil.deserialize(IntervalsUntil("0 0 * * *", last_day).serialize())
        day, now = pendulum.datetime(2026, 1, 5), pendulum.datetime(2026, 1, 5, 13, 30)
        begun = timetable.infer_manual_data_interval(run_after=day)
        assert (begun.start, begun.end) == (day, day.add(days=1))
        assert timetable.infer_manual_data_interval(run_after=now).end == day, "of the moment: the last complete one"
        ids = {
            kind: timetable.generate_run_id(run_type=kind, run_after=begun.end, data_interval=begun)
            for kind in (DagRunType.SCHEDULED, DagRunType.MANUAL)
        }
        assert ids[DagRunType.SCHEDULED] == "scheduled__2026-01-05T0000Z"
        assert ids[DagRunType.MANUAL] == "manual__2026-01-06T00:00:00+00:00"


@pytest.mark.parametrize(
    ("loop", "kind", "conf", "expected"),
    [
        ("ingest", "scheduled", {}, "2026-01-05 (2026-01-05T00:00Z/2026-01-06T00:00Z)"),
        ("ingest", "backfill", None, "2026-01-05 (2026-01-05T00:00Z/2026-01-06T00:00Z)"),
        ("monitor", "manual", {"partition": "2026-01-03"}, "2026-01-03 (2026-01-03T00:00Z/2026-01-04T00:00Z)"),
        ("train", "manual", {"as_of": "2026-01-04T00:00:00Z"}, "as of 2026-01-04T00:00Z"),
        ("ingest", "backfill", {"partition": "2026-01-03"}, None),  # refused by its first task
        ("rollback", "manual", {"version": 1}, None),
        ("rollout", "manual", {"partition": "2026-01-03"}, "as of 2026-01-04T00:00Z"),
        ("correct", "manual", {"partition": "2026-01-03"}, "2026-01-03 (2026-01-03T00:00Z/2026-01-04T00:00Z)"),
        ("ingest", "manual", {"partition": "2025-12-31"}, None),  # before the first day of data
        ("ingest", "manual", {"partition": "2026-04-01"}, None),  # after the last one
    ],
)
def test_a_run_that_starts_says_in_its_note_what_it_works_on(
    dag_bag: DagBag, loop: str, kind: str, conf: dict[str, Any] | None, expected: str | None
) -> None:
    from airflow.models.dagrun import DagRun
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.utils.types import DagRunType

    from evergreen.orchestration import note

    day = pendulum.datetime(2026, 1, 5)
    dag = DagSerialization.from_dict(DagSerialization.to_dict(dag_bag.dags[f"churn__{loop}"]))
    run = DagRun(
        dag_id=dag.dag_id,
        run_id="r1",
        run_type=DagRunType(kind),
        logical_date=day,
        data_interval=(day, day.add(days=1)),
        run_after=day.add(days=3),
        conf=conf,
    )
    run.dag = dag
    note.on_dag_run_running(run, "started")
    assert run.note == expected
    if expected is not None:
        run.note = "a person's own"
        note.on_dag_run_running(run, "started")
        assert run.note == "a person's own"


def test_a_correction_says_in_its_note_what_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.models.dagrun import DagRun

    from evergreen.handovers.correct import Change, Planned
    from evergreen.orchestration import note

    nothing: dict[str, Any] = {name: {} for name in ("sources", "online", "labels", "versions")}
    features = {"activity": {"2026-01-03": Change(before=2, rows=1, same=False)}}
    decisions = {"churn": tuple(f"decision {number} about 2026-01-03: retrain" for number in range(40))}
    erased: dict[str, Any] = {"erasures": ("e1",)}
    planned = Planned(
        partition="2026-01-03", features=features, models=("churn",), decisions=decisions, **nothing, **erased
    )
    pulled: list[str] = []

    class Task:
        def xcom_pull(self, task_id: str, session: object) -> dict[str, Any]:
            pulled.append(task_id)
            return planned.to_json()

    monkeypatch.setattr(DagRun, "get_task_instance", lambda run, task_id, session: Task())
    for told in (note.on_dag_run_success, note.on_dag_run_failed):
        run = DagRun(dag_id="churn__correct", run_id="r1")
        told(run, "ended")
        assert run.note is not None and run.note.startswith("What correcting churn changes:\nchurn of 2026-01-03:")
        assert "erasures since it was published: e1" in run.note
        assert len(run.note) <= 1000 and run.note.endswith("… (all: the log of `plan`)")
        told(run, "ended once more, after it was cleared")
        assert run.note.count("What correcting") == 1
        run.note = "a person's own"
        told(run, "ended")
        assert run.note == "a person's own"
    other = DagRun(dag_id="churn__ingest", run_id="r1")
    note.on_dag_run_success(other, "ended")
    assert other.note is None and set(pulled) == {"plan"}


def test_what_comes_late_is_awaited_by_the_tasks_that_need_it(dag_bag: DagBag) -> None:
    from evergreen.ingest import stages as ingestion
    from evergreen.labels import stages as labelling

    expected = {
        "ingest": {"extract": ingestion.awaited},
        "train": {"labels": labelling.awaited},
        "monitor": {"labels": labelling.awaited},
        "correct": {"extract": ingestion.awaited},  # where it is scheduled, which it never is
        "rollout": {},
        "rollback": {},
    }
    limits = {"ingest": 2, "correct": 2, "train": 12, "monitor": 2, "rollout": 1, "rollback": 1}
    for loop, spec in [(name, spec) for name in LOOPS for spec in OWNERS[name]]:
        dag = dag_bag.dags[f"{spec.name}__{loop}"]
        awaited = {task.task_id: task.awaits for task in dag.tasks if getattr(task, "awaits", None) is not None}
        assert awaited == expected[loop], dag.dag_id
        waits = timedelta() if loop in BY_HAND else spec.schedule.wait
        assert dag.dagrun_timeout == timedelta(hours=limits[loop]) + waits, "to wait is no part of the limit"


def test_house_rules_of_tasks(dag_bag: DagBag) -> None:
    settings_file = yaml.safe_load((PROJECT / "airflow_settings.yaml").read_text())
    pools = {pool["pool_name"] for pool in settings_file["airflow"]["pools"]}
    for dag in dags(dag_bag):
        for task in dag.tasks:
            named = f"{dag.dag_id}.{task.task_id}: "
            assert task.retries >= 1, named + "a transient failure is retried"
            assert task.retry_policy is not None, named + "a permanent failure is not"
            assert task.retry_exponential_backoff, named + "retries back off"
            assert task.execution_timeout is not None, named + "a task that hangs must end"
            assert task.pool in pools, named + f"pool {task.pool} is not in airflow_settings.yaml"
            assert task.on_failure_callback, named + "a failure tells the owner"
            if task.is_mapped:
                assert task.partial_kwargs.get("map_index_template"), named + "mapped tasks are named in the UI"


def test_families_are_tuned_side_by_side(dag_bag: DagBag) -> None:
    mapped = {task.task_id for dag in dags(dag_bag) for task in dag.tasks if task.is_mapped}
    assert mapped == {"tune", "look", *jobs.JOBS}


def test_housekeeping_with_a_conf_is_refused(dag_bag: DagBag) -> None:
    task: Any = dag_bag.dags[housekeeping.DAG_ID].tasks[0]
    run = SimpleNamespace(run_id="by hand")
    with pytest.raises(RunError, match="leave dry_run out"):
        task.unmap({"name_of": "churn"}).execute({"dag_run": run, "params": {"dry_run": True}})


def test_housekeeping_is_weekly_and_each_job_of_each_name_is_a_task_of_its_own(dag_bag: DagBag) -> None:
    dag = dag_bag.dags[housekeeping.DAG_ID]
    assert dag.timetable.summary == "0 4 * * 0" and not dag.catchup and dag.max_active_runs == 1
    assert dag.doc_md is not None and "**Triage**" in dag.doc_md and "**Runbook**" in dag.doc_md
    assert [task.task_id for task in dag.tasks] == [
        "retention",
        "compaction",
        "vacuum",
        "prediction_log",
        "candidates",
        "reports",
        "working_files",
    ]
    names = sorted({spec.name for spec in (*SPECS, *DATASETS)})
    for task in dag.tasks:
        assert task.expand_input.value == {"name_of": names}
        assert not task.upstream_task_ids, "one that fails stops no other"


def test_parsing_is_light() -> None:
    from tests.dags.conftest import modules_after

    files = "\n".join(f"runpy.run_path('dags/{name}.py')" for name in (*LOOPS, "housekeeping", "serving"))
    loaded = modules_after(f"import runpy\n{files}")
    assert "evergreen.orchestration.operator" in loaded, "the files were not run"
    of_airflow_itself = modules_after("import airflow.sdk")  # httpx and SQLAlchemy
    assert not {m.split(".")[0] for m in loaded} & HEAVY - {m.split(".")[0] for m in of_airflow_itself}


def test_what_tasks_import_of_ours_is_loaded_before_they_are_forked() -> None:
    """Every task parses its DAG file anew, and its stage imports what it uses."""
    from tests.dags.conftest import modules_after

    settings = runpy.run_path(str(PROJECT / "config" / "airflow_local_settings.py"))
    ours = [name for name in settings["PRELOADED"] if name.startswith("evergreen.")]
    there = modules_after("import importlib\n" + "\n".join(f"importlib.import_module({name!r})" for name in ours))
    parsed = modules_after("import runpy\n" + "\n".join(f"runpy.run_path('dags/{name}.py')" for name in LOOPS))
    assert "evergreen.orchestration.operator" in parsed, "the files were not run"
    assert {name for name in parsed if name.startswith("evergreen.")} - there == set()

    package = PROJECT / "include" / "evergreen"
    files = {stage.__code__.co_filename for loop in LOOP_OF.values() for step in loop.steps if (stage := step.stage)}
    imports = [
        node
        for file in files
        for node in ast.walk(ast.parse(Path(file).read_text()))
        if isinstance(node, ast.ImportFrom)
    ]
    of_stages = {f"{node.module}.{each.name}" for node in imports for each in node.names} & {
        ".".join(file.relative_to(package.parent).with_suffix("").parts) for file in package.rglob("*.py")
    } | {str(node.module) for node in imports if str(node.module).startswith("evergreen.")}
    assert len(of_stages) > 20
    assert (of_stages - there) == set()


def test_what_dag_files_import_of_ours_is_loaded_before_they_are_parsed() -> None:
    """The DAG processor parses each file again and again, each time in a process that it forks."""
    from tests.dags.conftest import modules_after

    settings = PROJECT / "config" / "airflow_local_settings.py"
    there = modules_after(
        f"import runpy, sys\nsys.argv = ['airflow', 'dag-processor']\nrunpy.run_path({str(settings)!r})"
    )
    files = sorted(path.stem for path in (PROJECT / "dags").glob("*.py"))
    parsed = modules_after("import runpy\n" + "\n".join(f"runpy.run_path('dags/{name}.py')" for name in files))
    assert "evergreen.orchestration.operator" in parsed, "the files were not run"
    assert {name for name in parsed if name.startswith("evergreen.")} - there == set()
    assert not {name.split(".")[0] for name in there} & {"great_expectations", "feast", "tensorflow", "evidently"}


def test_each_file_parses_within_the_budget(dag_bag: DagBag) -> None:
    for stats in dag_bag.dagbag_stats:
        assert stats.duration.total_seconds() < PARSE_BUDGET, f"{stats.file} took {stats.duration}"


# A parse in which nothing outside of the files may be asked; prints each DAG as the bytes that Airflow would store.
PARSE = """
import json, socket
def refused(*_, **__):
    raise AssertionError("a DAG file asks for the network, a Variable or a Connection while it is parsed")
import airflow.sdk
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
socket.socket.connect = airflow.sdk.Variable.get = airflow.sdk.Connection.get = refused
bag = DagBag("dags")
assert bag.dags and not bag.import_errors, bag.import_errors
print(json.dumps({name: DagSerialization.to_dict(dag) for name, dag in bag.dags.items()}, default=str, sort_keys=True))
"""


def test_parsing_asks_nothing_and_depends_on_no_order_of_hashes() -> None:
    from tests.dags.conftest import alone

    first, second = (alone(PARSE, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first == second, "another process makes another DAG of the same files: Airflow would version it each time"


def test_every_asset_is_declared_in_one_module_and_produced_where_it_changes(dag_bag: DagBag) -> None:
    producers = {
        assets.features: ["publish_features"] * 2,  # of `ingest` and of `correct`
        assets.champion: ["deploy", "fall_back", "move", "rollback"],
        assets.decisions: ["decide"],
    }
    declared = [
        (make(spec).uri, task)
        for make, tasks in producers.items()
        for spec in (DATASETS if make is assets.features else SPECS)
        for task in tasks
    ]
    produced = [(outlet.uri, task.task_id) for dag in dags(dag_bag) for task in dag.tasks for outlet in task.outlets]
    assert sorted(produced) == sorted(declared)


def test_a_rollback_waits_behind_no_backfill(dag_bag: DagBag) -> None:
    for spec in SPECS:
        others = {task.pool for dag in dags(dag_bag) for task in dag.tasks if task.task_id != "rollback"}
        assert dag_bag.dags[f"{spec.model}__rollback"].get_task("rollback").pool not in others
        of_rollouts = {task.pool for task in dag_bag.dags[f"{spec.model}__rollout"].tasks}
        rest = {task.pool for dag in dags(dag_bag) for task in dag.tasks if "rollout" not in dag.tags}
        assert len(of_rollouts) == 1 and of_rollouts.isdisjoint(rest), "nor does a version that is to be withdrawn"


def test_a_rollout_is_looked_at_all_the_time_and_moved_by_nothing_but_what_was_compared(dag_bag: DagBag) -> None:
    from evergreen.orchestration.airflow import loop
    from evergreen.spec.rollout import CanaryRollout

    spec = SPECS[0].model_copy(update={"rollout": CanaryRollout(strategy="canary"), "last_day": None})
    dag = loop(spec, LOOP_OF["rollout"])
    table = dag.timetable
    assert (table.serialize()["cron"], table.serialize()["catch_up"]) == ("*/15 * * * *", False)
    assert not dag.is_paused_upon_creation and dag.deadline is None
    assert {task.trigger_rule.value for task in dag.tasks} == {"all_success"}
    assert paths_avoiding(dag, "collect", "compare") == set(), "a way around what was compared"
    values = {name: dag.params.get_param(name).value for name in dag.params}
    assert values == {"partition": None, "act": "observe", "rollout": None, "step": None, "reason": None}
    with pytest.raises(Exception, match=r"enum|not one of"):
        dag.params.get_param("act").resolve("promote")


def test_a_dag_serializes_to_the_same_bytes_twice(dag_bag: DagBag) -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    time.sleep(1.1)  # a clock in a constructor would show
    again = DagBag(PROJECT / "dags")
    for dag_id, dag in dag_bag.dags.items():
        first, second = (
            json.dumps(DagSerialization.to_dict(d), sort_keys=True, default=str) for d in (dag, again.dags[dag_id])
        )
        assert first == second, f"{dag_id} is another DAG at every parse: Airflow would version it each time"
