"""What a refit before registration is worth: `python benchmarks/refit.py FOLDER [STREAM …]`.

FOLDER has `elec2_ts.csv.gz` and `online_retail.parquet`; flights come with a package, customers are simulated. Each
stream is lived through: as of every week, or every day, a recipe of fixed parameters is fitted on what was mature,
judged on the rows that were held out, compared with the champion, and serves until the next one. Once as it was judged,
once refitted on all mature rows: then only rows from after the champion's last row compare. Printed are the loss of
what served, how often the comparison had no evidence, and by how much fits differ.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from evergreen.model import families
from evergreen.model.metrics import metric
from evergreen.model.rows import inputs, predict
from evergreen.settings import PROJECT
from evergreen.spec.gates import Gates
from evergreen.spec.kinds import FeatureType
from evergreen.spec.measures import MetricName
from evergreen.spec.problem import LabelType, problem
from evergreen.train.rules import Split, refit_checks

Floats = npt.NDArray[np.float64]
CUTOFF, LABEL = "cutoff", "label"
MOST = 6_000  # rows of a fit, the newest: so that hundreds of fits end
MOST_STEPS = 60  # trainings of a setting, the last ones
ENOUGH = 0.5  # of the held-out rows must compare: `gates.minimum_rows` of the shipped models is about half of them
BOUNDS = Gates.model_validate({"minimum_rows": 1, "floor": {"roc_auc": 0.5}})  # those of a refit as they are by default
PARAMETERS: Mapping[str, dict[str, Any]] = {
    "gradient_boosting": {"max_iter": 40, "max_leaf_nodes": 15, "learning_rate": 0.1, "min_samples_leaf": 20},
    "logistic_regression": {"C": 1.0},
    "ridge": {"alpha": 1.0},
}


@dataclass(frozen=True)
class Stream:
    """Rows in the order of their cutoffs: features and label, as they would have been joined."""

    name: str
    rows: pd.DataFrame
    features: Mapping[str, FeatureType]
    kind: LabelType
    metric: MetricName
    horizon: int  # days after its cutoff a label is known
    held_out: int  # days of the evaluation
    window: int  # days of learning rows, without those that are not mature


@dataclass
class Way:
    """One of the two ways, as it goes."""

    refits: bool
    champion: Pipeline | None = None
    learned_to: pd.Timestamp | None = None  # of a refitted champion: its last row
    served: list[Floats] = field(default_factory=list)
    labels: list[Floats] = field(default_factory=list)
    days: list[npt.NDArray[Any]] = field(default_factory=list)
    trainings: int = 0
    unseen: int = 0  # comparisons without evidence
    promoted: int = 0
    refused: int = 0  # refits beyond their bounds: the judged fit served


@dataclass
class Differences:
    """How far fits are apart, in standard deviations of the first one's answers; and what a refit lost of the gain over
    the baseline, on the rows that were held out."""

    neighbours: list[float] = field(default_factory=list)
    refits: list[float] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)


def main(folder: str, *only: str) -> int:
    """Every stream in every setting."""
    with threadpool_limits(1):
        for name in only or STREAMS:
            _streamed(STREAMS[name](Path(folder)))
    return 0


def _streamed(streams: Iterator[Stream]) -> None:
    for stream in streams:
        for family in ("gradient_boosting", "ridge" if stream.kind == "numeric" else "logistic_regression"):
            for every in (7, 1):
                _lived(stream, family, every)


def _lived(stream: Stream, family: str, every: int) -> None:
    first = stream.rows[CUTOFF].min().normalize()
    last = stream.rows[CUTOFF].max()
    begin = first + timedelta(days=28 + 2 * stream.horizon + stream.held_out)
    steps = pd.date_range(begin, last - timedelta(days=every), freq=f"{every}D")
    steps = steps[-MOST_STEPS:]
    gated, refitted, apart = Way(False), Way(True), Differences()
    before: Pipeline | None = None
    for moment in steps:
        before = _trained(stream, family, moment, every, (gated, refitted), apart, before)
    _told(stream, family, every, gated, refitted, apart)


def _trained(
    stream: Stream,
    family: str,
    moment: pd.Timestamp,
    every: int,
    ways: tuple[Way, Way],
    apart: Differences,
    before: Pipeline | None,
) -> Pipeline | None:
    """One training, and what serves until the next one; returns the fit that was judged."""
    frame = stream.rows
    horizon, held = timedelta(days=stream.horizon), timedelta(days=stream.held_out)
    known = frame[CUTOFF] + horizon
    start = moment - horizon - held
    split = Split(start - horizon - timedelta(days=stream.window), start - horizon, start, moment - horizon, moment)
    learn, later = frame[split.learns(frame[CUTOFF], known)], frame[split.evaluates(frame[CUTOFF], known)]
    whole = frame[split.whole.learns(frame[CUTOFF], known)]
    asked = frame[(frame[CUTOFF] >= moment) & (frame[CUTOFF] < moment + timedelta(days=every))]
    if len(learn) < 200 or len(later) < 50 or learn[LABEL].nunique() < 2 or not len(asked):
        return before
    judged = _fit(stream, family, learn)
    again = _fit(stream, family, whole)
    answers = _predict(stream, judged, later)
    if before is not None:
        apart.neighbours.append(_distance(answers, _predict(stream, before, later)))
    new = _predict(stream, again, later)
    apart.refits.append(_distance(answers, new))
    value = _value(stream, later[LABEL], answers)
    trivial = _value(stream, later[LABEL], problem(stream.kind).baseline(learn[LABEL].to_numpy(), len(later)))
    margin = _gain(stream, value, trivial)
    if margin > 0:
        apart.lost.append(_gain(stream, value, _value(stream, later[LABEL], new)) / margin)
    near = refit_checks(
        stream.metric,
        BOUNDS,
        gated=value,
        refit=_value(stream, later[LABEL], new),
        baseline=trivial,
        apart=float(np.sqrt(np.square(answers - new).mean())),
        spread=float(np.std(answers)),
    )
    for way in ways:
        way.trainings += 1
        if margin > 0 and _better(stream, way, later, answers):
            chosen = way.refits and all(check.verdict == "pass" for check in near)
            way.champion = again if chosen else judged
            way.learned_to = whole[CUTOFF].max() if chosen else None
            way.promoted += 1
            way.refused += way.refits and not chosen
    if all(way.champion is not None for way in ways):  # both on the same rows
        for way in ways:
            way.served.append(_predict(stream, way.champion, asked))
            way.labels.append(asked[LABEL].to_numpy(np.float64))
            way.days.append(asked[CUTOFF].dt.strftime("%Y-%m-%d").to_numpy(object))
    return judged


def _better(stream: Stream, way: Way, later: pd.DataFrame, answers: Floats) -> bool:
    """Whether the candidate takes the champion's place, on the rows that may be looked at."""
    if way.champion is None:
        return True
    there = np.ones(len(later), bool) if way.learned_to is None else (later[CUTOFF] > way.learned_to).to_numpy()
    rows = later[there]
    if len(rows) < ENOUGH * len(later) or rows[LABEL].nunique() < 2:
        way.unseen += 1
        return False
    ours, theirs = answers[there], _predict(stream, way.champion, rows)
    return _gain(stream, _value(stream, rows[LABEL], ours), _value(stream, rows[LABEL], theirs)) > 0


