"""`evergreen replay` and `try` where rows stand in a database, beside tables for all intervals that change meanwhile,
and where each outcome has a moment of its own: whatever was put there later, no answer was made from it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from evergreen import cli
from evergreen.interval import Interval
from evergreen.lake import catalogue, tables
from evergreen.lake.schema import PREDICTIONS, RAW
from evergreen.local.processes import Processes
from evergreen.loops import replaying
from evergreen.settings import PROJECT, settings
from evergreen.spec.schema import ModelSpec
from tests import hotel
from tests.components.ingest.databases import Place, made
from tests.components.served_folder import served_folder, until_it_answers
from tests.parcels import A_DAY, DEPOTS, SHOPS, Day

FIRST, HISTORY, DAYS = date(2026, 1, 1), 7, 12
RENAMED = 9  # the day whose run finds other sizes of shops, and other zones
CREWS = {  # depot → when, how many
    depot: {datetime(2025, 12, 1, tzinfo=UTC): 10 + depot, datetime(2026, 1, 9, 12, tzinfo=UTC): 20 + depot}
    for depot in range(DEPOTS)
}
KINDS = ("sqlite", pytest.param("duckdb", marks=pytest.mark.long), pytest.param("postgres", marks=pytest.mark.long))

QUERIES = {
    "parcels": """SELECT parcel_id, shop_id, depot_id, ordered_at, weight, express, hours FROM parcels
WHERE ordered_at >= %(start)s AND ordered_at < %(end)s ORDER BY ordered_at, parcel_id""",
    "shops": "SELECT shop_id, size FROM shops ORDER BY shop_id",
    "depots": "SELECT depot_id, since, crew FROM depots ORDER BY depot_id, since",
}
SHOP_RECORD = """
SELECT p.shop_id, count(*) AS shop_parcels_3d, avg(p.hours) AS shop_hours_3d, any_value(s.size) AS shop_size
FROM parcels p LEFT JOIN shops s USING (shop_id) GROUP BY p.shop_id
"""
DEPOT_LOAD = """
SELECT p.depot_id, count(*) AS depot_parcels_1d, any_value(d.crew) AS crew, any_value(z.zone) AS zone
FROM parcels p
LEFT JOIN depots d ON d.depot_id = p.depot_id AND d.valid_to IS NULL
LEFT JOIN zones z ON z.depot_id = p.depot_id
GROUP BY p.depot_id
"""
REQUEST = """
SELECT p.parcel_id, p.shop_id, p.depot_id, p.ordered_at AS event_timestamp, p.weight, p.express,
    hour(p.ordered_at) AS hour, r.congestion, s.size, d.crew AS crew_then
FROM parcels p
ASOF LEFT JOIN roads r ON r.depot_id = p.depot_id AND r.measured_at <= p.ordered_at
LEFT JOIN shops s ON s.shop_id = p.shop_id
LEFT JOIN depots d
    ON d.depot_id = p.depot_id AND p.ordered_at >= d.since AND (d.valid_to IS NULL OR p.ordered_at < d.valid_to)
