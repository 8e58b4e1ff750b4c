"""The ingest loop's feature stages on a real lake, catalogue and online store: any order of days ends the same."""

from __future__ import annotations

import itertools
import threading
from datetime import timedelta
from typing import Any

import pytest

from evergreen.errors import HandoverRefused
from evergreen.features import online_rows, online_values, stages
from evergreen.handovers.ingest import SoundFeatures
from evergreen.labels import stages as labels
from evergreen.lake.schema import FEATURES, LABELS, Partition

from .conftest import Model, at, event

DAYS = 4
CUSTOMERS = ["a", "b"]


def computed(model: Model, day: int) -> SoundFeatures:
    """These tests are about which partitions are written, not about contracts: the tiny model has none."""
    return SoundFeatures(views=stages.compute(model.run(day)).views, page=None, warnings=())


def batch(day: int) -> list[dict[str, Any]]:
    late = [event(day - 0.7, "a", 3.0)] if day else []
    return [event(day + 0.25, "a", 10.0**day), *late, *([event(day + 0.5, "b", 1.0)] if day % 2 else [])]


def ingest(model: Model, day: int) -> dict[str, Any]:
    model.publish(day, batch(day), dict.fromkeys(CUSTOMERS, f"plan {day}"))
    return process(model, day)


def process(model: Model, day: int) -> dict[str, Any]:
    run = model.run(day)
    published = stages.publish(run, computed(model, day))
    return {
        "features": published.views,
        "labels": labels.labels(model.learns(DAYS - 1)).partitions,
        "online": stages.materialize(run).views,
    }


def everything(model: Model) -> dict[str, Any]:
    return {
        "spend": model.stored(FEATURES, "spend"),
        "plan": model.stored(FEATURES, "plan"),
        "labels": model.stored(LABELS, "bought"),
        "online": online_rows.read(model.spec, [{"customer_id": c} for c in (*CUSTOMERS, "nobody")]),
    }


ORDERS = [order for order in itertools.permutations(range(DAYS)) if order in {(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2)}]


@pytest.mark.parametrize("order", ORDERS)
def test_any_order_of_days_ends_the_same(model: Model, order: tuple[int, ...]) -> None:
    for day in order:
        ingest(model, day)
    end = everything(model)
    assert {(row["partition"], row["customer_id"]): row["spent"] for row in end["spend"]} == {
        ("2026-01-01", "a"): 1.0,
        ("2026-01-02", "a"): 14.0,
        ("2026-01-02", "b"): 1.0,
        ("2026-01-03", "a"): 117.0,
        ("2026-01-03", "b"): 1.0,
        ("2026-01-04", "a"): 1116.0,
        ("2026-01-04", "b"): 2.0,
    }
    assert {(row["partition"], row["customer_id"]) for row in end["labels"]} == {
        (f"2026-01-0{day + 1}", customer) for day in range(DAYS - 2) for customer in CUSTOMERS
    }
    assert end["online"][0] == {
        "features": {"spent": 1116.0, "purchases": 5, "big": True, "plan": "plan 3"},
        "features_at": at(4),
        "views_at": {"spend": at(4), "plan": at(4)},
    }
    assert end["online"][1] == {
        "features": {"spent": 2.0, "purchases": 2, "big": False, "plan": "plan 3"},
        "features_at": at(4),
        "views_at": {"spend": at(4), "plan": at(4)},
    }
    assert end["online"][2] == {
        "features": dict.fromkeys(model.spec.feature_types),
        "features_at": None,
        "views_at": {"spend": None, "plan": None},
    }


def test_a_second_run_finds_nothing_to_do(model: Model) -> None:
    ingest(model, 0)
    before = everything(model)
    assert process(model, 0) == {
        "features": {"spend": {}, "plan": {}},
        "labels": {},
        "online": {"spend": {}, "plan": {}},
    }
    assert everything(model) == before


def test_a_day_is_awaited_until_its_ingestion_has_nothing_left_to_do(model: Model) -> None:
    run, now = model.learns(1), at(2)
    ingest(model, 0)
    assert labels.awaited(run, now) == ["tiny/events of 2026-01-02", "tiny/customers of 2026-01-02"]
    model.publish(1, batch(1), dict.fromkeys(CUSTOMERS, "plan 1"))
    assert labels.awaited(run, now) == ["tiny/spend of 2026-01-02", "tiny/plan of 2026-01-02"]
    process(model, 1)
    assert labels.awaited(run, now) == []
    model.publish(1, batch(2), dict.fromkeys(CUSTOMERS, "plan 1"))
    assert labels.awaited(run, now) == ["tiny/spend of 2026-01-02"]


def test_the_last_missing_day_completes_the_later_ones(model: Model) -> None:
    assert ingest(model, 1)["features"]["spend"] == {}
    assert sorted(ingest(model, 0)["features"]["spend"]) == ["2026-01-01", "2026-01-02"]