def _fit(stream: Stream, family: str, rows: pd.DataFrame) -> Pipeline:
    newest = rows.tail(MOST)
    return families.build(family, PARAMETERS[family], stream.features, 0, label=stream.kind).fit(
        inputs(stream.features, newest), newest[LABEL].to_numpy()
    )


def _predict(stream: Stream, fitted: Pipeline | None, rows: pd.DataFrame) -> Floats:
    assert fitted is not None
    return predict(fitted, inputs(stream.features, rows))


def _value(stream: Stream, labels: Any, predictions: Floats) -> float:
    return metric(problem(stream.kind), stream.metric).value(np.asarray(labels), predictions)


def _gain(stream: Stream, new: float, old: float) -> float:
    return float(metric(problem(stream.kind), stream.metric).measure.gain(new, old))


def _distance(one: Floats, other: Floats) -> float:
    return float(np.sqrt(np.square(one - other).mean()) / max(float(np.std(one)), 1e-12))


def _told(stream: Stream, family: str, every: int, gated: Way, refitted: Way, apart: Differences) -> None:
    labels, days = np.concatenate(gated.labels), np.concatenate(gated.days)
    if stream.kind == "binary":
        labels = labels.astype(np.int64)
    served = [np.concatenate(way.served) for way in (gated, refitted)]
    judged = metric(problem(stream.kind), stream.metric)
    values = [judged.value(labels, each) for each in served]
    gain, low, high, *_ = judged.compare(labels, served[1], served[0], days)

    def quantiles(values: list[float]) -> str:
        return " ".join(f"{each:.3f}" for each in np.quantile(values, [0.5, 0.95, 1.0])) if values else "none"

    print(
        f"{stream.name} | label after {stream.horizon} d | {family} | every {every} d | {gated.trainings} trainings"
        f" | {stream.metric} {values[0]:.4f} → {values[1]:.4f} | gain {gain:+.4f} ({low:+.4f} to {high:+.4f})"
        f" | promoted {gated.promoted} → {refitted.promoted} | refused {refitted.refused}"
        f" | no evidence {refitted.unseen}"
        f" | neighbours {quantiles(apart.neighbours)} | refit {quantiles(apart.refits)} | lost {quantiles(apart.lost)}",
        flush=True,
    )


