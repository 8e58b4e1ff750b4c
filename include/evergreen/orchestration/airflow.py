"""The wiring as Airflow runs it: for every valid dataset and model a DAG of each loop, with a task for each step.

What is Airflow's own stands here as data: per stage what it waits for, tells and changes; per loop
its parameters, limits and triage notes.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, BaseOperator, get_parsing_context

from evergreen.challenge import stages as challenging
from evergreen.errors import SpecError
from evergreen.features import stages as features
from evergreen.govern import stages as governing
from evergreen.ingest import stages as ingestion
from evergreen.ingest.rules import delay
from evergreen.labels import stages as labelling
from evergreen.loops.wire import BY_HAND, VALUES, Loop, LoopName, Stage, Step
from evergreen.loops.wiring import LOOPS
from evergreen.monitor import stages as monitoring
from evergreen.orchestration import assets, forms, timetable
from evergreen.orchestration.approving import ApprovingOperator
from evergreen.orchestration.deadlines import of_late
from evergreen.orchestration.failures import RETRYING
from evergreen.orchestration.identity import dag_id
from evergreen.orchestration.logins import waits
from evergreen.orchestration.notify import RUNBOOK, of_failures, of_timeouts, of_warnings
from evergreen.orchestration.operator import Awaits, StageOperator, StartOperator
from evergreen.quoting import lines
from evergreen.serve import stages as serving
from evergreen.settings import settings
from evergreen.spec import kept
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.mistakes import DATA_FILE, Mistake, spec_error
from evergreen.spec.schema import ModelSpec
from evergreen.validate import stages as validation

log = logging.getLogger(__name__)

INGEST_POOL = "evergreen_ingest"
TRAINING_POOL = "evergreen_training"
ROLLOUT_POOL = "evergreen_rollout"
ROLLBACK_POOL = "evergreen_rollback"

_TRIAGE: dict[LoopName, str] = {
    "ingest": (
        "While this is red, no new features are published; the champion goes on serving. Read the last line of the "
        "failed task's log. After a correction upstream, clear the failed task. Clearing is safe: every task replaces "
        "its own partition."
    ),
    "train": (
        "While this is red, the champion goes on serving; nothing was promoted. A *skipped* `register` is a good run "
        "whose candidate was not better. Clear the failed task to go on: finished trials and versions are not made "
        "again."
    ),
    "monitor": "While this is red, nothing watches for drift; serving goes on. After repairing an interval, "
    "clear its run and the runs of all later ones, oldest first. Only the newest window can trigger a training.",
    "correct": (
        "While this is red, the interval is what it was, or what an ingestion killed halfway leaves; the champion goes "
        "on serving. Read the last line of the failed task's log. Clear the failed task with what comes after it, or "
        "trigger the same correction again: it goes on to the same end, and is written down once."
    ),
    "rollout": (
        "While this is red, the rollout stays at its step: the champion and the version beside it go on serving, and "
        "the model server's own guards go on watching. A *skipped* `move` is a good run after which it stays. Clear "
        "the failed task to go on: it names rollout and step, and moves nothing twice. To be rid of the version, "
        "trigger a run with `act` roll_back."
    ),
    "rollback": (
        "While this is red, what served before goes on serving. The log of the failed task says which version is "
        "the champion. Clearing the task is safe: it rolls back once from the version that the form names."
    ),
}
_LIMITS: dict[LoopName, dict[str, Any]] = {
    # Intervals are independent of one another; four side by side fill two cores. A backfill has a limit of its own.
    "ingest": {"max_active_runs": 4, "dagrun_timeout": timedelta(hours=2)},
    # One training and one decision at a time: each looks at what the one before it left.
    "train": {"max_active_runs": 1, "dagrun_timeout": timedelta(hours=12)},
    "monitor": {"max_active_runs": 1, "dagrun_timeout": timedelta(hours=2)},
    # Each lists what the one before it left. Ready, as a rollback is: nothing of it runs by itself.
    "correct": {"max_active_runs": 1, "dagrun_timeout": timedelta(hours=2), "is_paused_upon_creation": False},
    # A rollout that is open while nobody moves it would stay open: so it is ready from the beginning.
    "rollout": {"max_active_runs": 1, "dagrun_timeout": timedelta(hours=1), "is_paused_upon_creation": False},
    # Never by itself, so it may stand ready; in an emergency nobody should have to find out that it was paused.
    "rollback": {"max_active_runs": 1, "dagrun_timeout": timedelta(hours=1), "is_paused_upon_creation": False},
}
_TASK_TIMEOUT: dict[LoopName, timedelta] = {
    "ingest": timedelta(minutes=30),
    "train": timedelta(hours=4),
    "monitor": timedelta(minutes=30),
    "correct": timedelta(minutes=30),
    "rollout": timedelta(minutes=10),
    "rollback": timedelta(minutes=10),
}


_POOL: dict[LoopName, str] = {
    "ingest": INGEST_POOL,
    "train": TRAINING_POOL,
    "monitor": INGEST_POOL,
    "correct": INGEST_POOL,
    "rollout": ROLLOUT_POOL,  # nor does a version that is to be withdrawn
    "rollback": ROLLBACK_POOL,  # waits behind no backfill
}


@dataclass(frozen=True)
class Options:
    """What Airflow adds to a stage."""

    awaits: Awaits | None = None  # what a scheduled run waits for
    tells: bool = False  # the `warnings` of its hand-over go to the owner
    outlet: Callable[[Any], Asset] | None = None  # the asset that it changes

    def of(self, spec: DatasetSpec | ModelSpec) -> dict[str, Any]:
        """As arguments of a task."""
        arguments: dict[str, Any] = {"awaits": self.awaits}
        if self.tells:
            arguments["on_success_callback"] = of_warnings(spec)
        if self.outlet is not None:
            arguments["outlets"] = [self.outlet(spec)]
        return arguments


_OPTIONS: Mapping[Stage, Options] = {
    ingestion.extract: Options(awaits=ingestion.awaited),
    validation.validate: Options(tells=True),
    ingestion.publish: Options(tells=True),
    validation.validate_features: Options(tells=True),
    features.publish: Options(outlet=assets.features),
    labelling.labels: Options(awaits=labelling.awaited),
    validation.validate_training: Options(tells=True),
    serving.deploy: Options(outlet=assets.champion),
    serving.roll_back: Options(outlet=assets.champion),
    challenging.move: Options(outlet=assets.champion, tells=True),
    monitoring.collect: Options(tells=True),
    monitoring.decide: Options(outlet=assets.decisions),
    monitoring.alert: Options(tells=True),
    monitoring.fall_back: Options(outlet=assets.champion),
}


@dataclass(frozen=True)
class Scheduled:
    """Whose loops Airflow runs, and the error of each other folder."""

    datasets: list[DatasetSpec]
    models: list[ModelSpec]
    errors: list[SpecError]
    wanted: str | None = None  # the DAG that this process asks for; None: all

    def of(self, wired: Loop) -> list[DatasetSpec] | list[ModelSpec]:
        """Those whose DAG of a loop is asked for."""
        if wired.of == "dataset":
            return [each for each in self.datasets if self.wanted in (None, dag_id(each.name, wired.name))]
        return [each for each in self.models if self.wanted in (None, dag_id(each.name, wired.name))]

    def users(self, dataset: str) -> list[ModelSpec]:
        """The models that use a dataset of a folder that is not their own."""
        return [model for model in self.models if dataset in model.data]


def scheduled() -> Scheduled:
    """The datasets and models whose folder is valid and whose loops Airflow takes; `dags/spec_errors.py` says in the UI
    what is wrong with the others.

    The process of a task asks for the DAG of that task alone. Its loops were taken when the run was made, and no other
    ones are built: so what a task costs does not grow with the number of models.
    """
    declared = kept.declared(settings().models, settings().data)
    errors = declared.errors
    if (wanted := get_parsing_context().dag_id) is not None:
        return Scheduled(declared.valid_datasets, declared.valid_models, errors, wanted)
    refused: dict[Path, SpecError] = {}  # one of each folder, which may declare both

    def taken(spec: DatasetSpec | ModelSpec) -> bool:
        if (error := _refusal(spec)) is not None:
            refused.setdefault(spec.folder, error)
        return error is None

    datasets = [each for each in declared.valid_datasets if taken(each)]
    models = [each for each in declared.valid_models if taken(each)]
    return Scheduled(datasets, models, [*errors, *refused.values()])


def _refusal(spec: DatasetSpec | ModelSpec) -> SpecError | None:
    """Why Airflow does not take the loops of a dataset or model; None: it does."""
    try:
        for each in LOOPS.values():
            if (each.of == "dataset") == isinstance(spec, DatasetSpec):
                _dag(spec, each)
    except Exception as error:  # a DAG file that raises has no DAGs, of anybody
        log.exception("building the loops of %s", spec.name)
        allowed = f"a {'dataset' if spec.file == DATA_FILE else 'model'} that Airflow can schedule"
        mistake = Mistake(spec.file, "", f"{type(error).__name__}: {error}", allowed, "correct what it names")
        return spec_error(f"building the loops of {spec.name}", spec.name, [mistake])
    return None


def loop(spec: DatasetSpec | ModelSpec, wired: Loop, story: str | None = None, users: Sequence[ModelSpec] = ()) -> DAG:
    """The DAG of one loop of one dataset or model.

    Args:
        story: the docstring of the DAG file, whose prose after the first paragraph the DAG's page shows.
        users: of a dataset, the models that use it.
    """
    with _dag(spec, wired, (story or "").partition("\n\n")[2].strip(), users) as dag:
        tasks: dict[Step, BaseOperator] = {}
        for step in wired.steps:
            tasks[step] = _task(spec, wired.name, step, tasks)
            for earlier in step.after:
                tasks[step].set_upstream(tasks[earlier])
    return dag


def _task(spec: DatasetSpec | ModelSpec, name: LoopName, step: Step, tasks: Mapping[Step, BaseOperator]) -> Any:
    """The task of a step; its inputs are what the tasks before it left, which also draws the edges."""
    inputs = {parameter: tasks[giver].output for parameter, giver in step.given.items()}
    options: dict[str, Any] = {"spec": spec, "loop": name, "step": step, "task_id": step.name}
    if step.starts is not None:
        return StartOperator(trigger_dag_id=dag_id(spec.name, step.starts), wanted=inputs["wanted"], **options)
    assert step.stage is not None
    options |= {"doc_md": step.stage.__doc__} | _OPTIONS.get(step.stage, Options()).of(spec)
    if step.stage is governing.approve and isinstance(spec, ModelSpec) and spec.risk is not None and spec.risk.asks:
        return ApprovingOperator(inputs=inputs, **options)
    if step.over is None:
        return StageOperator(inputs=inputs, **options)
    names = f"{{{{ task.mapped['{step.over}'] }}}}"
    mapped = StageOperator.partial(inputs=inputs, map_index_template=names, **options)
    return mapped.expand(mapped=[{step.over: value} for value in VALUES[step.over](spec)])


def _dag(spec: DatasetSpec | ModelSpec, wired: Loop, story: str = "", users: Sequence[ModelSpec] = ()) -> DAG:
    name = wired.name
    return DAG(
        dag_id=dag_id(spec.name, name),
        description=f"{spec.name}: {wired.about}",
        schedule=timetable.of(spec, name),  # which has the first day, too
        catchup=False,  # from the first day on; what the timetable catches up begins at the last run
        deadline=of_late(spec, name),
        params=forms.of(spec, name),
        tags=["evergreen", spec.name, name],
        doc_md=_doc(spec, wired, story),
        on_failure_callback=of_timeouts(spec) or None,
        default_args={
            "owner": spec.owner.name,
            "pool": _POOL[name],
            **RETRYING,
            "execution_timeout": _TASK_TIMEOUT[name],
            "on_failure_callback": of_failures(spec, users),
        },
        **_limits(spec, name),
    )


def _limits(spec: DatasetSpec | ModelSpec, name: LoopName) -> dict[str, Any]:
    """What a run may wait for is no part of the time that it may take; nor do those that wait for an interval keep
    later ones from running side by side."""
    limits, late = dict(_LIMITS[name]), timedelta()
    if name not in BY_HAND and name != "rollout":
        late = max(map(delay, spec.datasets.values())) + spec.schedule.wait
    if name == "ingest":
        limits["max_active_runs"] += late // spec.calendar.shortest
    return limits | {"dagrun_timeout": limits["dagrun_timeout"] + late + waits(spec, name)}


def _doc(spec: DatasetSpec | ModelSpec, wired: Loop, story: str) -> str:
    return (
        f"### {spec.name}: {wired.about}\n\n{_as_markdown(spec.description)}\n\n"
        f"**Owner** {_as_markdown(spec.owner.name)} <{spec.owner.email}>\n\n"
        f"{story}\n\n"
        f"**Triage** {_TRIAGE[wired.name]}\n\n**Runbook** `{RUNBOOK}`\n"
    )


def _as_markdown(text: str) -> str:
    """A text of the spec as Markdown that reads the same: what stands in it makes no link, no image and no element."""
    return re.sub(r"([\\<&\[\]!`*_#|~])", r"\\\1", lines(text))
