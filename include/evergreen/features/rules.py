"""Which feature and label partitions a published interval makes due, and from which raw partitions.

A feature partition sees the raw intervals of `[as_of - look_back, as_of)`, a label partition those of
`[cutoff - 1 interval, cutoff + horizon)`. It is due as soon as every one of those is published (those before the spec's
first count as present) and what it is computed from has changed since it was last written. After publishing interval
`i` a run looks at exactly the partitions whose raw ones contain `i`, so intervals may be published in any order and
side by side: whoever publishes the last missing one of a span computes it.

Which they are the calendar says: an interval is an hour, a day, a week or a month, and durations are counted as
`Calendar.later` does.

A batch may hold rows from after its own interval: a file of another zone's day, say. A partition whose rows reach into
a later span is read there too, and is among what the span is computed from; who publishes it looks at these spans too.
Rows from before a batch's interval are in the spans that look back that far, and no span knows them earlier.

What a partition may know does not depend on the run that computes it: the query sees rows with `known_at` up to the
last interval's end. A run of an old interval that completes a span of later ones therefore writes what a run in order
would have written, and a label whose span is complete is mature by construction: the batch that closes the span only
exists when the interval that `cutoff + horizon` lies in is over. Readers compare the row's own `known_at` with their
`as_of`.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, overload

from evergreen.interval import Interval

if TYPE_CHECKING:
    from evergreen.calendar import Calendar
    from evergreen.spec.dataset import DatasetSpec
    from evergreen.spec.schema import ModelSpec


# what decides which rows of a source a query sees
_MEANING = {"event_time", "keys", "outcome", "refresh", "covers", "valid_from", "valid_to"}


@dataclass(frozen=True, eq=False)
class Stretch(Sequence[str]):
    """Some partitions in a row out of many: spans of years of hours share one list."""

    partitions: tuple[str, ...]
    start: int
    stop: int

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        if isinstance(at, slice):
            return self.partitions[self.start : self.stop][at]
        return self.partitions[range(self.start, self.stop)[at]]

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[str]:
        return islice(self.partitions, self.start, self.stop)

    def __reversed__(self) -> Iterator[str]:
        return (self.partitions[at] for at in range(self.stop - 1, self.start - 1, -1))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


@dataclass(frozen=True)
class Span:
    """One feature or label partition, and what its query may see."""

    interval: Interval  # names the partition; as_of (features) or cutoff (labels) is its end
    start: datetime  # first event time that the query sees
    end: datetime  # first event time that it does not see
    known_at: datetime  # the newest known_at that it sees: when the last of its raw partitions is over
    waits_for: Stretch  # raw partitions that it reads and waits for, oldest first
    since: datetime  # the first event time of a raw row that may be seen: one stamped at its start ends in the span
    reaching: tuple[tuple[str, str], ...] = ()  # sources, and earlier partitions of theirs that have rows in it
    # sources of one table for all intervals, and the versions of theirs that it sees
    versions: tuple[tuple[str, str], ...] = ()
    # raw partitions that it reads as they come, of labels whose outcomes become known each at a moment of its own
    follows: Stretch | None = None
    following: tuple[tuple[str, str], ...] = ()  # sources, and those of `follows` that are there and have rows in it

    @property
    def partition(self) -> str:
        return self.interval.partition

    def reads(self, source: str) -> tuple[str, ...]:
        """The raw partitions of a source that can hold rows of it, oldest first."""
        if versions := tuple(version for name, version in self.versions if name == source):
            return versions
        before, after = (
            [partition for name, partition in others if name == source] for others in (self.reaching, self.following)
        )
        return (*before, *self.waits_for, *after)

    @property
    def written_at(self) -> datetime:
        """When all that it waits for is over."""
        return self.known_at if self.follows is None else self.interval.end


@dataclass(frozen=True)
class Due:
    """A span that must be computed, with the fingerprint of what it is computed from."""

    span: Span
    inputs_hash: str


def feature_spans(spec: DatasetSpec, view: str, interval: Interval, reach: datetime | None = None) -> list[Span]:
    """The partitions of a view that look back at `interval`, oldest first.

    Args:
        reach: the newest row of the interval's batches, where it lies after the interval.
    """
    calendar, look_back, declared = spec.calendar, spec.features[view].look_back, spec.features[view]
    covered = _covered(spec, declared.sources)
    until = _until(interval, reach)
    # The last that begins to look before then: the one before it that has that moment among those it looks at.
    last = calendar.interval_of(calendar.later(calendar.later(until, look_back), covered))
    owners = _of_data(spec, calendar.between(interval, last))
    spans = _spans(spec, owners, lambda owner: calendar.earlier(owner.end, look_back), timedelta(0), covered)
    return [span for span in spans if span.since < until]


def label_spans(spec: ModelSpec, interval: Interval, reach: datetime | None = None) -> list[Span]:
    """The label partitions whose outcome or starting point lies in `interval`, oldest first.

    Args:
        reach: the newest row of the interval's batches, where it lies after the interval.
    """
    calendar, longest = spec.calendar, spec.label.longest
    until = _until(interval, reach)
    first = calendar.interval_of(max(calendar.earlier(interval.start, longest), spec.first_interval.start))
    last = calendar.interval_of(
        calendar.later(calendar.later(until, spec.asking.look_back), _covered(spec, label_sources(spec)))
    )
    spans = _label_spans(spec, calendar.between(first, last))
    return [span for span in spans if span.since < until and interval.start < span.end]


def _until(interval: Interval, reach: datetime | None) -> datetime:
    """The moment before which all rows of an interval's batches lie."""
    return interval.end if reach is None or reach < interval.end else reach + datetime.resolution


