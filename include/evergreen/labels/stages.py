"""Labels: computed by the model's own loops, as outcomes mature.

What is written is decided under a lock on the partition, from the inputs that are published at that moment; so a
training and the monitor may work side by side, and a killed run is simply run again.
"""

from __future__ import annotations

import logging
from datetime import datetime

from evergreen.errors import WriteConflict
from evergreen.features import rules
from evergreen.handovers.labels import Labelled, WrittenLabels
from evergreen.lake.schema import LABELS, RAW
from evergreen.run import Run

log = logging.getLogger(__name__)

_ATTEMPTS = 5  # a partition whose inputs change while it is written is computed again; more than this is no coincidence


def labels(run: Run) -> Labelled:
    """Compute and publish every label partition that a training as of the run's moment may use, whose outcomes have
    matured and whose inputs have changed.

    A label's span is complete only when the batch that ends at cutoff + horizon is published, so a label that is
    written is mature; when it may be used, its own `known_at` says.

    Raises:
        WriteConflict: the inputs kept changing.
    """
    from evergreen.features import computing, due

    spec = run.spec
    outcomes = LABELS.of(spec.model, spec.label.name)
    spans = rules.mature_label_spans(spec, run.as_of)
    written: dict[str, WrittenLabels] = {}
    for _ in range(_ATTEMPTS):
        wanted = due.of_label(spec, spans)
        if not wanted:
            rows = {partition: entry.rows for partition, entry in written.items()}
            log.info("Label %s/%s: %s", spec.model, outcomes.name, due.summary(rows, "no outcome matured or changed"))
            return Labelled(partitions=written)
        for partition, each in wanted.items():
            with due.locked(outcomes.at(partition)):
                if (now := due.of_label(spec, [each.span]).get(partition)) is not None:
                    table, without = computing.labels(spec, now.span)
                    entry = due.write(outcomes, now, table)
                    written[partition] = WrittenLabels(**dict(entry), without_outcome=without)
                    if without:
                        log.info("%s: %d of %d requests have no outcome", partition, without, without + table.num_rows)
    raise WriteConflict(
        f"publishing the labels of {run.subject}",
        found=f"other runs changed the days that they look back at {_ATTEMPTS} times meanwhile",
        expected="published days that hold still for a moment",
        next_step="none: the task is retried by itself",
    )


def awaited(run: Run, now: datetime) -> list[str]:
    """What the ingestion of the run's day has still to do, in every dataset that the model uses: what a scheduled
    training or monitoring of the same day waits for."""
    from evergreen.features import due
    from evergreen.lake import catalogue

    partition, missing = run.interval.partition, []
    for dataset in run.spec.datasets.values():
        raw = [name for name in dataset.sources if not catalogue.published(RAW.of(dataset.name, name), [partition])]
        views = [view for view in dataset.features if due.of_view(dataset, view, run.interval)]
        missing += [f"{dataset.name}/{name} of {partition}" for name in (*raw, *views)]
    return missing
