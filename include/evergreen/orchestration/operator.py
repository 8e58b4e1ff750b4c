"""A stage as an Airflow task."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import Asset, BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from evergreen.disk import told_when_full
from evergreen.errors import BatchMissing, StageSkipped
from evergreen.orchestration import links
from evergreen.orchestration.identity import run_of
from evergreen.orchestration.waiting import wait
from evergreen.run import Run
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context, XComArg

log = logging.getLogger(__name__)

StageFunction = Callable[..., Any]
Awaits = Callable[[Run, datetime], Sequence[str]]


class StageOperator(BaseOperator):
    """Runs `stage(run, **inputs)` and keeps its JSON result.

    Args:
        spec: the model.
        stage: the stage function; its result travels by XCom, so it is small.
        inputs: results of earlier stages, by the stage's argument names.
        mapped: further inputs, one dictionary a mapped task.
        awaits: what a scheduled run waits for before the stage runs: `awaits(run, now)` names what is missing still. For a batch
            that the stage itself misses it waits too.
    """

    template_fields: Sequence[str] = ("inputs", "mapped")
    template_fields_renderers: ClassVar[dict[str, str]] = {"inputs": "json", "mapped": "json"}
    operator_extra_links: ClassVar[tuple[BaseOperatorLink, ...]] = (
        links.MlflowRunLink(),
        links.DataDocsLink(),
        links.DriftReportLink(),
        links.ModelServerLink(),
    )
    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        spec: ModelSpec,
        stage: StageFunction,
        inputs: Mapping[str, Any] | None = None,
        mapped: Mapping[str, Any] | None = None,
        awaits: Awaits | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.stage = stage
        self.inputs = inputs or {}
        self.mapped = mapped or {}
        self.awaits = awaits

    def execute(self, context: Context) -> Any:
        run = run_of(self.spec, context)
        log.info("%s: %s as of %s (%s)", self.spec.model, self.task_id, run.as_of.isoformat(), run.reason)
        if self.awaits is not None and (missing := self.awaits(run, datetime.now(UTC))):
            wait(run, context["dag_run"], ", ".join(missing))
            log.warning("Going on without %s", ", ".join(missing))
        try:
            with told_when_full(f"running {self.task_id} of {run.subject}"):
                result = self.stage(run, **self.inputs, **self.mapped)
        except StageSkipped as reason:
            raise AirflowSkipException(str(reason)) from None
        except BatchMissing as error:
            wait(run, context["dag_run"], f"{error.expected}: {error.found}")
            raise
        finally:
            links.publish(context["ti"], dict(run.links))
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra.update(_extra(run.interval.partition, result))
        return result


def _extra(partition: str, result: Any) -> dict[str, Any]:
    """The small part of a result that an asset event carries."""
    small = (
        {k: v for k, v in result.items() if isinstance(v, str | int | float | bool)} if isinstance(result, dict) else {}
    )
    return {"partition": partition, **json.loads(json.dumps(small))}


class Stages:
    """Makes the tasks of one DAG: `stages(train.build)()`, `stages(train.tune).partial(data=…).expand(family=…)`."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def __call__(self, stage: StageFunction, **options: Any) -> StageTask:
        options.setdefault("task_id", stage.__name__)
        options.setdefault("doc_md", stage.__doc__)
        return StageTask(self.spec, stage, options)


class StageTask:
    """A stage that waits for its inputs."""

    def __init__(
        self, spec: ModelSpec, stage: StageFunction, options: dict[str, Any], fixed: dict[str, Any] | None = None
    ) -> None:
        self._spec = spec
        self._stage = stage
        self._options = options
        self._fixed = fixed or {}

    def __call__(self, **inputs: Any) -> XComArg:
        """One task with these inputs."""
        task = StageOperator(spec=self._spec, stage=self._stage, inputs=self._fixed | inputs, **self._options)
        return task.output

    def partial(self, **inputs: Any) -> StageTask:
        """The inputs that every mapped task shares."""
        return StageTask(self._spec, self._stage, self._options, self._fixed | inputs)

    def expand(self, **inputs: Sequence[Any]) -> XComArg:
        """One task for each value of the one input given; named after the value in the UI."""
        ((name, values),) = inputs.items()
        mapped = StageOperator.partial(
            spec=self._spec,
            stage=self._stage,
            inputs=self._fixed,
            map_index_template=f"{{{{ task.mapped['{name}'] }}}}",
            **self._options,
        ).expand(mapped=[{name: value} for value in values])
        return mapped.output