WHERE p.ordered_at >= $start AND p.ordered_at < $end
"""


def sizes(*, later: bool) -> dict[str, str]:
    return {f"s{n:02}": ("later" if later else "large" if n % 2 else "small") for n in range(SHOPS)}


def declared(name: str) -> dict[str, Any]:
    """What `model.yaml` says: parcels, shops and depots from the database, roads and zones from files."""
    spec: dict[str, Any] = yaml.safe_load((PROJECT / "tests/specs/valid/parcels/model.yaml").read_text())
    parcels = spec["sources"]["parcels"]
    del parcels["path"]
    parcels["connection"] = "parcels_db"
    spec |= {"model": name, "last_day": FIRST + timedelta(days=DAYS - 1), "families": {"ridge": {}}}
    spec["sources"] |= {
        "shops": {
            "connection": "parcels_db",
            "refresh": "when it changes",
            "keys": ["shop_id"],
            "columns": {"shop_id": "string", "size": "string"},
        },
        "depots": {
            "connection": "parcels_db",
            "refresh": "when it changes",
            "keys": ["depot_id"],
            "valid_from": "since",
            "columns": {"depot_id": "int", "since": "timestamp", "crew": "int"},
        },
        "zones": {
            "path": "zones.csv",
            "refresh": "never",
            "keys": ["depot_id"],
            "columns": {"depot_id": "int", "zone": "string"},
        },
    }
    shop_record, depot_load = spec["features"]["shop_record"], spec["features"]["depot_load"]
    shop_record["sources"].append("shops")
    shop_record["features"]["shop_size"] = "category"
    depot_load["sources"] += ["depots", "zones"]
    depot_load["features"] |= {"crew": "int", "zone": "category"}
    spec["request"]["sources"] += ["shops", "depots"]
    spec["request"]["inputs"] |= {"size": "category", "crew_then": "int"}
    return spec


def write_folder(folder: Path) -> Path:
    shutil.copytree(PROJECT / "tests/specs/valid/parcels", folder)
    (folder / "model.yaml").write_text(yaml.safe_dump(declared(folder.name)))
    (folder / "sources").mkdir()
    for name, text in QUERIES.items():
        (folder / "sources" / f"{name}.sql").write_text(text)
    for name, text in {
        "features/shop_record": SHOP_RECORD,
        "features/depot_load": DEPOT_LOAD,
        "request": REQUEST,
    }.items():
        (folder / f"{name}.sql").write_text(text)
    for name, column in {"shops": "size", "depots": "crew", "zones": "zone"}.items():
        contract = {"expectations": [{"type": "expect_column_values_to_not_be_null", "column": column}]}
        (folder / "contracts" / f"{name}.yaml").write_text(yaml.safe_dump(contract))
    return folder


def literal(value: Any) -> str:
    if pd.isna(value):
        return "null"
    return f"'{value}'" if isinstance(value, str) else f"1 = {int(value)}" if isinstance(value, bool) else str(value)


def fill(place: Place) -> None:
    """All that the database knows one day: each parcel with its hours, and who will work at a depot."""
    moment, _, _, _, truth, _, _ = place.types
    place.execute(
        f"create table parcels (parcel_id varchar(20), shop_id varchar(9), depot_id integer, ordered_at {moment},"
        f" weight double precision, express {truth}, hours double precision)",
        f"create table depots (depot_id integer, since {moment}, crew integer)",
        "create table shops (shop_id varchar(9), size varchar(9))",
    )

    def at(value: datetime) -> str:
        return place.moment.format(f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}")

    for number in range(DAYS):
        rows = [
            f"({literal(row.parcel_id)}, {literal(row.shop_id)}, {row.depot_id}, {at(row.ordered_at)}, {row.weight},"
            f" {literal(bool(row.express))}, {literal(row.hours)})"
            for row in Day(FIRST + timedelta(days=number)).parcels().itertuples()
        ]
        place.execute(f"insert into parcels values {', '.join(rows)}")
    crews = [f"({depot}, {at(since)}, {crew})" for depot, each in CREWS.items() for since, crew in each.items()]
    place.execute(f"insert into depots values {', '.join(crews)}")


def rename(place: Place, landing: Path, *, later: bool) -> None:
    """The tables that have one state, as they are before or after a day."""
    shops = ", ".join(f"({literal(shop)}, {literal(size)})" for shop, size in sizes(later=later).items())
    place.execute("delete from shops", f"insert into shops values {shops}")
    zones = "".join(f"{depot},{'later' if later else f'z{depot}'}\n" for depot in range(DEPOTS))
    (landing / "zones.csv").write_text(f"depot_id,zone\n{zones}")


@pytest.fixture(scope="module", params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return made(request.param, request, tmp_path_factory.mktemp(f"parcels_{request.param}"))


@pytest.fixture(scope="module")
def parcels(
    place: Place, postgres_url: str, mlflow_url: str, services: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelSpec]:
    def write_days(landing: Path) -> None:
        for number in range(DAYS):
            Day(FIRST + timedelta(days=number)).write(landing)
        shutil.rmtree(landing / "parcels")
        fill(place)
        rename(place, landing, later=False)

    home, name = tmp_path_factory.mktemp(place.kind), f"parcels_of_{place.kind}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_PARCELS_DB", place.uri)
        with served_folder(
            "parcels", write_days, home, postgres_url, mlflow_url, services, name=name, make=write_folder
        ) as spec:
            until_it_answers()
            yield spec


def beginning(patch: pytest.MonkeyPatch, happens: Callable[[int], None]) -> None:
    """Let something happen before each day that is lived through, by its number."""
    lived = replaying.interval

    def interval(spec: ModelSpec, this: Interval, *rest: Any) -> tuple[int, list[str]]:
        happens((this.start.date() - spec.first_day).days)
        return lived(spec, this, *rest)

    patch.setattr(replaying, "interval", interval)


def answers(model: str) -> pd.DataFrame:
    made = tables.read(PREDICTIONS.of(model))
    assert made is not None
    frame: pd.DataFrame = made.to_pandas()
    assert (frame["features_at"] <= frame["as_of"]).all(), "no answer knows what came later"
    return frame


def assert_tried(model: str, gate: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole sample is tried, up to a page with the gates. (Against the champion that the replay left, a few days
    may be no evidence.)"""
    cli.main(["try", model])
    said = capsys.readouterr()
    assert gate in said.out and "features helped" in said.out
    assert Path(said.out.rpartition("gate report: ")[2].strip()).is_file()
    assert "were not ingested" not in said.err


def crew(depot: int, moment: datetime) -> int:
    return [number for since, number in CREWS[depot].items() if since <= moment][-1]