def electricity(folder: Path) -> Iterator[Stream]:
    """New South Wales, every half hour: whether the price is above its mean of the last day."""
    raw = pd.read_csv(folder / "elec2_ts.csv.gz")
    at = pd.to_datetime(raw["event_ts"], utc=True)
    rows = pd.DataFrame(
        {
            CUTOFF: at,
            "period": raw["period"],
            "weekday": at.dt.weekday.astype(float),
            **{name: raw[name] for name in ("nswdemand", "vicdemand", "transfer")},
            "price_before": raw["nswprice"].shift(48),
            LABEL: raw["class"].astype("int64"),
        }
    ).dropna()
    features: dict[str, FeatureType] = dict.fromkeys(rows.columns.difference([CUTOFF, LABEL], sort=False), "float")
    for horizon in (1, 42):
        yield Stream("electricity", rows, features, "binary", "roc_auc", horizon, 7, 120)


def retail(folder: Path) -> Iterator[Stream]:
    """Online Retail: how many pieces of a product are ordered in the days that follow (their logarithm)."""
    raw = pd.read_parquet(folder / "online_retail.parquet")
    raw = raw[(raw["Quantity"] > 0) & (raw["UnitPrice"] > 0)]
    day = pd.to_datetime(raw["InvoiceDate"]).dt.normalize()
    top = raw["StockCode"].value_counts().head(100).index
    kept = raw["StockCode"].isin(top)
    daily = raw[kept].groupby([day[kept], "StockCode"])["Quantity"].sum().unstack(fill_value=0)
    daily = daily.reindex(pd.date_range(daily.index.min(), daily.index.max()), fill_value=0)
    for horizon in (1, 28):
        coming: pd.DataFrame = daily[::-1].rolling(horizon).sum()[::-1].shift(-1)
        parts = {f"sum_{back}": daily.rolling(back).sum().apply(np.log1p).stack() for back in (1, 7, 28)}
        rows = pd.DataFrame({**parts, LABEL: coming.apply(np.log1p).stack()}).dropna().reset_index()
        rows = rows.rename(columns={"level_0": CUTOFF})
        rows[CUTOFF] = pd.to_datetime(rows[CUTOFF], utc=True) + timedelta(days=1)  # as the day ends
        rows["weekday"] = rows[CUTOFF].dt.weekday.astype(float)
        rows = rows.sort_values(CUTOFF, kind="stable", ignore_index=True)
        features: dict[str, FeatureType] = dict.fromkeys((*parts, "weekday"), "float")
        yield Stream("retail", rows, features, "numeric", "rmse", horizon, 7, 60)


