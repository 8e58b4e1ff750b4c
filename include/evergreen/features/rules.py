"""Which feature and label partitions a published day makes due, and from which raw partitions.

A feature partition sees the raw days of `[as_of - look_back, as_of)`, a label partition those of
`[cutoff - 1 interval, cutoff + horizon)`. It is due as soon as every one of those days is published (days before the
spec's first count as present) and what it is computed from has changed since it was last written. After publishing day
`d` a run looks at exactly the partitions whose days contain `d`, so days may be published in any order and side by
side: whoever publishes the last missing day of a span computes it.

A batch may hold rows from after its own day: a file of a local day west of UTC, say. A partition whose rows reach into
a later span is read there too, and is among what the span is computed from; who publishes it looks at these spans too.
Rows from before a batch's day are in the spans that look back that far, and no span knows them earlier.

What a partition may know does not depend on the run that computes it: the query sees rows with `known_at` up to the
span's end. A run of an old day that completes a span of later days therefore writes what a run in order would have
written, and a label whose span is complete is mature by construction (the batch that closes the span only exists at
`cutoff + horizon`). Readers compare the row's own `known_at` with their `as_of`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from evergreen.interval import DAY, Interval, days

if TYPE_CHECKING:
    from evergreen.spec.dataset import DatasetSpec
    from evergreen.spec.schema import ModelSpec


@dataclass(frozen=True)
class Span:
    """One feature or label partition, and what its query may see."""

    interval: Interval  # names the partition; as_of (features) or cutoff (labels) is its end
    start: datetime  # first event time that the query sees
    end: datetime  # first event time that it does not see, and the newest known_at that it does
    days: tuple[str, ...]  # raw partitions that it reads and waits for, oldest first
    reaching: tuple[tuple[str, str], ...] = ()  # sources, and earlier partitions of theirs that have rows in it

    @property
    def partition(self) -> str:
        return self.interval.partition

    def reads(self, source: str) -> tuple[str, ...]:
        """The raw partitions of a source that can hold rows of it, oldest first."""
        return (*(partition for name, partition in self.reaching if name == source), *self.days)


@dataclass(frozen=True)
class Due:
    """A span that must be computed, with the fingerprint of what it is computed from."""

    span: Span
    inputs_hash: str


def feature_spans(spec: DatasetSpec, view: str, day: Interval, reach: datetime | None = None) -> list[Span]:
    """The partitions of a view that look back at `day`, oldest first.

    Args:
        reach: the newest row of the day's batches, where it lies after the day.
    """
    return _spans(spec, day, spec.features[view].look_back, timedelta(0), reach)


def label_spans(spec: ModelSpec, day: Interval, reach: datetime | None = None) -> list[Span]:
    """The label partitions whose outcome or starting point lies in `day`, oldest first.

    Args:
        reach: the newest row of the day's batches, where it lies after the day.
    """
    return _spans(spec, day, _before_label(spec, day), spec.label.horizon, reach)


def mature_label_spans(spec: ModelSpec, as_of: datetime) -> list[Span]:
    """The label partitions that a training as of a moment may use, oldest first: their outcomes are known by then, and
    a prediction of theirs lies within the training's window."""
    since, matured = as_of - spec.split.window, as_of - spec.label.horizon
    return [
        _span(spec, owner, _before_label(spec, owner), spec.label.horizon)
        for owner in days(max(spec.first_day, (since - DAY).date()), matured.date())
        if since <= owner.end <= matured
    ]


def _before_label(spec: ModelSpec, owner: Interval) -> timedelta:
    """How far before its end the queries of a label partition see."""
    return owner.end - owner.start + spec.asking.look_back


def _spans(
    spec: DatasetSpec | ModelSpec, day: Interval, before: timedelta, after: timedelta, reach: datetime | None = None
) -> list[Span]:
    """The intervals `i` of the grid that `day` lies on, where `[i.end - before, i.end + after)` overlaps `day`, or what
    lies between it and its reach."""
    step = day.end - day.start
    back, ahead = _whole(before, step), _whole(after, step)
    further = 0 if reach is None or reach < day.end else (reach - day.end) // step + 1
    owners = (_shift(day, n) for n in range(-ahead, back + further))
    return [_span(spec, owner, before, after) for owner in owners if owner.partition >= spec.first_day.isoformat()]


