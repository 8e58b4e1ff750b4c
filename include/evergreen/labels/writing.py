"""Label partitions: computed and published under a lock, from the inputs that are published at that moment."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from evergreen import keeping
from evergreen.errors import WriteConflict
from evergreen.features import computing, due, rules
from evergreen.handovers.labels import WrittenLabels
from evergreen.lake.schema import LABELS
from evergreen.settings import settings
from evergreen.spec.schema import ModelSpec

log = logging.getLogger(__name__)

_ATTEMPTS = 5  # a partition whose inputs change while it is written is computed again; more than this is no coincidence


def write(spec: ModelSpec, spans: Sequence[rules.Span]) -> dict[str, WrittenLabels]:
    """Compute and publish those of some partitions whose outcomes have matured and whose inputs have changed.

    Raises:
        WriteConflict: the inputs kept changing.
    """
    with keeping.reading(settings().query_memory // keeping.PART):  # partitions look at the same raw days
        return _write(spec, spans)


def _write(spec: ModelSpec, spans: Sequence[rules.Span]) -> dict[str, WrittenLabels]:
    outcomes = LABELS.of(spec.model, spec.label.name)
    written: dict[str, WrittenLabels] = {}
    for _ in range(_ATTEMPTS):
        wanted = due.of_label(spec, spans)
        if not wanted:
            rows = {partition: entry.rows for partition, entry in written.items()}
            log.info("Label %s/%s: %s", spec.model, outcomes.name, due.summary(rows, "no outcome matured or changed"))
            return written
        for partition, each in wanted.items():
            with due.locked(outcomes.at(partition)):
                if (now := due.of_label(spec, [each.span]).get(partition)) is not None:
                    table, without = computing.labels(spec, now.span)
                    entry = due.write(outcomes, now, table)
                    written[partition] = WrittenLabels(**dict(entry), without_outcome=without)
                    if without:
                        log.info(
                            "%s: %d of %d predictions have no outcome", partition, without, without + table.num_rows
                        )
    raise WriteConflict(
        f"publishing the labels of {spec.model}",
        found=f"other runs changed the partitions that they look back at {_ATTEMPTS} times meanwhile",
        expected="published partitions that hold still for a moment",
        next_step="none: the task is retried by itself",
    )
