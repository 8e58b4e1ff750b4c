"""What a process does once before it forks tasks, so that none of them has to: whatever is the same in each of them and
survives a fork. No connection, file or thread does; nothing of that is opened here and left open.

What depends on a file's content is asked for by that content again in each task: a folder, query or template that was
changed since is read anew.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import evergreen
from evergreen.handovers.handover import Handover, Part
from evergreen.loops.wiring import LOOPS
from evergreen.orchestration.airflow import loop
from evergreen.settings import settings
from evergreen.spec import files, kept
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.schema import ModelSpec

if TYPE_CHECKING:
    from evergreen.spec.runner import Query

log = logging.getLogger(__name__)


def prepare() -> None:
    """Prepare all that is the same in every task; what cannot be prepared costs the tasks their time and nothing
    else."""
    _shapes(Part)
    _templates()
    declared = kept.keep(settings().models, settings().data)  # also asks every installed package for its entry points
    specs: list[DatasetSpec | ModelSpec] = [*declared.valid_datasets, *declared.valid_models]
    for spec in specs:
        try:
            _queries(spec)
        except Exception:  # of one folder: its tasks will say what is wrong
            log.exception("preparing the queries of %s", spec.name)
    _airflow(specs)


def _shapes(kind: type[Part]) -> None:
    """What the hand-overs are read and written by."""
    for each in kind.__subclasses__():
        each.model_rebuild()
        if issubclass(each, Handover):
            each.mark()
        _shapes(each)


def _templates() -> None:
    from evergreen.reports import pages

    for template in Path(evergreen.__file__).parent.rglob("*.html"):
        pages.compiled(template)


def _queries(spec: DatasetSpec | ModelSpec) -> None:
    """What DuckDB's parser says of each query."""
    from evergreen.spec.query import refusals

    for query in _of(spec):
        refusals(files.query(spec, query.file), query.sources, query.parameters)


def _of(spec: DatasetSpec | ModelSpec) -> Iterator[Query]:
    from evergreen.spec.runner import Query

    if isinstance(spec, DatasetSpec):
        yield from (Query.of_view(spec, view) for view in spec.features)
        return
    yield Query.of_label(spec)


def _airflow(specs: Sequence[DatasetSpec | ModelSpec]) -> None:
    """What Airflow looks up when a DAG is built: of one of each loop."""
    for wired in LOOPS.values():
        for spec in specs:
            if (wired.of == "dataset") == isinstance(spec, DatasetSpec):
                loop(spec, wired)
                break