def mature_label_spans(spec: ModelSpec, as_of: datetime) -> list[Span]:
    """The label partitions that a training as of a moment may use, oldest first: their outcomes are known by then, and
    a prediction of theirs lies within the training's window."""
    calendar = spec.calendar
    since, newest = calendar.earlier(as_of, spec.split.window), calendar.newest_complete(as_of)
    first = calendar.interval_of(max(since - datetime.resolution, spec.first_interval.start))
    spans = _label_spans(spec, calendar.between(first, newest))
    return [span for span in spans if span.interval.end >= since and span.written_at <= as_of]


def learned_since(spec: ModelSpec, as_of: datetime) -> datetime:
    """The first event time of a raw row that a training as of a moment may see: through labels and the requests that
    they belong to, or through the features of its oldest row, which are those of the interval before."""
    calendar, first = spec.calendar, spec.first_interval
    since = max(calendar.earlier(as_of, spec.split.window), first.start)
    oldest = calendar.interval_of(since)
    seen = [_label_spans(spec, [oldest])[0].since]
    for view, declared in spec.features.items():
        back = calendar.earlier(oldest.start, declared.look_back)
        seen.append(calendar.earlier(back, _covered(spec.data_of(view), declared.sources)))
    return max(min(seen), first.start)


def _label_spans(spec: ModelSpec, owners: Sequence[Interval]) -> list[Span]:
    """Of the interval, and of what the queries of its requests look back at, until its horizon is over."""

    def start(owner: Interval) -> datetime:
        return spec.calendar.earlier(owner.start, spec.asking.look_back)

    covered = _covered(spec, label_sources(spec))
    spans = _spans(spec, _of_data(spec, owners), start, spec.label.longest, covered)
    return spans if spec.label.known is None else [_followed(span) for span in spans]


def _followed(span: Span) -> Span:
    """The same, which waits for nothing after its own interval."""
    stretch = span.waits_for
    own = stretch.partitions.index(span.partition, stretch.start) + 1
    return replace(span, waits_for=replace(stretch, stop=own), follows=replace(stretch, start=own))


def _covered(spec: DatasetSpec | ModelSpec, sources: Iterable[str]) -> timedelta:
    """How long after its stamp a row of some sources may end: so far before a span lie rows that end within it."""
    return max((spec.sources[name].covers for name in sources), default=timedelta(0))


def _of_data(spec: DatasetSpec | ModelSpec, intervals: Sequence[Interval]) -> list[Interval]:
    """Those from the first of data on."""
    first = spec.first_interval
    return [interval for interval in intervals if interval >= first]


def _spans(
    spec: DatasetSpec | ModelSpec,
    owners: Sequence[Interval],
    start: Callable[[Interval], datetime],
    after: timedelta,
    covered: timedelta,
) -> list[Span]:
    """The span `[start(owner), owner.end + after)` of each of some intervals without a gap, with the intervals of data
    that it touches, and those before it whose rows may end within it."""
    if not owners:
        return []
    calendar = spec.calendar
    bounds = [(start(owner), calendar.later(owner.end, after)) for owner in owners]
    since = [calendar.earlier(begin, covered) for begin, _ in bounds]
    touched = calendar.touching(max(since[0], spec.first_interval.start), bounds[-1][1])
    starts, ends = [each.start for each in touched], [each.end for each in touched]
    partitions = tuple(each.partition for each in touched)
    spans = []
    for owner, (begin, end), seen in zip(owners, bounds, since, strict=True):
        first, last = bisect_right(ends, seen), bisect_left(starts, end)
        spans.append(Span(owner, begin, end, ends[last - 1], Stretch(partitions, first, last), seen))
    return spans


