"""The first fit: a model's own queries over its sample, in this process, without lake, store or server.

What is learned from and what evaluates is split as a training's `build` does it. Contracts are not asked, and nothing
is searched: the library's defaults say whether there is anything to learn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits

from evergreen.errors import EvidenceMissing
from evergreen.interval import Interval
from evergreen.lake.schema import UNPARSED
from evergreen.model import families, metrics, rows
from evergreen.settings import settings
from evergreen.spec import ago, files
from evergreen.spec.asking import OnRequest
from evergreen.spec.columns import EVENT, KNOWN_AT
from evergreen.spec.families import defaults, space
from evergreen.spec.lent import lent_to_query
from evergreen.spec.measures import MEASURES, MetricName
from evergreen.spec.runner import Query, opened, schema
from evergreen.spec.schema import ModelSpec
from evergreen.train import rules

FAMILY = "gradient_boosting"
_MOST = 50_000  # rows to learn from
_SECONDS = 300  # a query may take


@dataclass(frozen=True)
class FirstFit:
    """What the library's defaults come to on the later rows."""

    metric: MetricName
    score: float
    baseline: float
    learned: int
    evaluated: int
    rows_of_class: Mapping[str, int]  # of those that evaluate; empty: the label has no classes

    @property
    def learned_something(self) -> bool:
        """Whether it is better than guessing."""
        return MEASURES[self.metric].gain(self.score, self.baseline) > 0

    def __str__(self) -> str:
        return (
            f"{FAMILY} with its defaults, on {self.evaluated:,} rows that it did not learn from: {self.metric}"
            f" {self.score:.4g} (guessing: {self.baseline:.4g}; {self.learned:,} rows learned from)"
        )


def first_fit(spec: ModelSpec, arrived: pa.Table) -> FirstFit:
    """Fit a model of one source once.

    Args:
        arrived: all rows of the source: the declared columns and `_unparsed`.

    Raises:
        EvidenceMissing: the rows to learn from, or those to evaluate on, lack labels that differ.
    """
    last = spec.last_interval
    assert last is not None
    split = rules.split(last.end, spec)
    joined = _joined(spec, _raw(spec, arrived), split)
    moments = joined[EVENT], joined[KNOWN_AT]
    learn, later = joined[split.learns(*moments)], joined[split.evaluates(*moments)]
    if len(learn) > _MOST:
        learn = learn.sample(_MOST, random_state=spec.search.seed)
    labels, outcomes = (spec.problem.labels(part[spec.label.name]) for part in (learn, later))
    for part, use in ((labels, "to learn from"), (outcomes, "to evaluate on")):
        lacks = spec.problem.lacking(np.unique(part).tolist())
        if lacks and not (part is outcomes and len(np.unique(part)) > 1):  # log loss wants no row of every class
            raise EvidenceMissing(
                f"fitting {spec.model} once",
                found=f"{lacks} among the {len(part):,} rows {use}",
                expected="labels that differ",
                next_step="look at label.sql and split in its folder, or take a longer sample",
            )
    pipeline = families.build(
        FAMILY, defaults(space(FAMILY, {})), spec.feature_types, spec.search.seed, label=spec.problem.kind
    )
    with threadpool_limits(1):
        families.fit(pipeline, rows.inputs(spec.feature_types, learn), labels, None)
        predicted = rows.predict(pipeline, rows.inputs(spec.feature_types, later))
    metric = metrics.metric(spec.problem, spec.search.metric)
    guessed = spec.problem.baseline(labels, len(outcomes))
    return FirstFit(
        metric.name,
        metric.value(outcomes, predicted),
        metric.value(outcomes, guessed),
        len(learn),
        len(later),
        spec.problem.rows_of_class(outcomes) or {},
    )


def _raw(spec: ModelSpec, arrived: pa.Table) -> pa.Table:
    """The rows that can be read, as queries see them."""
    (source,) = spec.sources.values()
    table = arrived.filter(pc.is_null(arrived[UNPARSED.name]))
    known = table[source.event_time]
    columns = [table[name] for name in source.columns]
    return pa.table([*columns, known], [*source.columns, KNOWN_AT]).cast(schema(source))


