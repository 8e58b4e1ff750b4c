"""What only MySQL's protocol has: zero dates, unsigned numbers, bits, moments beside times without zone, encryption."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from evergreen.errors import BatchUnreadable, ServiceUnavailable

from .databases import Place, made
from .test_ingest_databases import BOUNDED, SMALL, failure, read


@pytest.fixture(scope="module")
def mariadb(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = made("mariadb", request, tmp_path_factory.mktemp("mysql"))
    place.execute(
        "create table odd (visit_id varchar(9), visited_at timestamp null, at datetime, big bigint unsigned,"
        " yes bit(1), many bit(12), extra json, lasted time) character set latin1",
        "insert into odd values ('é', '2026-01-05 10:00:00', '0000-00-00', 18446744073709551615, b'1', b'1001', "
        "'{\"a\": [1]}', '-01:02:03')",
    )
    return place


@pytest.mark.long
def test_cells_arrive_as_the_server_writes_them(mariadb: Place) -> None:
    types = SMALL | {
        "at": "timestamp",
        "big": "int",
        "yes": "bool",
        "many": "int",
        "extra": "string",
        "lasted": "string",
    }
    (row,) = read(mariadb.uri, f"SELECT * FROM odd WHERE {BOUNDED}", types)
    assert (row["visit_id"], row["visited_at"]) == ("é", datetime(2026, 1, 5, 10, tzinfo=UTC))
    assert (row["yes"], row["many"], row["extra"], row["lasted"]) == (True, 9, '{"a": [1]}', "-01:02:03")
    assert (row["at"], row["big"]) == (None, None)
    assert row["_unparsed"] == "at=0000-00-00 00:00:00; big=18446744073709551615"


@pytest.mark.long
def test_a_moment_takes_no_zone(mariadb: Place) -> None:
    """The bounds would be off by it."""
    sql = f"SELECT visit_id, visited_at FROM odd WHERE {BOUNDED}"
    error = failure(BatchUnreadable, mariadb.uri, sql, SMALL, "Europe/Berlin")
    assert "moments in the column visited_at" in error.found
    assert "declare visited_at without `zone`" in error.next_step


@pytest.mark.long
@pytest.mark.parametrize("extras", ["ssl_mode=REQUIRED", "ssl_mode=VERIFY_IDENTITY", "ssl_verify_cert=true"])
def test_encryption_that_is_asked_for_is_not_left_out(extras: str, mariadb: Place) -> None:
    error = failure(ServiceUnavailable, f"{mariadb.uri}?{extras}")
    assert "SSL is required but the server doesn't support it" in error.found


@pytest.mark.long
def test_a_file_of_the_clients_machine_is_never_sent(mariadb: Place) -> None:
    sql = f"LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE odd -- {BOUNDED}"
    failure(BatchUnreadable, f"{mariadb.uri}?local_infile=1", sql)
