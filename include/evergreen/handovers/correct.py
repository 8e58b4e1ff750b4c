"""What a correction hands over: what it would change, and that it has begun."""

from __future__ import annotations

from collections.abc import Mapping

from evergreen.handovers.handover import Handover, Part
from evergreen.handovers.labels import WrittenLabels


class Change(Part):
    """A partition that would be written again."""

    before: int | None
    """Its rows now; None: it is not there."""
    rows: int
    """Its rows then."""
    same: bool
    """Its content is the same then: only what it was computed from is another."""


class ChangedSource(Part):
    """What an interval of a source would hold."""

    published: Change
    """Its raw partition."""
    quarantined: Change
    """Its quarantine."""
    released: int
    """Published rows that a person released from quarantine."""
    replaces: int | None
    """The version of the raw table that has the rows of now; None: none has."""
    content_hash: str
    """Digest of both partitions then."""
    erased: int
    """Rows that erasures removed from both since they were published."""
    back: int
    """Rows of the batch that may be of who was erased: of keys that are not there. They would be published."""

    @property
    def same(self) -> bool:
        """Nothing of it would change."""
        return self.published.same and self.quarantined.same


class ChangedOnline(Part):
    """What the online store would take over of a view."""

    partitions: tuple[str, ...]
    """The partitions that would be brought online."""
    entities: int
    """Entities whose values or their moment would change."""


class Planned(Handover):
    """Exactly what running an interval again would change, now."""

    partition: str
    """The interval."""
    sources: Mapping[str, ChangedSource]
    """source → what would become of it."""
    features: Mapping[str, Mapping[str, Change]]
    """view → partition → what would become of it; those that would be computed again."""
    online: Mapping[str, ChangedOnline]
    """view → what would be brought online."""
    labels: Mapping[str, Mapping[str, Change]]
    """model → partition of its label → what would become of it; those that would be computed again."""
    models: tuple[str, ...]
    """The models that have one of these labels, or use one of these views."""
    versions: Mapping[str, Mapping[str, tuple[str, ...]]]
    """model → version → the days by which the same training would differ now."""
    decisions: Mapping[str, tuple[str, ...]]
    """model → its monitor's open decisions about windows that may hold the interval, in words."""
    erasures: tuple[str, ...]
    """The ids of the erasures after which somebody may come back."""

    @property
    def nothing(self) -> bool:
        """Nothing would be written."""
        same = all(source.same for source in self.sources.values())
        return same and not any((self.features, self.online, self.labels))


class Begun(Handover):
    """A correction is written down, with who and why, and nothing is changed yet."""

    names: tuple[str, ...]
    """Whose history has it: the dataset, and the models that use it."""


class Relabelled(Handover):
    """The label partitions that were computed again."""

    models: Mapping[str, Mapping[str, WrittenLabels]]
    """model → partition → what was written."""