def flights(_: Path) -> Iterator[Stream]:
    """Flights out of New York: whether one arrives more than 15 minutes late."""
    from evergreen_flights import data

    flown = data.flights().dropna(subset=["arrival_delay"]).sort_values("scheduled_at").iloc[::6]
    at = flown["scheduled_at"]
    rows = pd.DataFrame(
        {
            CUTOFF: at,
            "carrier": flown["carrier"],
            "origin": flown["origin"],
            "destination": flown["destination"],
            "hour": flown["local_hour"].astype(float),
            "weekday": at.dt.weekday.astype(float),
            "distance": flown["distance"].astype(float),
            LABEL: (flown["arrival_delay"] > 15).astype("int64"),
        }
    ).reset_index(drop=True)
    features: dict[str, FeatureType] = {
        **dict.fromkeys(("hour", "weekday", "distance"), "float"),
        **dict.fromkeys(("carrier", "origin", "destination"), "category"),
    }  # type: ignore[dict-item]  # a literal of two dicts is widened
    for horizon in (1, 42):
        yield Stream("flights", rows, features, "binary", "roc_auc", horizon, 7, 56)


def churn(_: Path) -> Iterator[Stream]:
    """The simulator's customers, whose reasons to leave change slowly."""
    for horizon in (3, 28):
        rows = _customers(horizon)
        numbers = [str(name) for name in rows if name not in (CUTOFF, LABEL, "customer_id", "plan", "region")]
        features: dict[str, FeatureType] = {
            **dict.fromkeys(numbers, "float"),
            **dict.fromkeys(("plan", "region"), "category"),
        }  # type: ignore[dict-item]  # a literal of two dicts is widened
        yield Stream("churn", rows, features, "binary", "roc_auc", horizon, 4, 28)


@cache
def _customers(horizon: int, size: int = 300, days: int = 240) -> pd.DataFrame:
    from evergreen_simulator import events
    from evergreen_simulator.business import Business, Conditions, Reasons
    from evergreen_simulator.scenarios import REASONS_AFTER

    first = date(2026, 1, 1)

    def slowly(day: date) -> Conditions:
        return Conditions(reasons=Reasons().towards(REASONS_AFTER, min(1.0, max(0.0, (day - first).days / days))))

    tables: dict[str, list[pd.DataFrame]] = {}
    for present in Business(3, size, slowly).days(first, first + timedelta(days=days)):
        for name, table in events.TABLES.items():
            tables.setdefault(name, []).append(table(Business(3, size, slowly), present))
    folder = PROJECT / "include" / "data" / "churn" / "features"
    label = (PROJECT / "include" / "models" / "churn" / "label.sql").read_text()
    moments = ("snapshot_at", "started_at", "paid_at", "opened_at", "cancelled_at", "signed_up_at")
    parts = []
    with duckdb.connect() as connection:
        for name, each in tables.items():
            frame = pd.concat(each, ignore_index=True).drop(columns=["who", "draw"])
            for column in set(moments) & set(frame):
                frame[column] = pd.to_datetime(frame[column], utc=True).dt.tz_localize(None)
            connection.register(f"all_{name}", frame)
        times = {"customers": "snapshot_at", "usage": "started_at", "payments": "paid_at", "tickets": "opened_at"}
        for number in range(28, days - horizon):
            at = pd.Timestamp(first) + timedelta(days=number)
            for source, time in times.items():
                back = {"customers": 1, "usage": 14}.get(source, 28)
                connection.execute(
                    f"create or replace temp table {source} as select * from all_{source} where {time} < '{at}' and "
                    f"{time} >= '{at - timedelta(days=back)}'"
                )
            connection.execute("create or replace temp table cancellations as select * from all_cancellations")
            joined: pd.DataFrame | None = None
            for path in sorted(folder.glob("*.sql")):
                part = connection.execute(path.read_text(), {"as_of": at}).df()
                joined = part if joined is None else joined.merge(part, on="customer_id")
            given = {"cutoff": at, "horizon_end": at + timedelta(days=horizon)}
            assert joined is not None
            joined = joined.merge(connection.execute(label, given).df(), on="customer_id")
            parts.append(joined.assign(cutoff=at.tz_localize("UTC")))
    rows = pd.concat(parts, ignore_index=True).rename(columns={"churned": LABEL})
    rows[LABEL] = rows[LABEL].astype("int64")
    return rows


STREAMS: Mapping[str, Callable[[Path], Iterator[Stream]]] = {
    "electricity": electricity,
    "retail": retail,
    "flights": flights,
    "churn": churn,
}

if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
