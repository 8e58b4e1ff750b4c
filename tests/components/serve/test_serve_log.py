"""The prediction log by itself: requests share commits, and not one another's faults."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from evergreen.errors import ServiceUnavailable
from evergreen.serve.predictions import Prediction, PredictionLog, between
from evergreen.settings import Settings

from .conftest import at


def rows(request: str, value: object) -> list[Prediction]:
    return [Prediction("shop", 1, request, 0, "c-1", at(0), at(0), {"minutes": value}, 0.5)]


@pytest.mark.parametrize(("value", "reason"), [(float("inf"), "Infinity"), (object(), "not JSON serializable")])
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
