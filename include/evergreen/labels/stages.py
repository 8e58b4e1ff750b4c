"""Labels: computed by the model's own loops, as outcomes mature.

What is written is decided under a lock on the partition, from the inputs that are published at that moment; so a
training and the monitor may work side by side, and a killed run is simply run again.
"""

from __future__ import annotations

from datetime import datetime

from evergreen.features import rules
from evergreen.handovers.labels import Labelled
from evergreen.lake.schema import RAW
from evergreen.run import Run


def labels(run: Run) -> Labelled:
    """Compute and publish every label partition that a training as of the run's moment may use, whose outcomes have
    matured and whose inputs have changed.

    A label's span is complete only when the batch that cutoff + horizon lies in is published, so a label that is
    written is mature; when it may be used, its own `known_at` says.

    Raises:
        WriteConflict: the inputs kept changing.
        CalendarChanged: a dataset was published by another calendar.
    """
    from evergreen.labels import writing
    from evergreen.lake import calendars

    calendars.check(run.spec.datasets.values())
    return Labelled(partitions=writing.write(run.spec, rules.mature_label_spans(run.spec, run.as_of)))


def awaited(run: Run, now: datetime) -> list[str]:
    """What the ingestion of the run's interval has still to do, in every dataset that the model uses: what a scheduled
    training or monitoring of the same one waits for."""
    from evergreen.features import due
    from evergreen.lake import catalogue

    interval, missing = run.spec.calendar.at(run.interval.partition), []
    for dataset in run.spec.datasets.values():
        raw = [
            name for name in dataset.dated if not catalogue.published(RAW.of(dataset.name, name), [interval.partition])
        ]
        views = [view for view in dataset.features if due.of_view(dataset, view, interval)]
        missing += [f"{dataset.name}/{name} of {interval.partition}" for name in (*raw, *views)]
    return missing