def with_reaching(spans: Iterable[Span], reaches: Mapping[str, Mapping[str, datetime]]) -> list[Span]:
    """The spans, each with the partitions before its own that have rows in it.

    Args:
        reaches: source → partition → its newest row, of those that have rows from after their own interval.
    """
    ordered = [(source, *each) for source, newest in sorted(reaches.items()) for each in sorted(newest.items())]

    def reaching(span: Span) -> tuple[tuple[str, str], ...]:
        first = span.waits_for[0]
        return tuple((source, key) for source, key, moment in ordered if key < first and moment >= span.since)

    return [replace(span, reaching=reaching(span)) for span in spans] if ordered else list(spans)


def with_following(
    spans: Iterable[Span], there: Mapping[str, Mapping[str, tuple[datetime, datetime] | None]]
) -> list[Span]:
    """The spans, each with the partitions after its own that are there and have rows in it.

    Args:
        there: source → partition that is there → its first and last row; None: not known.
    """

    def following(span: Span) -> tuple[tuple[str, str], ...]:
        return tuple(
            (source, key)
            for source, of_source in sorted(there.items())
            for key in span.follows or ()
            if key in of_source and ((rows := of_source[key]) is None or (rows[0] < span.end and rows[1] >= span.since))
        )

    return [span if span.follows is None else replace(span, following=following(span)) for span in spans]


def waited_for(spans: Iterable[Span]) -> list[str]:
    """The raw partitions that some spans wait for, each once and in order."""
    return _in(span.waits_for for span in spans)


def looked_at(spans: Iterable[Span]) -> list[str]:
    """The raw partitions that some spans wait for or follow, each once and in order."""
    return _in(stretch for span in spans for stretch in (span.waits_for, span.follows) if stretch is not None)


def _in(stretches: Iterable[Stretch]) -> list[str]:
    merged: dict[int, Stretch] = {}
    for each in stretches:
        other = merged.get(id(each.partitions), each)
        merged[id(each.partitions)] = replace(each, start=min(each.start, other.start), stop=max(each.stop, other.stop))
    return sorted({partition for stretch in merged.values() for partition in stretch})


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
    tables = {  # not how their cells are written: that is in the content of their partitions
        name: source.model_dump(mode="json", include=_MEANING) | {"columns": source.types}
        for name, source in ((name, spec.sources[name]) for name in sources)
    }
    return json.dumps([sql, declared, about, tables], sort_keys=True)


def in_force(versions: Iterable[str], calendar: Calendar, moment: datetime) -> str | None:
    """The version that was known at a moment of a table for all intervals: the newest by then. The first was known
    before: when it was first read says nothing of when it was there. None: there is none.

    Args:
        versions: by the partitions of the intervals whose runs found them.
    """
    ordered = sorted(versions)
    known = [version for version in ordered if calendar.at(version).end <= moment]
    return known[-1] if known else next(iter(ordered), None)


def with_versions(
    spans: Iterable[Span], versions: Mapping[str, Iterable[str]], calendar: Calendar, *, at_start: bool
) -> list[Span]:
    """The spans, each with the versions that it sees of tables for all intervals.

    Args:
        versions: source → all versions of it.
        at_start: whether what was known at the start of the span's own interval is seen too: by its requests.
    """

    def of_span(span: Span) -> tuple[tuple[str, str], ...]:
        moments = (span.interval.start, span.known_at) if at_start else (span.known_at,)
        return tuple(
            dict.fromkeys(
                (source, version)
                for source, each in versions.items()
                for moment in moments
                if (version := in_force(each, calendar, moment)) is not None
            )
        )

    return [replace(span, versions=of_span(span)) for span in spans] if versions else list(spans)


def due(
    spans: Iterable[Span],
    declaration: str,
    raw: Mapping[str, Mapping[str, str]],
    recorded: Mapping[str, str],
    awaited: Sequence[Collection[str]] | None = None,
) -> list[Due]:
    """The spans that must be computed now.

    Args:
        spans: the candidates.
        declaration: what their query is, by `feature_declaration` or `label_declaration`.
        raw: source → published partition → content hash, of the sources that the query reads.
        recorded: partition → inputs hash with which it was last written.
        awaited: the published partitions of each table that the spans wait for; None: of those in `raw`.
    """
    changed, tables = [], [*raw.values()] if awaited is None else awaited
    for span in spans:
        # The newest first: of the spans of intervals to come it is the one that is missing.
        if all(each in published for published in tables for each in reversed(span.waits_for)):
            fingerprint = inputs_hash(span, declaration, raw)
            if recorded.get(span.partition) != fingerprint:
                changed.append(Due(span, fingerprint))
    return changed


def inputs_hash(span: Span, declaration: str, raw: Mapping[str, Mapping[str, str]]) -> str:
    """The fingerprint of all that a span's rows depend on: its query and the
    content of the raw partitions that it reads."""
    contents = {source: [(each, published[each]) for each in span.reads(source)] for source, published in raw.items()}
    return hashlib.sha256(json.dumps([declaration, contents], sort_keys=True).encode()).hexdigest()
