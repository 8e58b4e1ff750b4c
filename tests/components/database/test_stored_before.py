"""What the release without migrations stored is opened and read back, each part by the code that reads it today."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from evergreen import database
from evergreen.errors import EvidenceMissing
from evergreen.features import objects, online_rows, online_values
from evergreen.features.repository import feature_store
from evergreen.handovers.monitor import Collected, Compared, Decided, Drift, Performance, Quality
from evergreen.history import events, ledger, story, timeline, verifying
from evergreen.interval import Interval
from evergreen.lake import catalogue, tables
from evergreen.lake.schema import FEATURES, PREDICTIONS, RAW, TableId, online
from evergreen.monitor import decisions, paired, rules, takeover
from evergreen.monitor.evidence import Weighed
from evergreen.monitor.stages import decide
from evergreen.registry import records
from evergreen.run import Run
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


def test_what_postgres_noted_of_people_is_forgotten(upgraded: Settings) -> None:
    """Its statistics quote values of the columns that hold keys and rows: of tables of before, and of new ones."""
    of_people = {("predictions", "entity"), ("predictions", "features"), ("answers", "content"), ("erasures", "key")}
    query = "select split_part(tablename, '_', 1), attname from pg_stats where schemaname = 'public'"
    copied = "version, request_id, position, entity, timestamptz '2026-02-01 12:00Z', features_at, features, prediction"
    with psycopg.connect(upgraded.database_url("evergreen"), autocommit=True) as connection:

        def noted() -> set[tuple[str, ...]]:
            connection.execute("analyze")
            return {*connection.execute(query).fetchall()}

        assert noted() & of_people == {each for each in of_people if each[0] != "erasures"}
        database.migrate()
        assert not noted() & of_people
        connection.execute("insert into erasures select 'a', i::text, i::text, 'a', 'r' from generate_series(1, 9) i")
        connection.execute("select take_predictions('new', '2026-02-01')")
        connection.execute(
            f"insert into predictions select distinct on (request_id, position) 'new', {copied} from predictions"
        )
        now = noted()
        assert {("predictions", "version"), ("answers", "key"), ("erasures", "id")} <= now and not now & of_people


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
    known, unknown = online_rows.read(spec, requests)
    assert known["features_at"] == day(10) and known["features"]["depot_parcels_1d"] == 91
    assert known["features"]["shop_parcels_3d"] is not None
    assert unknown["features_at"] is None


def test_features_are_written_over_those_of_that_release_and_feast_reads_both(upgraded: Settings) -> None:
    spec = load_spec(PROJECT / "tests" / "specs" / "valid" / "parcels")
    kinds = spec.features["shop_record"].features
    shops = [{"shop_id": shop, "depot_id": 2} for shop in ("s07", "s08", "s09")]

    def rows(shop: str, moment: datetime) -> pa.Table:
        values = {name: [None if kind == "category" else 7] for name, kind in kinds.items()}
        columns = {"shop_id": [shop], **values, "event_timestamp": [moment], "known_at": [moment]}
        moments = pa.timestamp("us", tz="UTC")
        return pa.table(columns | {name: pa.array([moment], moments) for name in ("event_timestamp", "known_at")})

    before = online_rows.read(spec, shops)
    assert all(answer["features_at"] == day(10) for answer in before)
    online_values.write(spec, "shop_record", rows("s07", day(9)))  # older than what is there
    assert online_rows.read(spec, shops) == before
    gone = online_values.replace(spec, "shop_record", day(10), rows("s08", day(10)))
    assert {"s07", "s09"} <= set(gone) and "s08" not in gone
    online_values.withdraw(spec, "shop_record", day(10), ["s09"], None)
    after = online_rows.read(spec, shops)
    assert after[0] == before[0]
    for name, kind in kinds.items():
        assert [answer["features"][name] for answer in after[1:]] == [None if kind == "category" else 7, None]
    objects.ensure_applied(spec)
    feast = feature_store()
    answer = feast.get_online_features(
        features=[f"parcels__shop_record:{name}" for name in kinds],
        entity_rows=[{"shop_id": shop["shop_id"]} for shop in shops],
    ).to_dict()
    for name in kinds:
        assert answer[name] == [row["features"][name] for row in after]


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


SEEN = paired.Evidence(0.2, 0.01, 2.5, 5.0, 30.0, 1.0, 0.2, 0, due=True)
KNOWN = rules.Known(Weighed(10, SEEN, day(10)))


def watched(number: int) -> Decided:
    """What the monitor decides about a day on which a retraining is due."""
    spec = load_spec(PROJECT / "tests" / "specs" / "valid" / MODEL)
    run = Run(spec, Interval(day(number), day(number + 1)))
    features = dict.fromkeys(spec.feature_types, 0.9)
    nothing = Performance(metric="rmse", value=None, reference=None, drop=None, significant=False, rows=0)
    collected = Collected(partition=run.interval.partition, rows=120, version=1, champion=1, ages={}, warnings=())
    drift = Drift(distances=features, prediction=0.9, classes={})
    quality = Quality(missing=dict.fromkeys(features, 0.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decisions, "known", lambda *_: KNOWN)
        return decide(run, collected, quality, drift, nothing, Compared(windows=(), left=0, table_version=None))


def with_its_lake(home: Settings) -> None:
    """Two alerts of that release, and days of drift: a retraining on the third, then the cooldown."""
    shutil.copytree(STORED / "lake_0.1.0", home.lake, dirs_exist_ok=True)


def standing() -> list[events.Decided]:
    return story.decisions(ledger.entries(MODEL, "decided"))


def test_the_monitor_brakes_by_what_that_release_had_decided(upgraded: Settings) -> None:
    """Its decisions stand in the lake alone; the alert's ids in the ledger are theirs."""
    with_its_lake(upgraded)
    decided = watched(15)
    assert (decided.action, decided.triggers, decided.changed_at) == ("none", False, day(10))
    assert decided.reasons[-1] == "cooldown: nothing is retrained before 2026-01-20"
    assert [(each.start, each.action, each.triggers, each.taken_over) for each in standing()] == [
        (day(8), "alert", False, True),
        (day(9), "alert", False, True),
        (day(10), "none", False, True),
        (day(11), "none", False, True),
        (day(12), "retrain", True, True),
        (day(13), "none", False, True),
        (day(14), "none", False, True),
        (day(15), "none", False, False),
    ]
    alerts = [entry.event.decision_id for entry in ledger.entries(MODEL, "alerted")]
    assert [each.decision_id for each in standing()[:2]] == alerts
    retrain = standing()[4]
    assert "1000 rows to learn from" in retrain.reason and retrain.evidence["rows"] == 120
    assert retrain.as_of == retrain.end == day(13)
    assert verifying.verify().flaws == ()


