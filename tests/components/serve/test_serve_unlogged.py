"""What a server keeps on its disk while Postgres is away is counted until it is in the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from evergreen.serve.predictions import Prediction
from evergreen.serve.unlogged import Unlogged

MOST = 10_000


class Log:
    """A log that takes rows, or does not."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.of: Unlogged
        self.behind: list[bool] = []
        self.away = False

    def __call__(self, rows: Sequence[Prediction]) -> None:
        self.behind.append(self.of.behind)
        if self.away:
            raise psycopg.OperationalError("away")
        self.taken += [row.request_id for row in rows]


def row(name: str) -> Prediction:
    return Prediction("shop", 1, name, 0, "c1", datetime(2026, 1, 1, tzinfo=UTC), None, {}, 0.5)


def test_what_could_not_be_written_still_waits_still_counts_and_is_no_other_servers(tmp_path: Path) -> None:
    log, other = Log(), Log()
    ours, beside = Unlogged(tmp_path, MOST, log), Unlogged(tmp_path, MOST, other)
    log.of, other.of = ours, beside
    assert ours.append([row("a")]) and ours.behind
    one = ours.size
    log.away = True
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError):
            ours._own()
        assert ours.size == one and ours.behind, "it waits"
    assert ours.append([row("b")]) and ours.size == 2 * one
    while ours.append([row("c")]):
        assert ours.size <= MOST
    assert ours.size + one > MOST, "all that waits is within the bound, in however many files"
    beside._left()
    assert other.taken == [], "its server lives"
    log.away = False
    ours._own()
    assert log.taken == ["a"] and 0 < ours.size < MOST
    ours._own()
    assert {*log.taken} == {"a", "b", "c"} and ours.size == 0 and list(tmp_path.iterdir()) == []
    assert log.behind[0] is False, "while the last rows are on their way, what comes is tried in Postgres again"
    assert not ours.behind
