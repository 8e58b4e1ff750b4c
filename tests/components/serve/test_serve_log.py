"""The prediction log by itself: requests share commits, and not one another's faults."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import psycopg
import pytest

from evergreen.errors import ServiceUnavailable
from evergreen.serve import predictions
from evergreen.serve.drafts import Withdrawn
from evergreen.serve.predictions import Prediction, PredictionLog, between, days, drop
from evergreen.settings import Settings

from .conftest import at, until


def rows(request: str, value: object) -> list[Prediction]:
    return [Prediction("shop", 1, request, 0, "c-1", at(0), at(0), {"minutes": value}, 0.5)]


def many(request: str, count: int = 300, **others: object) -> list[Prediction]:
    return [replace(rows(request, 1.0)[0], position=position, **others) for position in range(count)]  # type: ignore[arg-type]


def counted() -> dict[str, int]:
    """Request → its rows in the log, none of them twice."""
    logged = between("shop", at(0), at(0) + timedelta(seconds=1))
    return Counter(row.request_id for row in logged)


@pytest.mark.parametrize(("value", "reason"), [(float("inf"), "Infinity"), (object(), "type object is unsupported")])
def test_a_value_that_cannot_be_written_fails_its_own_request_alone(home: Settings, value: object, reason: str) -> None:
    log = PredictionLog()
    log.append(rows("first", 1.0)).result(timeout=30)
    with psycopg.connect(home.database_url("evergreen")) as blocker:
        blocker.execute("lock table predictions in exclusive mode")
        held = log.append(rows("held", 1.0))  # what comes while it waits shares the next commit
        later = [log.append(rows(name, value)) for name, value in (("a", 1.0), ("wrong", value), ("b", 2.0))]
        assert not held.done()
    assert [future.exception(timeout=30) for future in (held, later[0], later[2])] == [None, None, None]
    with pytest.raises(ServiceUnavailable, match=reason):
        later[1].result(timeout=30)
    log.append(rows("last", 1.0)).result(timeout=30)
    assert log._rows == 0, "what was refused waits no longer"
    log.close()
    logged = between("shop", at(0), at(0) + timedelta(seconds=1))
    assert {row.request_id for row in logged} == {"first", "held", "a", "b", "last"}


def test_a_day_is_dropped_with_its_table_whatever_it_holds_and_others_are_not_touched(home: Settings) -> None:
    def of(model: str, moment: datetime, request: str) -> list[Prediction]:
        return [replace(row, model=model, as_of=moment) for row in rows(request, 1.0)]

    last = at(1) - timedelta(microseconds=1)
    log = PredictionLog()
    for model, moment, request in (
        ("shop", at(0), "a"),
        ("shop", last, "b"),
        ("shop", at(1), "c"),
        ("kiosk", at(0), "d"),
    ):
        log.append(of(model, moment, request)).result(timeout=30)
    first, second = at(0).date(), at(1).date()
    assert (days("shop"), days("kiosk")) == ([first, second], [first])
    with psycopg.connect(home.database_url("evergreen"), autocommit=True) as connection:
        scans = "select coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0) from pg_stat_user_tables where relname = %s"
        table = f"predictions_{first:%Y%m%d}_shop"
        before = connection.execute(scans, [table]).fetchone()
        plan = connection.execute(
            "explain (costs off) select * from predictions where model = 'shop' and as_of >= %s and as_of < %s",
            [at(1), at(2)],
        ).fetchall()
        assert table not in str(plan), "a window reads the tables of its days alone"
        drop("shop", [first])
        assert connection.execute("select to_regclass(%s)", [table]).fetchone() == (None,), "no row was looked at"
        assert before == (0,)
    assert (days("shop"), days("kiosk")) == ([second], [first])
    assert [row.request_id for row in between("shop", at(0), at(5))] == ["c"]
    log.append(of("shop", at(0), "late")).result(timeout=30)  # its table is made again, by a writer that knew it
    log.append(of("shop", at(0), "late")).result(timeout=30)
    assert [row.request_id for row in between("shop", at(0), at(5))] == ["late", "c"]
    log.close()


def test_many_rows_are_read_as_they_were_written_and_those_that_are_there_are_left_out(home: Settings) -> None:
    given = [
        Prediction("shop", 1, "a", 0, 'a "quoted" ü \U0001f600', at(0), at(0), {"n": None, "text": "null"}, 0.25),
        Prediction("shop", 2**31, "a", 1, "c", at(0), None, {"n": 2**53, "on": True}, None, None, {"x": 0.5, "y": 0.5}),
        Prediction("shop", 1, "a", 2, "c", at(0), at(-9), {}, None, role="champion", seconds=0.5, failed="why"),
        Prediction("shop", 1, "a", 3, "c", at(0), at(0), {"n": -0.0}, 1e-300, decided="1", rollout="r", share=5),
    ]
    log = PredictionLog()
    log.append([*given, *many("a", 90, entity="d")[4:]]).result(timeout=30)
    log.append([*many("a", 200), *many("b", 60)]).result(timeout=30)
    log.close()
    with psycopg.connect(home.database_url("evergreen")) as connection:
        logged = predictions.TABLE.select(connection, "where model = 'shop'")
    assert Counter(row.request_id for row in logged) == {"a": 200 + 1, "b": 60}, "of the key is the version too"
    read = {(row.request_id, row.position, row.version): row for row in logged}
    for row in given:
        found = read["a", row.position, row.version]
        assert {**vars(found), "logged_at": None} == vars(row)
    assert read["a", 89, 1].entity == "d", "the first one stays"


def test_the_rows_of_a_draft_are_in_the_log_once_they_stand_and_not_before(home: Settings) -> None:
    log = PredictionLog()
    log.append(rows("first", 1.0)).result(timeout=30)
    draft = log.draft("shop", at(0), 300)
    for start in range(0, 300, 100):
        draft.add(many("draft")[start : start + 100])
    behind = log.append(rows("behind", 1.0))
    with pytest.raises(TimeoutError):
        draft.done.result(timeout=0.3)
    assert counted() == {"first": 1}
    draft.commit()
    draft.withdraw()  # too late
    assert (draft.begun, draft.done.result(timeout=30), behind.result(timeout=30)) == (True, None, None)
    assert counted() == {"first": 1, "draft": 300, "behind": 1}
    assert log._rows == 0
    log.close()


def test_a_draft_that_is_withdrawn_leaves_nothing_and_holds_up_nobody(home: Settings) -> None:
    log = PredictionLog()
    log.append(rows("first", 1.0)).result(timeout=30)
    with psycopg.connect(home.database_url("evergreen")) as blocker:
        blocker.execute("lock table predictions in exclusive mode")
        before = [log.append(rows(f"before {number}", 1.0)) for number in range(3)]  # the last two share its commit
        draft = log.draft("shop", at(0), 300)
        draft.add(many("draft"))
        behind = log.append(many("behind"))
        draft.withdraw()
    assert [done.exception(timeout=30) for done in (*before, behind)] == [None] * 4
    with pytest.raises(ServiceUnavailable, match=Withdrawn.__name__):
        draft.done.result(timeout=30)
    late = log.draft("shop", at(0), 300)
    late.withdraw()
    late.add(many("late"))  # its thread had not heard
    log.append(rows("last", 1.0)).result(timeout=30)
    assert counted() == {"first": 1, **{f"before {number}": 1 for number in range(3)}, "behind": 300, "last": 1}
    assert log._rows == 0, "what was withdrawn waits no longer"
    log.close()


def test_a_draft_whose_connection_ends_is_there_once(home: Settings) -> None:
    log = PredictionLog()
    log.append(rows("first", 1.0)).result(timeout=30)
    draft = log.draft("shop", at(0), 300)
    draft.add(many("draft", 100))
    with psycopg.connect(home.database_url("evergreen"), autocommit=True) as admin:
        copying = "datname = current_database() and query like 'copy predictions%'"
        ended = f"select pg_terminate_backend(pid) from pg_stat_activity where {copying}"
        until(lambda: admin.execute(ended).fetchall(), "it is copied")
    draft.add(many("draft")[100:])
    draft.commit()
    draft.done.result(timeout=30)
    again = log.draft("shop", at(0), 300)  # as after a commit of which nobody knows whether it was one
    again.add(many("draft"))
    again.commit()
    again.done.result(timeout=30)
    assert counted() == {"first": 1, "draft": 300}
    log.close()


@pytest.mark.parametrize("value", [float("inf"), object()])
def test_a_draft_with_a_value_that_cannot_be_written_fails_whole_and_alone(home: Settings, value: object) -> None:
    log = PredictionLog()
    draft = log.draft("shop", at(0), 300)
    draft.add(many("draft", 100))
    draft.add([replace(row, features={"minutes": value}) for row in many("draft")[100:200]])
    draft.add(many("draft")[200:])
    behind = log.append(rows("behind", 1.0))
    draft.commit()
    with pytest.raises(ServiceUnavailable):
        draft.done.result(timeout=30)
    behind.result(timeout=30)
    assert counted() == {"behind": 1}
    log.close()


def test_a_draft_for_which_there_is_no_room_is_not_begun(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "_ROWS_WAITING", 100)
    log = PredictionLog()
    full = log.draft("shop", at(0), 300)
    full.add(many("full"))
    log.close()
    closed = log.draft("shop", at(0), 50)
    closed.add(many("closed", 50))
    assert not full.begun and not closed.begun
    waits = PredictionLog(waiting=lambda: True)  # rows lie on disk: none is written before them
    beside = waits.draft("shop", at(0), 50)
    beside.add(many("beside", 50))
    assert not beside.begun
    waits.close()
