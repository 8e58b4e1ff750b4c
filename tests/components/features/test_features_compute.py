"""Feature and label SQL on a real lake: what a query sees, and what it may return."""

from __future__ import annotations

import time

import pytest

from evergreen.errors import PermanentError
from evergreen.features import computing, rules
from evergreen.spec import deep

from .conftest import Model, at, event, interval


def span(model: Model, day: int, view: str = "spend") -> rules.Span:
    return next(w for w in rules.feature_spans(model.data, view, interval(day)) if w.interval == interval(day))


def label_span(model: Model, day: int) -> rules.Span:
    return next(w for w in rules.label_spans(model.spec, interval(day)) if w.interval == interval(day))


def spent(model: Model, day: int) -> dict[str, float]:
    rows = computing.features(model.data, "spend", span(model, day)).to_pylist()
    return {row["customer_id"]: row["spent"] for row in rows}


def test_a_query_sees_its_look_back_and_nothing_later(model: Model) -> None:
    for day in range(5):
        model.publish(day, [event(day + 0.5, "a", 10.0**day)], {"a": "basic"})
    assert spent(model, 3) == {"a": 10 + 100 + 1000}


def test_a_late_row_counts_from_its_own_batch_on(model: Model) -> None:
    model.publish(0, [event(0.5, "a", 1.0)], {})
    model.publish(1, [event(0.6, "a", 5.0)], {})  # happened on day 0, came with day 1
    assert spent(model, 0) == {"a": 1.0}
    assert spent(model, 1) == {"a": 6.0}


def test_a_row_that_is_known_later_than_its_batch_says_is_not_seen(model: Model) -> None:
    model.publish(0, [event(0.5, "a", 1.0), event(0.6, "a", 5.0) | {"known_at": at(1.5)}], {})
    model.publish(1, [], {})
    assert spent(model, 0) == {"a": 1.0}
    assert spent(model, 1) == {"a": 6.0}


def test_a_corrected_row_counts_once_in_its_newest_known_version(model: Model) -> None:
    model.publish(0, [event(0.5, "a", 1.0, "x"), event(0.5, "b", 1.0, "y")], {})
    model.publish(1, [event(0.5, "a", 7.0, "x")], {})
    assert spent(model, 0) == {"a": 1.0, "b": 1.0}
    assert spent(model, 1) == {"a": 7.0, "b": 1.0}


def test_a_correction_that_moves_a_row_out_of_the_span_removes_it(model: Model) -> None:
    model.publish(2, [event(2.5, "a", 1.0, "x")], {})
    model.publish(3, [event(0.5, "a", 1.0, "x")], {})
    assert spent(model, 2) == {"a": 1.0}
    assert spent(model, 3) == {}


def test_rows_are_typed_stamped_and_sorted(model: Model) -> None:
    model.publish(0, [event(0.2, "b", 1.0), event(0.1, "a", 200.0)], {})
    table = computing.features(model.data, "spend", span(model, 0))
    assert {field.name: str(field.type) for field in table.schema} == {
        "customer_id": "string",
        "spent": "double",
        "purchases": "int64",
        "big": "bool",
        "event_timestamp": "timestamp[us, tz=UTC]",
        "known_at": "timestamp[us, tz=UTC]",
        "partition": "string",
    }
    assert table.to_pylist()[0] == {
        "customer_id": "a",
        "spent": 200.0,
        "purchases": 1,
        "big": True,
        "event_timestamp": at(1),
        "known_at": at(1),
        "partition": "2026-01-01",
    }
    assert [row["customer_id"] for row in table.to_pylist()] == ["a", "b"]


def test_an_empty_lake_gives_an_empty_partition(model: Model) -> None:
    assert computing.features(model.data, "spend", span(model, 0)).num_rows == 0


@pytest.mark.parametrize("value", ["0.0/0", "1.0/0", "-1.0/0"])
def test_what_is_no_finite_number_is_missing(model: Model, value: str) -> None:
    model.publish(0, [event(0.5, "a", 1.0)], {})
    model.data.view_sql("spend").write_text(
        f"select customer_id, {value} as spent, 1 as purchases, true as big from events"
    )
    assert spent(model, 0) == {"a": None}


