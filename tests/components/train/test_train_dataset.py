"""The training set out of a real lake, joined by Feast: what a training as of a moment may know (invariant 2)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evergreen.errors import EvidenceMissing
from evergreen.lake import staging
from evergreen.settings import Settings
from evergreen.spec.schema import ModelSpec
from evergreen.train import dataset, rules, stages

from .conftest import DAYS, at, run_as_of, spec_in
from .history import DAY, HORIZON, Row, a_history, feature, label, publish


@pytest.fixture
def tiny(home: Settings, tmp_path: Path) -> ModelSpec:
    return spec_in(tmp_path / "model", split={"window": "18d", "evaluation": "3d", "minimum_rows": 10})


def rows_by_hand(as_of: datetime, split: rules.Split, features: list[Row], labels: list[Row]) -> list[Row]:
    """What the set must hold, by looking at every row."""
    expected = []
    for row in sorted(labels, key=lambda row: (row["event_timestamp"], row["customer_id"])):
        cutoff = row["event_timestamp"]
        known = row["known_at"] <= as_of and cutoff + HORIZON * DAY <= as_of
        learned = split.learn_from <= cutoff <= split.learn_to and row["known_at"] <= split.evaluate_from
        evaluated = split.evaluate_from <= cutoff <= split.evaluate_to
        if known and (learned or evaluated):
            seen = [
                (feature["event_timestamp"], feature["known_at"], feature["minutes"])
                for feature in features
                if feature["customer_id"] == row["customer_id"]
                and feature["event_timestamp"] <= cutoff
                and feature["known_at"] <= cutoff
            ]
            expected.append(
                {
                    "customer_id": row["customer_id"],
                    "event_timestamp": cutoff,
                    "left": row["left"],
                    "minutes": max(seen)[2] if seen else None,
                }
            )
    return expected


def held(built: dataset.TrainingSet) -> list[Row]:
    return built.rows.select(["customer_id", "event_timestamp", "left", "minutes"]).to_pylist()


def test_a_training_set_sees_only_what_was_known_when_it_was_needed(tiny: ModelSpec) -> None:
    from evergreen.features import objects

    objects.ensure_applied(tiny)
    features, labels = a_history(seed=1)
    publish(tiny, features, labels)
    for day in (12, 15, DAYS - 1):
        split = rules.split(at(day), tiny)
        built, expected = held(dataset.build(tiny, split)), rows_by_hand(at(day), split, features, labels)
        assert len(expected) > 30, "the case says something"
        assert [row for row in built if row not in expected] == [], f"as of {at(day)}: rows that it must not see"
        assert built == expected


def test_tables_that_change_during_the_join_are_joined_as_recorded(
    tiny: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is recorded are the versions that were read."""
    from evergreen.features import historical, objects

    objects.ensure_applied(tiny)
    features, labels = a_history(seed=3)
    publish(tiny, features, labels)
    split, join = rules.split(at(14), tiny), historical.read
    quiet = dataset.build(tiny, split)

    def disturbed(*arguments: Any) -> pd.DataFrame:
        publish(tiny, [feature("c1", at(3), 7.0)], [label("c1", at(3), 1)])
        return join(*arguments)

    monkeypatch.setattr(historical, "read", disturbed)
    built = dataset.build(tiny, split)
    assert (built.content_hash, built.versions) == (quiet.content_hash, quiet.versions)
    monkeypatch.undo()
    later = dataset.build(tiny, split)
    assert later.content_hash != built.content_hash and later.versions != built.versions
    assert dataset.rebuild(tiny, split, built.pins) == built, "of the versions that were recorded"


def test_what_becomes_known_later_never_changes_an_earlier_training_set(tiny: ModelSpec) -> None:
    from evergreen.features import objects

    objects.ensure_applied(tiny)
    features, labels = a_history(seed=2)
    as_of = at(14)
    split = rules.split(as_of, tiny)

    def known(row: Row) -> bool:
        return bool(row["known_at"] <= as_of)

    publish(tiny, filter(known, features), filter(known, labels))
    then = dataset.build(tiny, split)
    publish(tiny, features, labels)
    now = dataset.build(tiny, split)
    assert held(now) == held(then)
    assert now.content_hash == then.content_hash, "a rerun after later days and backfills has the same key"
    assert now.versions != then.versions, "the tables did change"


def test_the_stage_describes_the_set_and_finds_the_same_key_again(tiny: ModelSpec) -> None:
    features, labels = a_history(seed=3)
    publish(tiny, features, labels)
    built = stages.build(run_as_of(tiny, 15))
    assert stages.build(run_as_of(tiny, 15)) == built
    table = staging.read(built.staged)
    assert table.column_names == ["customer_id", "event_timestamp", *tiny.feature_types, "left"]
    assert built.staged.rows == table.num_rows == built.learn.rows + built.evaluate.rows
    assert built.versions.keys() == {"features/activity", "labels/left"}
    other = stages.build(run_as_of(tiny, 16))
    assert other.key != built.key


def test_after_a_change_of_the_world_it_keeps_the_window_and_evaluates_on_what_came_after(tiny: ModelSpec) -> None:
    """What of it is learned from, the candidates' backtest says."""
    features, labels = a_history(seed=4)
    publish(tiny, features, labels)
    usual, since = stages.build(run_as_of(tiny)), stages.build(run_as_of(tiny, changed_at=at(8)))
    assert (since.content_hash, since.learn, since.evaluate) == (usual.content_hash, usual.learn, usual.evaluate)
    assert since.key != usual.key, "another training: its candidates may learn from other rows"
    late = stages.build(run_as_of(tiny, changed_at=at(16)))
    assert late.evaluate.start == at(16) > usual.evaluate.start
    cutoffs = staging.read(late.staged)["event_timestamp"].to_pylist()
    assert {cutoff for cutoff in cutoffs if cutoff > late.learn.end} == {at(16), at(17)}
    assert min(cutoffs) == min(staging.read(usual.staged)["event_timestamp"].to_pylist())


def test_too_few_mature_rows_are_missing_evidence_and_the_message_names_the_setting(tiny: ModelSpec) -> None:
    features, labels = a_history(seed=5)
    publish(tiny, features, labels)
    spec = tiny.model_copy(update={"split": tiny.split.model_copy(update={"minimum_rows": 100})})
    for day in (1, 7):  # no label is mature yet; some are
        with pytest.raises(EvidenceMissing, match="rows to learn from") as raised:
            stages.build(run_as_of(spec, day))
        assert "split.minimum_rows" in raised.value.expected


def test_a_model_that_was_never_ingested_has_no_evidence(tiny: ModelSpec) -> None:
    with pytest.raises(EvidenceMissing):
        stages.build(run_as_of(tiny))
