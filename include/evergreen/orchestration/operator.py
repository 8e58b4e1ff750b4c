"""A stage as an Airflow task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from evergreen.disk import raising_disk_full
from evergreen.errors import BatchMissing, EvergreenError, StageSkipped
from evergreen.handovers.handover import Handover
from evergreen.handovers.monitor import Retraining
from evergreen.links import Link
from evergreen.loops.wire import LoopName, Result, Step
from evergreen.loops.wiring import LOOPS
from evergreen.orchestration import datasets, links, logins, missed, openlineage, stuck
from evergreen.orchestration.identity import check_params, run_of
from evergreen.orchestration.waiting import wait
from evergreen.run import AnyRun
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import BaseOperatorLink, Context

log = logging.getLogger(__name__)

Awaits = Callable[[Any, datetime], Sequence[str]]


class StageOperator(BaseOperator):
    """Runs a step's stage: reads the hand-overs that it takes, and leaves its own.

    Args:
        spec: the dataset or model.
        loop: the loop that the step is of.
        step: what is run.
        inputs: what earlier tasks left, by the stage's argument names.
        mapped: the value that a mapped task is for, by the stage's argument name.
        awaits: what a scheduled run waits for before the stage runs: `awaits(run, now)` names what is missing still.
            For a batch that the stage itself misses it waits too.
    """

    template_fields: Sequence[str] = ("inputs", "mapped")
    template_fields_renderers: ClassVar[dict[str, str]] = {"inputs": "json", "mapped": "json"}
    operator_extra_links: Collection[BaseOperatorLink] = links.BUTTONS  # for the UI; of one that has run, only its own
    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        spec: DatasetSpec | ModelSpec,
        loop: LoopName,
        step: Step,
        inputs: Mapping[str, Any] | None = None,
        mapped: Mapping[str, Any] | None = None,
        awaits: Awaits | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.loop = loop
        self.step = step
        self.inputs = inputs or {}
        self.mapped = mapped or {}
        self.awaits = awaits
        self.done: tuple[Mapping[str, Result], Handover] | None = None  # what it took and hands over, once it has run

    def execute(self, context: Context) -> Any:
        with stuck.ended(self.execution_timeout):
            return self._execute(context)

    def _execute(self, context: Context) -> Any:
        if self.first:
            check_params(self.spec.name, context["dag_run"], context["params"], self.dag.params)
            logins.check(self.spec, self.loop)
        run = run_of(self.spec, self.loop, context)
        log.info(
            "%s of %s: %s, as of %s (%s)",
            self.spec.name,
            run.interval.partition,
            self.task_id,
            run.as_of.isoformat(),
            run.reason,
        )
        if self.first and self.loop != "rollout":  # whose runs are many, and of no interval
            missed.look(run, context)
        if self.awaits is not None and (missing := self.awaits(run, datetime.now(UTC))):
            wait(run, context["dag_run"], ", ".join(missing))
            log.warning("Going on without %s", ", ".join(missing))
        given = {
            name: step.read(self.inputs.get(name), self.spec, run.subject) for name, step in self.step.given.items()
        }
        pages = _pages(given.values())  # what a failed task can show at least
        try:
            result = self._run(run, given)
            pages |= result.links()
        except EvergreenError as error:
            pages |= error.links
            if isinstance(error, BatchMissing):
                wait(run, context["dag_run"], f"{error.expected}: {error.found}")
            raise
        except StageSkipped as reason:
            raise AirflowSkipException(str(reason)) from None
        finally:
            self.operator_extra_links = links.leading_to(pages)
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra.update({"partition": run.interval.partition, **result.extra()})
        self.done = given, result
        return result.to_json()

    def get_openlineage_facets_on_start(self) -> OperatorLineage:
        """What it is to read and write, as far as the spec says; Airflow's OpenLineage provider asks for it."""
        assert self.step.stage is not None
        return openlineage.told(datasets.of(self.step.stage, self.spec, {}, None))

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage:
        """What it read and wrote."""
        assert self.step.stage is not None
        given, result = self.done or ({}, None)
        return openlineage.told(datasets.of(self.step.stage, self.spec, given, result))

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage:
        """What it was to read and write."""
        return self.get_openlineage_facets_on_start()

    @property
    def first(self) -> bool:
        """It is the loop's first task, of several the one that the wiring names first."""
        return self.step.stage is LOOPS[self.loop].steps[0].stage

    def _run(self, run: AnyRun, given: Mapping[str, Result]) -> Handover:
        assert self.step.stage is not None
        with raising_disk_full(f"running {self.task_id} of {run.subject}"):
            return self.step.stage(run, **given, **self.mapped)


def _pages(results: Any) -> dict[Link, str]:
    """The pages of what a task was given; of several candidates, none in particular."""
    pages: dict[Link, str] = {}
    for result in results:
        if isinstance(result, Handover):
            pages |= result.links()
    return pages


class StartOperator(TriggerDagRunOperator):
    """Starts the run of another loop that a hand-over names, once: a run of that id that is there already is enough.

    Args:
        step: what it is for; its only input says which run.
        wanted: what that left.
    """

    template_fields: Sequence[str] = (*TriggerDagRunOperator.template_fields, "wanted")

    def __init__(self, *, spec: ModelSpec, loop: LoopName, step: Step, wanted: Any = None, **kwargs: Any) -> None:
        super().__init__(
            logical_date=None,  # the run's time is its conf's as_of; a date of now would clash and mean nothing
            skip_when_already_exists=True,
            fail_when_dag_is_paused=True,
            openlineage_inject_parent_info=False,  # conf holds the run's params and nothing else
            **kwargs,
        )
        self.spec = spec
        self.loop = loop
        self.step = step
        self.wanted = wanted

    def execute(self, context: Context) -> None:
        run = run_of(self.spec, self.loop, context)
        wanted = self.step.given["wanted"].read(self.wanted, self.spec, run.subject)
        assert isinstance(wanted, Retraining)
        self.trigger_run_id = wanted.run_id
        self.conf = wanted.conf.model_dump(mode="json")
        super().execute(context)