def test_the_lake_is_taken_over_once(upgraded: Settings) -> None:
    with_its_lake(upgraded)
    first = watched(15)
    entries = ledger.entries(MODEL)
    assert watched(15) == first and ledger.entries(MODEL) == entries
    late = watched(12)
    assert (late.action, late.decision_id, late.triggers) == ("retrain", "405026a440b5", False), "it stands"
    assert ledger.entries(MODEL) == entries, "and is not added again"
    shutil.rmtree(f"{upgraded.lake}/{MODEL}/decisions")
    assert watched(15) == first, "nothing needs the table any more"


def test_processes_that_begin_at_once_take_over_once(upgraded: Settings) -> None:
    with_its_lake(upgraded)
    database.migrate()
    ready = threading.Barrier(4)

    def begin(_: int) -> None:
        ready.wait()
        takeover.take_over(MODEL)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(begin, range(4)))
    assert len(ledger.entries(MODEL, "decided")) == 7
    assert verifying.verify().flaws == ()


def known_to_the_ledger(row: dict[str, Any]) -> events.Decided:
    """A decision as the release between wrote it there."""
    return events.Decided(
        id=f"decided/{row['id']}",
        model=MODEL,
        as_of=row["end"],
        actor="run m",
        reason="; ".join(json.loads(row["reasons"])),
        decision_id=row["id"],
        start=row["start"],
        end=row["end"],
        version=row["version"],
        action=row["action"],
        triggers=row["triggers"],
        changed_at=row["changed_at"],
        evidence={},
    )


def test_what_the_ledger_has_of_those_decisions_is_made_whole(upgraded: Settings) -> None:
    """A release between wrote to the ledger too, but not what a streak is made of; it was killed before the last."""
    with_its_lake(upgraded)
    known = {
        row["id"]: row
        for row in tables.read(TableId(MODEL, "decisions", "monitor")).to_pylist()
        if row["start"] < day(14)
    }
    ledger.append(*(known_to_the_ledger(row) for row in known.values()))
    decided = watched(15)
    assert (decided.changed_at, decided.reasons[-1]) == (day(10), "cooldown: nothing is retrained before 2026-01-20")
    assert [(each.drifted, each.incident) for each in standing()] == [(False, True)] * 2 + [(True, False)] * 5 + [
        (False, False)
    ]
    assert [each.action for each in standing()].count("retrain") == 1
    lines = [line for _, line in timeline.lines(ledger.entries(MODEL)) if "405026a440b5" in line]
    assert len(lines) == 1, "it is told once"


def test_the_budget_counts_what_that_release_triggered(upgraded: Settings) -> None:
    with_its_lake(upgraded)
    made = [watched(number) for number in range(15, 21)]
    assert {each.action for each in made[:4]} == {"none"}
    assert made[5].action == "wait for labels", "the cooldown is over, and no label has matured"
    spec = load_spec(PROJECT / "tests" / "specs" / "valid" / MODEL)
    bounds = spec.monitoring.model_copy(update={"budget": 1})
    tight = spec.model_copy(update={"monitoring": bounds})
    window = decisions.assess(tight, rules.Findings(day(21), day(22), 1, 1, 120))
    decision = rules.decide(tight, window, KNOWN, rules.Labels(1000, 1000, 3), {})
    assert decision.reasons[-1].startswith("budget: 1 retrainings in 30 days (at most 1); ")


def test_a_home_of_today_has_nothing_to_take_over(home: Settings) -> None:
    assert watched(15).reasons[-1] == "no matured labels from after the change to learn from yet"
    assert not any(entry.event.taken_over for entry in ledger.entries(MODEL))