def test_a_corrected_day_changes_exactly_what_looks_back_at_it(model: Model) -> None:
    for day in range(DAYS):
        ingest(model, day)
    before = {row["partition"]: row for row in model.stored(FEATURES, "spend") if row["customer_id"] == "b"}
    model.publish(1, [event(1.25, "b", 50.0)], dict.fromkeys(CUSTOMERS, "plan 1"))
    written = process(model, 1)
    assert sorted(written["features"]["spend"]) == ["2026-01-02", "2026-01-03", "2026-01-04"]
    assert written["features"]["plan"] == {}
    after = {row["partition"]: row for row in model.stored(FEATURES, "spend") if row["customer_id"] == "b"}
    assert [(p, before[p]["spent"], after[p]["spent"]) for p in sorted(after)] == [
        ("2026-01-02", 1.0, 50.0),
        ("2026-01-03", 1.0, 50.0),
        ("2026-01-04", 2.0, 51.0),
    ]
    assert online_rows.read(model.spec, [{"customer_id": "b"}])[0]["features"]["spent"] == 51.0


def test_who_is_no_longer_in_a_corrected_day_is_online_as_the_day_before_knew_them(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event came with the wrong customer: of `z` nothing was ever true, and of `c` only what day 0 says."""

    def online() -> dict[str, Any]:
        entities = online_rows.read(model.spec, [{"customer_id": customer} for customer in ("a", "b", "c", "z")])
        return {name: entity["features"]["spent"] for name, entity in zip("abcz", entities, strict=True)}

    model.publish(0, [event(0.5, "a", 1.0), event(0.5, "c", 3.0)], {})
    process(model, 0)
    right = [event(3.5, "a", 10.0)]  # of day 0 nothing is seen any more: the look-back is three days
    for day, events in ((1, []), (2, []), (3, right)):
        model.publish(day, events, {})
        process(model, day)
    before = online()
    model.publish(3, [*right, event(3.6, "z", 7.0), event(3.7, "c", 8.0)], {})
    process(model, 3)
    assert online() == before | {"z": 7.0, "c": 8.0}
    model.publish(3, right, {})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(online_values, "withdraw", killed)
        process(model, 3)
    process(model, 3)
    assert online() == before and before["z"] is None and before["c"] == 3.0, before


def test_a_day_that_is_right_again_is_online_also_when_the_wrong_one_was_killed_halfway(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(model, 0)
    before = everything(model)["online"]

    replace = online_values.replace

    def killed(*arguments: Any) -> None:
        replace(*arguments)
        raise KeyboardInterrupt

    model.publish(0, [event(0.25, "a", 999.0), event(0.3, "nobody", 1.0)], {})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(online_values, "replace", killed)  # the wrong rows are written, and nothing says so
        process(model, 0)
    assert everything(model)["online"] != before
    assert ingest(model, 0)["online"]["spend"] == {"2026-01-01": 1}
    assert everything(model)["online"] == before


def test_two_days_that_are_corrected_at_once_leave_nothing_of_who_is_in_neither(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(DAYS):
        model.publish(day, batch(day), {"a": "old"} | ({"gone": "old"} if day > 1 else {}))
        process(model, day)
    withdraw, other = online_values.withdraw, threading.Thread(target=lambda: process(model, 2))

    def beside(*arguments: Any) -> None:
        """What is written instead has been read, day 2 is corrected, and its run would go on if nothing held it up."""
        if other.ident is None:
            model.publish(2, batch(2), {"a": "new"})
            other.start()
            other.join(5)
        withdraw(*arguments)

    model.publish(3, batch(3), {"a": "new"})
    monkeypatch.setattr(online_values, "withdraw", beside)
    process(model, 3)
    other.join()
    entities = online_rows.read(model.spec, [{"customer_id": customer} for customer in ("a", "gone")])
    assert [entity["features"]["plan"] for entity in entities] == ["new", None]


def test_a_changed_query_is_computed_again(model: Model) -> None:
    ingest(model, 0)
    sql = model.data.view_sql("spend")
    sql.write_text(sql.read_text().replace("sum(amount)", "2 * sum(amount)"))
    assert list(process(model, 0)["features"]["spend"]) == ["2026-01-01"]
    assert model.stored(FEATURES, "spend")[0]["spent"] == 2.0


def test_a_candidate_whose_inputs_changed_meanwhile_is_left_to_the_run_that_changed_them(model: Model) -> None:
    model.publish(0, batch(0), {"a": "old"})
    candidates = computed(model, 0)
    model.publish(0, [event(0.25, "a", 999.0)], {"a": "new"})
    published = stages.publish(model.run(0), candidates)
    assert (published.left, published.extra()["rows"]) == (("spend 2026-01-01", "plan 2026-01-01"), 0)
    assert model.stored(FEATURES, "spend") == [], "nothing is written from inputs that are no longer published"
    process(model, 0)  # the run that published the day goes on
    assert [row["spent"] for row in model.stored(FEATURES, "spend")] == [999.0]
    assert [row["plan"] for row in model.stored(FEATURES, "plan")] == ["new"]


def _interleaved(one: str, other: str) -> list[str]:
    """Every order of the two words' letters in which each word keeps its own."""
    if not one or not other:
        return [one + other]
    firsts = [one[0] + rest for rest in _interleaved(one[1:], other)]
    return firsts + [other[0] + rest for rest in _interleaved(one, other[1:])]


# Two runs, of day 0 (small letters) and of day 1: each puts its day into the lake (p), computes (c) and writes (w).
@pytest.mark.parametrize("order", _interleaved("pcw", "PCW"))
def test_two_days_side_by_side_end_the_same_whatever_comes_between(model: Model, order: str) -> None:
    candidates: dict[int, SoundFeatures] = {}
    for letter in order:
        day = 0 if letter.islower() else 1
        match letter.lower():
            case "p":
                model.publish(day, batch(day), dict.fromkeys(CUSTOMERS, f"plan {day}"))
            case "c":
                candidates[day] = computed(model, day)
            case "w":
                stages.publish(model.run(day), candidates[day])
    rows = {(row["partition"], row["customer_id"]): row["spent"] for row in model.stored(FEATURES, "spend")}
    assert rows == {("2026-01-01", "a"): 1.0, ("2026-01-02", "a"): 14.0, ("2026-01-02", "b"): 1.0}, order


def test_a_candidate_of_a_query_that_was_changed_since_is_refused(model: Model) -> None:
    """No other run would compute it: the raw days are the same."""
    model.publish(0, batch(0), {"a": "old"})
    candidates = computed(model, 0)
    sql = model.data.view_sql("spend")
    sql.write_text(sql.read_text().replace("sum(amount)", "2 * sum(amount)"))
    with pytest.raises(HandoverRefused, match="clear `features`"):
        stages.publish(model.run(0), candidates)
    assert model.stored(FEATURES, "spend") == []


def test_inputs_that_change_while_a_partition_is_written_are_seen_after_it(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evergreen.lake import tables

    model.publish(0, batch(0), {"a": "old"})
    candidates = computed(model, 0)
    write, raced = tables.replace, []

    def racing(partition: Partition, data: Any) -> int:
        if partition.table.layer == FEATURES.layer and not raced:
            raced.append(True)
            model.publish(0, [event(0.25, "a", 999.0)], {"a": "new"})
        version: int = write(partition, data)
        return version

    monkeypatch.setattr(tables, "replace", racing)
    stages.publish(model.run(0), candidates)
    assert raced
    process(model, 0)  # the run that raced goes on: it sees that what was written is of older inputs
    assert [row["spent"] for row in model.stored(FEATURES, "spend")] == [999.0]


@pytest.mark.parametrize("stop", ["features", "online"])
def test_a_run_killed_between_the_write_and_its_record_is_finished_by_the_next(
    model: Model, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    from evergreen.lake import catalogue

    model.publish(0, batch(0), {"a": "basic"})
    record = catalogue.record

    def killed(entry: catalogue.Entry, **options: Any) -> None:
        if entry.layer == stop and entry.content_hash:
            raise KeyboardInterrupt
        record(entry, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(catalogue, "record", killed)
        process(model, 0)
    process(model, 0)
    assert [(row["customer_id"], row["spent"]) for row in model.stored(FEATURES, "spend")] == [("a", 1.0)]
    assert online_rows.read(model.spec, [{"customer_id": "a"}])[0]["features"]["spent"] == 1.0


@pytest.mark.parametrize("order", ORDERS)
def test_the_rows_of_a_local_day_are_each_counted_once_by_the_shortest_look_back(
    model: Model, order: tuple[int, ...]
) -> None:
    """shared/cases, localday.py: batches of New York's days, five hours behind UTC, and a view of one day."""
    short = model.spec.features["spend"].model_copy(update={"look_back": timedelta(days=1)})
    model.spec = model.spec.model_copy(update={"features": model.spec.features | {"spend": short}})
    for day in order:
        local = [event(day + (hour + 5) / 24, "a", 1.0, f"{day}-{hour}") for hour in range(24)]
        model.publish(day, local, {"a": "basic"})
        process(model, day)
    counted = {row["partition"]: row["purchases"] for row in model.stored(FEATURES, "spend")}
    days = [model.run(day).interval.partition for day in range(DAYS)]
    assert counted == {day: 19 if day == days[0] else 24 for day in days}
    bought = {row["partition"]: row["bought"] for row in model.stored(LABELS, "bought")}
    assert bought and all(bought.values())


def test_a_correction_that_takes_rows_away_from_a_later_day_reaches_what_was_computed_from_them(model: Model) -> None:
    short = model.spec.features["spend"].model_copy(update={"look_back": timedelta(days=1)})
    model.spec = model.spec.model_copy(update={"features": model.spec.features | {"spend": short}})
    model.publish(0, [event(1.1, "a", 1.0, "ahead")], {"a": "basic"})
    process(model, 0)
    model.publish(1, [event(1.5, "a", 1.0, "own")], {"a": "basic"})
    process(model, 1)
    second = model.run(1).interval.partition
    (row,) = [row for row in model.stored(FEATURES, "spend") if row["partition"] == second]
    assert row["purchases"] == 2
    model.publish(0, [event(0.1, "a", 1.0, "corrected")], {"a": "basic"})
    assert second in process(model, 0)["features"]["spend"]
    (row,) = [row for row in model.stored(FEATURES, "spend") if row["partition"] == second]
    assert row["purchases"] == 1
