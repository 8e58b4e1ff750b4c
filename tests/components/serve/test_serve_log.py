"""The prediction log by itself: requests share commits, and not one another's faults."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import psycopg
import pytest

from evergreen.errors import ServiceUnavailable
from evergreen.serve.predictions import Prediction, PredictionLog, between, days, drop
from evergreen.settings import Settings

from .conftest import at


def rows(request: str, value: object) -> list[Prediction]:
    return [Prediction("shop", 1, request, 0, "c-1", at(0), at(0), {"minutes": value}, 0.5)]


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