def _joined(spec: ModelSpec, raw: pa.Table, split: rules.Split) -> pd.DataFrame:
    """Every prediction of the split's time: keys, moment, features, label, and when that was known."""
    calendar = spec.calendar
    first, last = split.cutoffs
    spanned = calendar.touching(first, last)
    asking = spec.asking
    if isinstance(asking, OnRequest):
        start, end = spanned[0].start, spanned[-1].end
        horizon_end = calendar.later(end, spec.label.longest)
        requests = _ran(
            raw, Query.of_requests(asking), calendar.earlier(start, asking.look_back), end, start=start, end=end
        )
        outcome = _ran(raw, Query.of_label(spec), start, horizon_end, cutoff=end, horizon_end=horizon_end)
        frame = requests.merge(outcome, on=[*spec.entity.columns])
        ends = {each: _known(spec, each) for each in spanned}
        starts = pd.DatetimeIndex([each.start for each in spanned])
        at = starts.searchsorted(frame[EVENT], side="right") - 1
        if spec.label.known is None:
            frame[KNOWN_AT] = pd.DatetimeIndex([*ends.values()])[at]
        else:
            made = pd.DatetimeIndex([each.end for each in spanned])[at]
            frame[KNOWN_AT] = frame.pop(spec.label.known.column).clip(lower=made)
    else:
        frame = pd.concat([_of_cutoff(spec, raw, interval) for interval in spanned], ignore_index=True)
    frame[EVENT] = frame[EVENT].astype("datetime64[us, UTC]")
    for name in spec.features:
        frame = _with_view(spec, raw, name, frame, [calendar.before(spanned[0]), *spanned])
    return ago.of_frame(spec, frame)


def _of_cutoff(spec: ModelSpec, raw: pa.Table, interval: Interval) -> pd.DataFrame:
    cutoff = interval.end
    horizon_end = spec.calendar.later(cutoff, spec.label.horizon)
    rows_of = _ran(raw, Query.of_label(spec), interval.start, horizon_end, cutoff=cutoff, horizon_end=horizon_end)
    return rows_of.assign(**{EVENT: cutoff, KNOWN_AT: _known(spec, interval)})


def _known(spec: ModelSpec, interval: Interval) -> datetime:
    """When the labels of an interval are known."""
    return spec.calendar.complete(spec.calendar.later(interval.end, spec.label.horizon))


def _with_view(
    spec: ModelSpec, raw: pa.Table, view: str, frame: pd.DataFrame, intervals: list[Interval]
) -> pd.DataFrame:
    """The rows with a view's features, as they were at the newest end of an interval until each row's moment."""
    data, look_back = spec.data_of(view), spec.features[view].look_back
    query, keys = Query.of_view(data, view), [*data.entity_of(view).columns]
    computed = [
        _ran(raw, query, spec.calendar.earlier(each.end, look_back), each.end, as_of=each.end).assign(_at=each.end)
        for each in intervals
    ]
    features = pd.concat([each for each in computed if len(each)] or computed[:1], ignore_index=True)
    features["_at"] = features["_at"].astype("datetime64[us, UTC]")
    features = features.astype({key: frame[key].dtype for key in keys})
    features, ordered = features.sort_values("_at"), frame.sort_values(EVENT)
    nameless = ordered[keys].isna().any(axis=1)
    named = pd.merge_asof(ordered[~nameless], features, left_on=EVENT, right_on="_at", by=keys)
    joined: pd.DataFrame = pd.concat([named, ordered[nameless]], ignore_index=True) if nameless.any() else named
    return joined.drop(columns="_at")


def _ran(raw: pa.Table, query: Query, begin: datetime, stop: datetime, **moments: datetime) -> pd.DataFrame:
    """What a query returns over the rows of a span; of many columns those are taken over that it names."""
    (source,) = query.sources
    text = files.query(query.spec, query.file)
    query = _narrowed(query, source, text)
    declared = query.spec.sources[source]
    raw, time = raw.select([*declared.columns, KNOWN_AT]), declared.event_time

    def rows_of(_: str) -> Iterator[pa.Table]:
        within = pc.and_(
            pc.greater_equal(raw[time], _scalar(begin, raw[time].type)),
            pc.less(raw[time], _scalar(stop, raw[time].type)),
        )
        yield raw.filter(within)

    with opened(query, rows_of, begin, stop, stop, lent_to_query(settings().query_memory)) as tables:
        result = tables.run(text, moments, seconds=_SECONDS)
    frame: pd.DataFrame = result.to_pandas()
    return frame


def _narrowed(query: Query, source: str, text: str) -> Query:
    """The query, of a source without the columns that its text does not name; each interval's rows are taken over
    anew, and views name few."""
    declared = query.spec.sources[source]
    if re.search(r"(?<!\()\*", text):  # but for count(*), maybe all of them
        return query
    needed = (*declared.keys, declared.event_time, *declared.outcome, *declared.moments)
    named = {*re.findall(r"\w+", text.lower()), *needed}
    columns = {name: each for name, each in declared.columns.items() if name.lower() in named or name in named}
    narrow = declared.model_copy(update={"columns": columns})
    return replace(query, spec=query.spec.model_copy(update={"sources": {source: narrow}}))


def _scalar(moment: datetime, kind: pa.DataType) -> pa.Scalar:
    return pa.scalar(moment.astimezone(UTC).replace(tzinfo=None), kind)
