"""A correction's own stages. Between `begin` and `relabel` run those of an ingestion, as ever."""

from __future__ import annotations

import logging
from functools import partial

from evergreen.correct import rules
from evergreen.errors import StageSkipped
from evergreen.handovers.correct import Begun, Planned, Relabelled
from evergreen.run import DatasetRun

log = logging.getLogger(__name__)


def plan(run: DatasetRun) -> Planned:
    """Read the interval's batches anew, and list exactly what running it again would change. Nothing is written.

    Raises:
        BatchMissing, BatchUnreadable, ConnectionUnknown, ServiceUnavailable: naming the file, or connection and query.
        ContractBroken: a critical expectation failed, of a source or of a computed view.
    """
    from evergreen.correct import planning

    planned = planning.plan(run)
    for each in rules.lines(run.spec.name, planned):
        log.info("%s", each)
    return planned


def begin(run: DatasetRun, planned: Planned) -> Begun:
    """Write down who corrects the interval, and why, in the history of the dataset and of each model that uses it.

    Raises:
        StageSkipped: it is a dry run, or there is nothing to change.
    """
    from evergreen.correct import planning
    from evergreen.history import ledger

    if planned.nothing:
        raise StageSkipped("nothing to change: what the batches say is published")
    if run.dry_run:
        raise StageSkipped("a dry run: the log of `plan` says what would change")
    names = sorted({run.spec.name, *(model.model for model in planning.users(run.spec.name))})
    for name in names:
        event = rules.event(planned, run.spec.name, name, as_of=run.as_of, actor=run.actor, reason=run.reason)
        ledger.extend(name, partial(rules.unless_begun, event), "corrected")
    return Begun(names=tuple(names))


def relabel(run: DatasetRun) -> Relabelled:
    """Compute the label partitions again that the interval is part of, of every model that uses the dataset; those that
    are not there yet the model's own loops compute as they mature.

    Raises:
        WriteConflict: the inputs kept changing.
    """
    from evergreen.correct import planning
    from evergreen.labels import writing

    return Relabelled(
        models={
            model.model: writing.write(model, planning.label_spans(model, run))
            for model in planning.users(run.spec.name)
        }
    )
