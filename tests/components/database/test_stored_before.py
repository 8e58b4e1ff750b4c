"""What the release without migrations stored is opened and read back, each part by the code that reads it today."""

from __future__ import annotations

from datetime import UTC, datetime

import psycopg
import pytest

from evergreen import database
from evergreen.errors import EvidenceMissing
from evergreen.features import online_values
from evergreen.history import ledger
from evergreen.lake import catalogue
from evergreen.lake.schema import FEATURES, PREDICTIONS, RAW, online
from evergreen.registry import records
from evergreen.serve import predictions
from evergreen.serve.idempotency import Memory
from evergreen.settings import PROJECT, Settings
from evergreen.spec.load import load_spec
from tests.components.database.conftest import STORED, restore

MODEL = "parcels"
RIDGE, BOOSTED = "28847994fc454e5bb97c9bb7be95db44", "c706808c81ae4e33a8716c31eb06a940"


def day(number: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 1, number, hour, minute, second, tzinfo=UTC)


@pytest.fixture
def upgraded(home: Settings) -> Settings:
    """A home whose Postgres has what that release left."""
    restore(home, "evergreen", STORED / "evergreen_0.1.0.sql")
    restore(home, "feast", STORED / "feast_0.1.0.sql")
    return home


def test_what_was_published_is_published(upgraded: Settings) -> None:
    raw = catalogue.published(RAW.of(MODEL, "parcels"))
    assert list(raw) == [f"2026-01-{number:02}" for number in range(1, 10)]
    assert raw["2026-01-01"] == catalogue.Entry(
        MODEL, "raw", "parcels", "2026-01-01", 240, "f2ee5c75278239cddd8b1b0c162f81fc", None, 1, day(2)
    )
    (live,) = catalogue.published(PREDICTIONS.of(MODEL), ["2026-01-08"]).values()
    assert (live.rows, live.table_version) == (4, 1)
    view = FEATURES.of(MODEL, "shop_record")
    features_of, there = catalogue.published(view), catalogue.published(online(view))
    assert {key: entry.content_hash for key, entry in features_of.items()} == {
        key: entry.content_hash for key, entry in there.items()
    }, "nothing is computed or written online again"
    assert features_of["2026-01-09"].inputs_hash == "ba31a5c7aa6fb4b65b765cec2b731cf5c3ce91df1924d128a0cf29d6d95981a4"


def test_versions_are_those_candidates(upgraded: Settings) -> None:
    assert records.numbers() == {MODEL: {1, 2}}
    first, second = records.version(MODEL, 1), records.version(MODEL, 2)
    assert (first.run_id, first.key, first.as_of, first.rolled_back) == (RIDGE, "c3b63ce61b5fb8e4", day(8), False)
    assert (second.run_id, second.family, second.rolled_back) == (BOOSTED, "gradient_boosting", True)
    assert records.find_by_key(MODEL, second.key) == second
    candidate = records.candidate(RIDGE)
    assert (candidate.model, candidate.family, candidate.model_id) == (
        MODEL,
        "ridge",
        "m-6f69f697c64c487991ed0493300bff39",
    )
    assert len(candidate.files["model.skops"].sha256) == 64 and candidate.files["model.skops"].size > 1_000
    with pytest.raises(EvidenceMissing):
        records.version(MODEL, 3)


def test_the_champion_is_who_it_was(upgraded: Settings) -> None:
    moves = [entry.event for entry in ledger.entries(MODEL, "promoted", "rolled back", "alerted")]
    assert [(event.event, event.actor) for event in moves] == [
        ("promoted", "run local__2026-01-08T0000Z"),
        ("alerted", "monitor"),
        ("alerted", "monitor"),
        ("promoted", "run local__2026-01-10T0000Z"),
        ("rolled back", "someone"),
    ]
    assert ledger.standing(MODEL).champion == 1
    assert ledger.standings() == {MODEL: ledger.standing(MODEL)}


def test_every_logged_prediction_is_there(upgraded: Settings) -> None:
    logged = predictions.between(MODEL, day(8), day(11))
    assert [(row.version, row.entity) for row in logged] == [
        (1, "20260108-000"),
        (1, "20260108-060"),
        (1, "20260108-120"),
        (1, "20260108-180"),
        (1, "20260109-000"),
        (1, "20260109-060"),
        (1, "20260109-120"),
        (1, "20260109-180"),
        (2, "20260110-003"),
    ]
    first = logged[0]
    assert (first.request_id, first.position, first.as_of) == ("31204e9384d341c9a06ea2f2647b081f", 0, day(8, 0, 19, 35))
    assert (first.features_at, first.features["weight"], first.features["express"]) == (day(8), 2.72, True)
    assert 1 < first.prediction < 30 and first.logged_at is not None
    assert [row.entity for row in predictions.between(MODEL, day(9), day(10))] == [row.entity for row in logged[4:8]]


def test_an_answer_is_remembered_for_its_hours(upgraded: Settings) -> None:
    memory = Memory()
    with database.connect() as connection:
        connection.execute(
            "update answers set at = now() - case key when 'order-8-2' then 25 else 1 end * interval '1 hour'"
        )
    first = memory.find(MODEL, "order-7-0")
    assert first is not None and first.request_id == "31204e9384d341c9a06ea2f2647b081f"
    assert len(first.body) == 32 and first.request_id.encode() in first.content
    assert memory.find(MODEL, "order-8-2") is None, "its hours are over"
    memory.close()


def test_features_online_are_read_as_they_were_packed(upgraded: Settings) -> None:
    spec = load_spec(PROJECT / "tests" / "specs" / "valid" / "parcels")
    requests = [{"shop_id": "s07", "depot_id": 2}, {"shop_id": "nobody", "depot_id": None}]
    known, unknown = online_values.read(spec, requests)
    assert known["features_at"] == day(10) and known["features"]["depot_parcels_1d"] == 91
    assert known["features"]["shop_parcels_3d"] is not None
    assert unknown["features_at"] is None


def test_new_rows_stand_beside_the_old_ones(upgraded: Settings) -> None:
    log = predictions.PredictionLog()
    row = predictions.Prediction(MODEL, 1, "new", 0, "p", day(8, 1), None, {}, 0.5)
    log.append([row]).result(timeout=30)
    log.close()
    assert len(predictions.between(MODEL, day(8), day(11))) == 10
    entry = catalogue.published(RAW.of(MODEL, "roads"), ["2026-01-09"])["2026-01-09"]
    catalogue.record(entry)
    records.add_version(MODEL, 3, run_id=BOOSTED, key="another", as_of=day(11))
    assert records.numbers() == {MODEL: {1, 2, 3}}
    with psycopg.connect(upgraded.database_url("evergreen")) as connection:
        seen = connection.execute("select min(number), count(*) = max(number) from migrations").fetchone()
    assert seen == (1, True)