def test_rows_without_a_key_are_no_versions_of_one_another(model: Model) -> None:
    unknown = {"id": None}
    model.publish(
        0, [event(0.5, "a", 1.0) | unknown, event(0.6, "a", 5.0) | unknown, event(0.6, "b", 7.0) | unknown], {}
    )
    assert spent(model, 0) == {"a": 6.0, "b": 7.0}


def test_a_cast_to_a_time_with_a_zone_is_utc_whatever_the_machines_zone(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.publish(0, [event(0.9, "a", 1.0)], {})
    model.data.view_sql("spend").write_text(
        'select customer_id, extract(hour from "at"::timestamptz)::double as spent, 1 as purchases,'
        " \"at\"::timestamptz::date = date '2026-01-01' as big from events"
    )
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        (row,) = computing.features(model.data, "spend", span(model, 0)).to_pylist()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (row["spent"], row["big"]) == (21.0, True)


def test_a_label_sees_both_sides_of_its_cutoff_up_to_the_horizon(model: Model) -> None:
    model.publish(0, [event(0.5, "b", 1.0)], {"a": "basic", "b": "basic"})
    model.publish(1, [], {})
    model.publish(2, [event(2.9, "a", 1.0)], {})
    model.publish(3, [event(2.95, "b", 1.0)], {})  # known only after the label's maturity
    rows = computing.labels(model.spec, label_span(model, 0))[0].to_pylist()
    stamps = {"event_timestamp": at(1), "known_at": at(3), "partition": "2026-01-01"}
    assert rows == [{"customer_id": "a", "bought": 1} | stamps, {"customer_id": "b", "bought": 0} | stamps]


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        (
            "select customer_id, 1.0 as spent, 1 as purchases from events",
            "big, which features/spend.sql does not return",
        ),
        (
            "select customer_id, amount as spent, 1 as purchases, true as big, 2 as other from events",
            "returns other, which is not declared",
        ),
        (
            "select customer_id, amount as spent, 1 as purchases, true as big from events",
            "`customer_id` more than once: 'a'",
        ),
        ("select null as customer_id, 1.0 as spent, 1 as purchases, true as big", "without `customer_id`"),
        ("select 'a' as customer_id, 'much' as spent, 1 as purchases, true as big", "spent is VARCHAR"),
        ("select 'a' as customer_id, 1.0 as spent, 1.5 as purchases, true as big", "purchases is DECIMAL"),
        ("select 'a' as customer_id, 1.0 as spent, 1 as purchases, 1 as big", "big is INTEGER"),
        ("select customer_id from customers", "the table customers"),
        ("selec 1", "syntax error"),
        ("select 1; select 2", "SELECT, SELECT"),
        (
            "select customer_id, epoch(now()) as spent, 1 as purchases, true as big from events",
            "now(), which is another at each run",
        ),
        ("copy events to 'stolen.csv'", "COPY"),
        ("select customer_id, $tomorrow as spent from events", "$tomorrow"),
        ("select * from read_csv('/etc/passwd')", "the table function read_csv()"),
    ],
)
def test_a_wrong_query_says_what_is_wrong(model: Model, sql: str, problem: str) -> None:
    model.publish(0, [event(0.5, "a", 1.0), event(0.6, "a", 1.0)], {})
    model.data.view_sql("spend").write_text(sql)
    with pytest.raises(PermanentError) as raised:
        computing.features(model.data, "spend", span(model, 0))
    assert problem in raised.value.found
    assert "spend.sql" in raised.value.next_step
    assert "tiny/spend of 2026-01-01" in raised.value.doing
    if "more than once" not in problem:  # which takes rows to be seen
        of_the_view = next(iter(deep.of_dataset(model.data)))
        assert any(problem in mistake.found for mistake in of_the_view), "the check runs the same runner"


@pytest.mark.parametrize("value", ["2", "null", "0.5"])
def test_a_label_is_zero_or_one(model: Model, value: str) -> None:
    model.publish(0, [], {"a": "basic"})
    model.spec.label_sql().write_text(f"select customer_id, {value} as bought from customers")
    with pytest.raises(PermanentError, match="bought"):
        computing.labels(model.spec, label_span(model, 0))
