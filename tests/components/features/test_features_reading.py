"""How much of the lake a training set and a decision read: what lies in their window, however long history is."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pyarrow as pa
import pytest

from evergreen.features import historical, objects, repository
from evergreen.features.offline_store import DeltaOfflineStore
from evergreen.lake import tables
from evergreen.lake.schema import FEATURES, LABELS
from evergreen.monitor import decisions
from evergreen.run import Run
from evergreen.spec.dataset import Freshness
from evergreen.train import dataset
from evergreen.train.rules import Split, split

from .conftest import Model, at, interval

DAYS = 60
WINDOW, HORIZON = 6, 2  # days


@pytest.fixture
def learner(model: Model) -> Model:
    """A model with a window of some days, after many."""
    spec = model.spec
    window = spec.split.model_copy(update={"window": timedelta(days=WINDOW + HORIZON), "evaluation": timedelta(days=2)})
    spec = spec.model_copy(update={"split": window})
    objects.ensure_applied(spec)
    moments = pa.timestamp("us", "UTC")
    for day in range(DAYS):
        end, customers = at(day + 1), pa.array(["a", "b"])
        features = {"spent": [float(day), 1.0], "purchases": [1, 2], "big": [True, False]}
        for name, columns in (("spend", features), ("plan", {"plan": ["free", "paid"]})):
            rows = pa.table({"customer_id": customers, **columns, "event_timestamp": pa.array([end] * 2, moments)})
            rows = rows.append_column("known_at", rows["event_timestamp"])
            tables.replace(FEATURES.of(spec.model, name).at(interval(day).partition), rows)
        known = pa.array([at(day + 1 + HORIZON)] * 2, moments)
        rows = pa.table({"customer_id": customers, "bought": [0, 1], "event_timestamp": pa.array([end] * 2, moments)})
        tables.replace(
            LABELS.of(spec.model, "bought").at(interval(day).partition), rows.append_column("known_at", known)
        )
    return Model(spec)


def _split(model: Model, day: int) -> Split:
    return split(interval(day).as_of, model.spec)


def test_a_training_reads_what_lies_in_its_window(learner: Model, opened: list[str]) -> None:
    read = []
    for day in (20, DAYS - 1):
        opened.clear()
        built = dataset.build(learner.spec, _split(learner, day))
        assert built.rows["spent"].null_count == 0 and built.rows.num_rows >= 2 * (WINDOW - 2)
        read.append(len({*opened}))
    assert read[0] == read[1], "history has become longer, and so has what is read"
    assert read[1] <= 3 * (WINDOW + HORIZON + 2), "labels and both views, with what lies shortly before the window"


def test_a_decision_reads_what_lies_in_the_window_of_a_training(learner: Model, opened: list[str]) -> None:
    run = Run(learner.spec, interval(DAYS - 1))
    counted = decisions.labels_since(run, at(DAYS - WINDOW), None)
    assert counted.learn > 0 and len({*opened}) <= WINDOW + HORIZON + 1


def test_of_a_view_whose_rows_expire_nobody_makes_it_read_what_has_expired(learner: Model, opened: list[str]) -> None:
    """As hand-written definitions may say; the rows of Evergreen's own views never expire."""
    store = repository.feature_store()
    rows = pd.DataFrame({"customer_id": ["a", "aa"], "event_timestamp": [at(DAYS), at(DAYS - 1)]})
    read = {}
    for days in (0, 5):
        view = store.get_feature_view("tiny__plan")
        view.ttl = timedelta(days=days)
        opened.clear()
        joined = DeltaOfflineStore.get_historical_features(
            store.config, [view], ["tiny__plan:plan"], rows, store.registry, store.project
        ).to_df()
        assert joined["plan"].tolist() == ["free", None]
        read[days] = len({*opened})
    assert read == {0: DAYS, 5: 7}, "as far as five days before the older one"


def test_who_has_no_features_within_the_window_has_the_newest_before_it(learner: Model, opened: list[str]) -> None:
    """Read back further only for them."""
    spec, moments = learner.spec, pa.timestamp("us", "UTC")
    old = pa.table(
        {
            "customer_id": ["a", "gone"],
            "plan": ["free", "old"],
            "event_timestamp": pa.array([at(6)] * 2, moments),
            "known_at": pa.array([at(6)] * 2, moments),
        }
    )
    tables.replace(FEATURES.of(spec.model, "plan").at(interval(5).partition), old)
    opened.clear()
    rows = pa.table(
        {
            "customer_id": ["gone", "b", None],
            "event_timestamp": pa.array([at(DAYS), at(DAYS - 1), at(DAYS)], moments),
        }
    ).to_pandas()
    joined = historical.read(spec, rows)
    assert joined["plan"].tolist()[:2] == ["old", "paid"] and joined["plan"].isna().tolist() == [False, False, True]
    assert joined["spent"].isna().tolist() == [True, False, True]
    opened.clear()
    historical.read(spec, rows.iloc[1:])  # who has no key waits for nothing
    assert 0 < len({*opened}) <= 2 * 4


def test_of_who_never_had_features_no_file_is_opened_that_holds_lesser_or_greater_keys_alone(
    learner: Model, opened: list[str]
) -> None:
    """As a key is that is newer than all others; of one between the others every file may hold it."""
    spec, read = learner.spec, {}
    for key in ("aa", "nobody", "A"):
        rows = pd.DataFrame({"customer_id": ["a", key], "event_timestamp": [at(DAYS), at(DAYS)]})
        opened.clear()
        joined = historical.read(spec, rows)
        assert joined["plan"].notna().tolist() == joined["spent"].notna().tolist() == [True, False]
        read[key] = len({*opened})
    assert read["aa"] == 2 * DAYS
    assert read["nobody"] == read["A"] <= 2 * 4


def test_a_training_has_not_seen_what_the_server_leaves_out_for_its_age(learner: Model, opened: list[str]) -> None:
    """As old as its bound a row counts, in both; then its features are null, and nobody looks for it."""
    spec, last = learner.spec, at(DAYS)
    rows = pd.DataFrame(
        {
            "customer_id": ["a", "a", "aa"],
            "event_timestamp": [last + timedelta(days=3), last + timedelta(days=3, microseconds=1), last],
        }
    )
    joined, read = {}, {}
    for beyond in ("answer", "refuse", "nulls"):
        bounded = spec.features["plan"].model_copy(
            update={"freshness": Freshness(bound=timedelta(days=3), beyond=beyond)}
        )
        changed = spec.model_copy(update={"features": spec.features | {"plan": bounded}})
        objects.ensure_applied(changed)
        declared = historical.read_as_declared(changed, rows)
        opened.clear()
        joined[beyond] = historical.read(changed, rows)
        read[beyond] = len({*opened})
        pd.testing.assert_frame_equal(declared, joined[beyond])
    assert {name: found["plan"].notna().tolist() for name, found in joined.items()} == {
        "answer": [True, True, False],
        "refuse": [True, True, False],
        "nulls": [True, False, False],
    }
    assert joined["nulls"]["spent"].tolist()[:2] == [DAYS - 1.0] * 2, "the other view has no bound"
    assert read["answer"] == 2 * DAYS and read["nulls"] <= DAYS + 4, "both views for nobody, and then the other alone"
