"""The real flights: what arrives, what clients ask, and that the model's SQL replays just that from history."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from evergreen.features import computing, historical, objects, rules
from evergreen.interval import Interval
from evergreen.lake import tables
from evergreen.lake.schema import LABELS
from evergreen.loops import inline
from evergreen.loops import replayed as ways
from evergreen.model import families, rows
from evergreen.model.metrics import metric
from evergreen.settings import PROJECT, Settings, settings
from evergreen.spec.load import load_spec
from evergreen.spec.problem import Binary
from evergreen.spec.schema import ModelSpec
from evergreen_demo import report, timeline
from evergreen_flights import data, upstream

FIRST, DAYS = date(2013, 2, 7), 5  # the snowstorm of 8 February is among them
YEAR = [date(2013, 1, 1) + timedelta(days=number) for number in range(366)]


def test_the_year_is_all_there_and_each_row_arrives_once() -> None:
    assert (len(data.flights()), len(data.weather())) == (336_776, 26_115)
    for name, count in (("departures", 336_776), ("reports", 336_776), ("weather", 26_115)):
        assert sum(len(upstream.batches(day)[name]) for day in YEAR) == count, name
    counts = data.flights()["status"].value_counts().to_dict()
    assert counts == {"landed": 327_346, "cancelled": 8_255, "diverted": 1_175}


def test_nothing_is_told_before_it_happened() -> None:
    flights = data.flights()
    landed = flights[flights["status"] == "landed"]
    # The time of arrival is local to an airport whose zone the data does not name: two in the same zone are compared.
    east = landed[landed["destination"].isin(["BOS", "DCA", "MIA", "ATL", "CLT"])]
    arrival = east["scheduled_at"].dt.tz_convert("America/New_York").dt.normalize() + pd.to_timedelta(
        east["arrived"].astype(int) // 100 * 60 + east["arrived"].astype(int) % 100, unit="min"
    )
    arrival = arrival + pd.to_timedelta((arrival < east["departed_at"] - pd.Timedelta(hours=1)).astype(int), unit="D")
    early = (east["reported_at"] < arrival).mean()
    assert early < 0.001, f"{early:.2%} of the flights are reported before they arrived"


@pytest.fixture
def flights(home: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelSpec]:
    """Five days, ingested."""
    spec = load_spec(PROJECT / "include" / "models" / "flight_delay").model_copy(update={"first_day": FIRST})
    spec = spec.at(PROJECT / "include" / "models" / "flight_delay")
    for _ in upstream.write(FIRST, FIRST + timedelta(days=DAYS - 1), settings().landing):
        pass
    for number in range(DAYS):
        inline.ingest(spec, day := Interval.of_day(FIRST + timedelta(days=number)))
    labelled = inline.run(inline.of(spec, day), "train", last="labels")["labels"]
    assert len(labelled.partitions) == DAYS - 1, "the last day completes the labels of the day before"
    yield spec


def test_history_is_replayed_as_clients_ask(flights: ModelSpec) -> None:
    day = FIRST + timedelta(days=2)
    spans = rules.label_spans(flights, Interval.of_day(day))
    span = next(span for span in spans if span.partition == day.isoformat())
    replayed = computing.requests(flights.asking, span).to_pandas().set_index("flight_id")
    requests = pd.DataFrame(
        [
            entity | {"event_timestamp": pd.Timestamp(body["as_of"])}
            for offset in (-1, 0)
            for body in upstream.requests(day + timedelta(days=offset))
            for entity in body["entities"]
        ]
    ).set_index("flight_id")
    departures = upstream.batches(day)["departures"]
    assert len(replayed) == len(departures) > 300
    requests = requests.loc[replayed.index]
    for column in replayed.columns:
        ours, theirs = replayed[column], requests[column]
        if pd.api.types.is_numeric_dtype(ours):
            ours, theirs = ours.astype(float), theirs.astype(float)
        assert ((ours == theirs) | (ours.isna() & theirs.isna())).all(), column


def test_refitting_each_day_learns_what_was_known_that_morning_and_nothing_later(flights: ModelSpec) -> None:
    split = flights.split.model_copy(update={"evaluation": timedelta(days=1), "minimum_rows": 1})
    spec = flights.model_copy(update={"split": split}).at(flights.folder)
    parameters, tenth, last = {"C": 0.5}, FIRST + timedelta(days=DAYS - 1), FIRST + timedelta(days=DAYS)

    def known(*partitions: str) -> pd.DataFrame:
        table = tables.read(LABELS.of(spec.model, spec.label.name), list(partitions))
        assert table is not None
        entities = table.to_pandas().sort_values(["event_timestamp", spec.entity.key], ignore_index=True)
        return historical.read(spec, entities.drop(columns=["known_at", "partition"]))

    def by_hand(requests: pd.DataFrame, *learned: str) -> np.ndarray:
        frame = known(*learned)
        model = families.build("logistic_regression", parameters, spec.feature_types, spec.search.seed)
        model.fit(rows.inputs(spec.feature_types, frame), frame[spec.label.name])
        return model.predict_proba(requests)[:, 1]

    objects.ensure_applied(spec)  # as a training does
    requests = rows.inputs(spec.feature_types, known("2013-02-10").head(40))
    moments = pd.Series(pd.to_datetime([f"{tenth}T09:00Z"] * 20 + [f"{last}T23:00Z"] * 20))
    probabilities = ways.refitted(spec, "logistic_regression", parameters, moments, requests)
    # A label is known a day after its day, the latest day is kept to evaluate on,
    # and what is learned was known as that began.
    assert probabilities[:20] == pytest.approx(by_hand(requests[:20], "2013-02-07"), abs=1e-6)
    assert probabilities[20:] == pytest.approx(by_hand(requests[20:], "2013-02-07", "2013-02-08"), abs=1e-6)
    assert abs(probabilities[20:] - by_hand(requests[20:], "2013-02-07")).max() > 1e-3, "a day more makes a difference"

    for _ in upstream.write(last, last, settings().landing):
        pass
    inline.ingest(spec, Interval.of_day(last))
    assert (ways.refitted(spec, "logistic_regression", parameters, moments, requests) == probabilities).all()


def test_a_report_says_when_one_version_served_throughout() -> None:
    moments = [datetime(2013, 6, 3 + number % 9, tzinfo=UTC) for number in range(180)]
    rows = pd.DataFrame({"as_of": pd.to_datetime(moments, utc=True), "label": [number % 2 for number in range(180)]})
    good, bad = rows["label"] * 0.4 + 0.3, 0.7 - rows["label"] * 0.4
    rows = rows.assign(**{report.SERVED: good, report.NEVER: good, report.DAILY: bad})
    labels, days = rows["label"].to_numpy(), rows["as_of"].dt.strftime("%Y-%m-%d").to_numpy(object)
    judged = metric(Binary(), "roc_auc")
    comparisons = {
        way: judged.compare(labels, rows[report.SERVED].to_numpy(), rows[way].to_numpy(), days)
        for way in (report.NEVER, report.DAILY)
    }
    story = timeline.Story([])
    text = "\n".join(report.Report(story, rows, comparisons, judged, "ridge", {"landed": 180}, {1: 180}).lines())
    assert "One version served throughout" in text
    assert "against never retrained: roc_auc +0.0000" in text and "no difference that these days can show" in text
    assert "against refitted every day: roc_auc +1.0000" in text and text.rstrip().endswith("better")
    assert "2013-06-10" in text and "2013-06-03" in text, "one line a week"