def test_no_answer_sees_what_the_database_said_later(
    parcels: ModelSpec, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    landing = Path(settings().landing)
    beginning(monkeypatch, lambda day: rename(place, landing, later=day >= RENAMED))
    first, last = FIRST + timedelta(days=HISTORY), FIRST + timedelta(days=DAYS - 1)
    assert cli.main(["replay", parcels.model, "--day", f"{first}..{last}"]) == 0
    said = capsys.readouterr()
    assert said.err.count(f": {A_DAY} predictions") == DAYS - HISTORY, said.err
    published = [*catalogue.published(RAW.of(parcels.model, "shops"))]
    assert published == [(FIRST + timedelta(days=day)).isoformat() for day in (0, RENAMED)]

    known = pd.concat([Day(FIRST + timedelta(days=number)).parcels() for number in range(DAYS)], ignore_index=True)
    found = pd.Timestamp(FIRST, tz="UTC") + pd.Timedelta(days=RENAMED + 1)  # the end of the day whose run found it
    made = answers(parcels.model).merge(known[["parcel_id", "shop_id", "depot_id", "ordered_at"]], on="parcel_id")
    assert len(made) == A_DAY * (DAYS - HISTORY) and (made["as_of"] == made["ordered_at"]).all()
    for row in made.itertuples():
        of_shop = known[
            known["shop_id"].eq(row.shop_id)
            & known["ordered_at"].between(row.features_at - pd.Timedelta(days=3), row.features_at, inclusive="left")
        ]
        delivered = of_shop["hours"].where(of_shop["ordered_at"] + pd.Timedelta(days=1) <= row.features_at)
        assert row.shop_parcels_3d == len(of_shop)
        assert row.shop_hours_3d == pytest.approx(delivered.mean())
        assert row.shop_size == sizes(later=row.features_at >= found)[row.shop_id]
        assert row.size == sizes(later=row.as_of.normalize() >= found)[row.shop_id]
        assert (row.crew, row.crew_then) == (crew(row.depot_id, row.features_at), crew(row.depot_id, row.as_of))
        assert row.zone == f"z{row.depot_id}", "a table that is read once"
    assert {*made["size"]} == {"small", "large", "later"} and {*made["crew_then"]} == {10, 11, 12, 20, 21, 22}
    assert "as served" in said.out and "refitted for every interval" in said.out, said.out

    assert_tried(parcels.model, "rmse at most", capsys)


@pytest.fixture(scope="module")
def bookings(
    postgres_url: str, mlflow_url: str, services: Processes, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelSpec]:
    def write_days(landing: Path) -> None:
        hotel.deliver(landing, hotel.truth(), range(hotel.DAYS))
        hotel.agents(landing, 0)

    def write(folder: Path) -> Path:
        return hotel.write(folder, last_day=str(hotel.interval(hotel.DAYS - 1).partition))

    home = tmp_path_factory.mktemp("bookings")
    with served_folder(
        "hotel", write_days, home, postgres_url, mlflow_url, services, name="hotel_replayed", make=write
    ) as spec:
        until_it_answers()
        yield spec


def kind_then(booking: hotel.Booking, history: int) -> str | None:
    """What its agent was by the newest file that was known when its day began; all of the history found the first."""
    known = [since for since in hotel.AGENTS if since == 0 or max(since, history) < booking.day]
    return hotel.AGENTS[known[-1]].get(booking.agent)


@pytest.mark.long
def test_no_answer_sees_an_outcome_before_its_moment(
    bookings: ModelSpec, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    beginning(monkeypatch, lambda day: hotel.agents(Path(settings().landing), day))
    history = 17
    days = f"{hotel.interval(history).partition}..{hotel.interval(hotel.DAYS - 1).partition}"
    assert cli.main(["replay", bookings.model, "--day", days]) == 0
    said = capsys.readouterr()
    assert said.err.count(f": {hotel.PER_DAY} predictions") == hotel.DAYS - history, said.err
    truth = {each.booking_id: each for each in hotel.truth()}
    made = answers(bookings.model)
    assert len(made) == hotel.PER_DAY * (hotel.DAYS - history)
    for row in made.itertuples():
        asked = truth[row.booking_id]
        back = row.features_at - pd.Timedelta(days=9)
        before = [e for e in truth.values() if e.guest == asked.guest and back <= e.booked_at < row.features_at]
        decided = [e for e in before if hotel.interval(max(e.day, e.decided_on)).end <= row.features_at]
        seen = (len(before), sum(e.cancelled for e in decided)) if before else (None, None)
        assert tuple(None if pd.isna(each) else each for each in (row.stays, row.cancels)) == seen, asked
        assert row.rate == asked.rate() or (pd.isna(row.rate) and asked.rate() is None)
        assert row.kind == kind_then(asked, history)
    assert "as served" in said.out, said.out
    assert_tried(bookings.model, "roc_auc at least", capsys)
