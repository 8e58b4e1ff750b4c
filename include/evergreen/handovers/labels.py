"""What the labels of a model hand over."""

from __future__ import annotations

from collections.abc import Mapping

from evergreen.handovers.handover import Handover
from evergreen.handovers.ingest import WrittenPartition


class WrittenLabels(WrittenPartition):
    """A label partition that was replaced in the lake."""

    without_outcome: int
    """Predictions of the interval that have no outcome: requests without one, or outcomes that are still open."""


class Labelled(Handover):
    """The label partitions that had matured or changed."""

    partitions: Mapping[str, WrittenLabels]
    """partition → what was written."""