def _span(spec: DatasetSpec | ModelSpec, owner: Interval, before: timedelta, after: timedelta) -> Span:
    """The span `[owner.end - before, owner.end + after)`, with the days of data that it touches."""
    step = owner.end - owner.start
    seen = (_shift(owner, n).partition for n in range(1 - _whole(before, step), _whole(after, step) + 1))
    days = tuple(partition for partition in seen if partition >= spec.first_day.isoformat())
    return Span(owner, owner.end - before, owner.end + after, days)


def _whole(time: timedelta, step: timedelta) -> int:
    """Intervals, rounded up."""
    return -(-time // step)


def with_reaching(spans: Iterable[Span], reaches: Mapping[str, Mapping[str, datetime]]) -> list[Span]:
    """The spans, each with the partitions before its own that have rows in it.

    Args:
        reaches: source → partition → its newest row, of those that have rows from after their own interval.
    """
    return [
        replace(
            span,
            reaching=tuple(
                (source, partition)
                for source, newest in sorted(reaches.items())
                for partition, moment in sorted(newest.items())
                if partition < span.days[0] and moment >= span.start
            ),
        )
        for span in spans
    ]


def _shift(interval: Interval, steps: int) -> Interval:
    offset = steps * (interval.end - interval.start)
    return Interval(interval.start + offset, interval.end + offset)


def feature_declaration(spec: DatasetSpec, view: str, sql: str) -> str:
    """Everything declared that decides what a view's partition holds; a change makes every partition due again."""
    declared = spec.features[view]
    keys = declared.model_dump(mode="json", exclude={"contract", "sql", "freshness"})
    if spec.of_a_model:  # whose first entity and references are all one declaration, as they always were
        first, *others = spec.entities
        about: list[object] = [
            _entity(spec, first),
            {name: spec.entities[name].model_dump(mode="json") for name in others},
        ]
    else:  # what another view is about changes nothing here
        about = [_entity(spec, spec.entity_of(view).name), {}]
    return _declaration(spec, declared.sources, sql, keys, about)


def _entity(spec: DatasetSpec, name: str) -> dict[str, object]:
    return {"name": name, **spec.entities[name].model_dump(mode="json")}


def label_sources(spec: ModelSpec) -> tuple[str, ...]:
    """The tables that a label partition is computed from."""
    return tuple(dict.fromkeys((*spec.label.sources, *spec.asking.sources)))


def label_declaration(spec: ModelSpec, sql: str, *asking: str) -> str:
    """Everything declared that decides what a label partition holds; `asking`: the
    text of each of `spec.asking.queries`."""
    declared: dict[str, object] = spec.label.model_dump(mode="json", exclude={"sql"})
    declared |= spec.asking.declaration(asking)
    references = {name: other.model_dump(mode="json") for name, other in spec.references.items()}
    about: list[object] = [spec.entity.model_dump(mode="json"), references]
    return _declaration(spec, label_sources(spec), sql, declared, about)


def _declaration(
    spec: DatasetSpec | ModelSpec, sources: Iterable[str], sql: str, declared: dict[str, object], about: list[object]
) -> str:
    tables = {
        name: spec.sources[name].model_dump(mode="json", include={"event_time", "keys", "columns", "outcome"})
        for name in sources
    }
    return json.dumps([sql, declared, about, tables], sort_keys=True)


def due(
    spans: Iterable[Span], declaration: str, raw: Mapping[str, Mapping[str, str]], recorded: Mapping[str, str]
) -> list[Due]:
    """The spans that must be computed now.

    Args:
        spans: the candidates.
        declaration: what their query is, by `feature_declaration` or `label_declaration`.
        raw: source → published partition → content hash, of the sources that the query reads.
        recorded: partition → inputs hash with which it was last written.
    """
    changed = []
    for span in spans:
        if all(day in published for published in raw.values() for day in span.days):
            fingerprint = inputs_hash(span, declaration, raw)
            if recorded.get(span.partition) != fingerprint:
                changed.append(Due(span, fingerprint))
    return changed


def inputs_hash(span: Span, declaration: str, raw: Mapping[str, Mapping[str, str]]) -> str:
    """The fingerprint of all that a span's rows depend on: its query and the
    content of the raw days that it reads."""
    contents = {source: [(day, published[day]) for day in span.reads(source)] for source, published in raw.items()}
    return hashlib.sha256(json.dumps([declaration, contents], sort_keys=True).encode()).hexdigest()
