"""Tables for all intervals beside a table of events: which version of them a run sees, in whatever order days come."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from evergreen import cli
from evergreen.erasure import erasing
from evergreen.errors import ContractBroken, PermanentError
from evergreen.features import computing
from evergreen.features.rules import label_spans
from evergreen.handovers.correct import Planned
from evergreen.housekeeping import jobs, rules
from evergreen.interval import Interval
from evergreen.lake import catalogue, partitions, publications, tables
from evergreen.lake.schema import FEATURES, LABELS, QUARANTINE, RAW, TableId
from evergreen.loops import inline
from evergreen.settings import Settings, settings
from evergreen.spec.asking import OnRequest
from evergreen.spec.dataset import DatasetSpec
from evergreen.spec.load import load, load_dataset, load_spec
from evergreen.spec.schema import ModelSpec
from evergreen.status import facts
from tests.small_models import TINY

FIRST, DAYS = date(2026, 1, 1), 6
SKUS = ("a", "b", "c")
CATALOGUES = (  # as the file is, while days of a phase are ingested
    "sku,kind\na,fruit\nb,fruit\n",
    "sku,kind\na,fruit\nb,herb\nc,nut\n",
    "sku,kind\na,berry\nb,herb\nc,nut\n",
)
PHASES = ((0, 1), (2, 3), (4, 5))  # days, by the catalogue that their runs find
PRICES = """sku,valid_from,valid_to,price
a,2025-12-01,2026-01-02T12:00:00Z,1
a,2026-01-02T12:00:00Z,2026-01-05,2
a,2026-01-05,,3
b,2026-01-01,2026-01-03,10
b,2026-01-04,,20
c,2026-01-01,,7
"""
VIEW = """
with sold as (
    select s.sku, sum(p.price * s.pieces) as revenue, count(*) as sales
    from sales s left join prices p
        on p.sku = s.sku and s.at >= p.valid_from and (p.valid_to is null or s.at < p.valid_to)
    group by s.sku
), now as (select sku, price from prices where valid_to is null)
select sku, revenue, sales, now.price, c.kind from sold left join now using (sku) left join catalogue c using (sku)
"""
KEYED = {"type": "expect_column_values_to_not_be_null", "column": "sku", "severity": "critical"}


def sales(day: int) -> pd.DataFrame:
    """The rows of a day: some at the very moments at which a price changes."""
    start = pd.Timestamp(FIRST, tz="UTC") + pd.Timedelta(days=day)
    hours = (0, 5, 12, 23)
    rows = [
        {
            "id": f"{day}-{hour}-{sku}",
            "sku": sku,
            "at": start + pd.Timedelta(hours=hour),
            "pieces": 1 + (day + hour) % 4,
        }
        for hour in hours
        for sku in SKUS
    ]
    return pd.DataFrame(rows)


def declared(**of_sources: dict[str, Any]) -> dict[str, Any]:
    """What `data.yaml` says, with more keys of some sources."""
    sources: dict[str, dict[str, Any]] = {
        "sales": {
            "path": "sales/{partition}.csv",
            "event_time": "at",
            "keys": ["id"],
            "columns": {"id": "string", "sku": "string", "at": "timestamp", "pieces": "int"},
        },
        "catalogue": {
            "path": "catalogue.csv",
            "refresh": "when it changes",
            "keys": ["sku"],
            "columns": {"sku": "string", "kind": "string"},
        },
        "prices": {
            "path": "prices.csv",
            "refresh": "never",
            "valid_from": "valid_from",
            "valid_to": "valid_to",
            "keys": ["sku"],
            "columns": {"sku": "string", "valid_from": "timestamp", "valid_to": "timestamp", "price": "float"},
        },
    }
    return {
        "dataset": "shop",
        "description": "a shop",
        "owner": {"name": "team", "email": "team@example.org"},
        "first_day": str(FIRST),
        "entities": {"product": {"key": "sku"}, "sale": {"key": "sale_id"}},
        "sources": {name: keys | of_sources.get(name, {}) for name, keys in sources.items()},
        "features": {
            "sold": {
                "entity": "product",
                "sources": ["sales", "prices", "catalogue"],
                "look_back": "2d",
                "features": {"revenue": "float", "sales": "int", "price": "float", "kind": "category"},
            },
        },
    }


def write(folder: Path, view: str = VIEW, **of_sources: dict[str, Any]) -> DatasetSpec:
    spec = declared(**of_sources)
    for below in ("contracts", "features"):
        (folder / below).mkdir(parents=True)
    (folder / "data.yaml").write_text(yaml.safe_dump(spec))
    (folder / "features" / "sold.sql").write_text(view)
    for table in (*spec["sources"], "sold"):
        (folder / "contracts" / f"{table}.yaml").write_text(yaml.safe_dump({"expectations": [KEYED]}))
    return load_dataset(folder, deep=True)


def deliver(home: Settings, *, prices: str = PRICES) -> None:
    """The batches of all days, and the prices."""
    landing = Path(home.landing)
    (landing / "sales").mkdir(parents=True, exist_ok=True)
    for day in range(DAYS):
        sales(day).to_csv(landing / "sales" / f"{interval(day).partition}.csv", index=False)
    (landing / "prices.csv").write_text(prices)


def interval(day: int) -> Interval:
    return Interval.of_day(FIRST + timedelta(days=day))


def ingest(spec: DatasetSpec, day: int) -> None:
    inline.run(inline.of(spec, interval(day)), "ingest", last="publish_features")


def ingest_all(home: Settings, spec: DatasetSpec, orders: Sequence[Sequence[int]]) -> None:
    """Ingest the days of each phase while its catalogue is there."""
    deliver(home)
    for content, days in zip(CATALOGUES, orders, strict=True):
        (Path(home.landing) / "catalogue.csv").write_text(content)
        for day in days:
            ingest(spec, day)


def features(day: int) -> list[dict[str, Any]]:
    rows = tables.read(FEATURES.of("shop", "sold"), [interval(day).partition])
    assert rows is not None
    return sorted(rows.select(["sku", "revenue", "sales", "price", "kind"]).to_pylist(), key=lambda row: row["sku"])


def expected(day: int) -> list[dict[str, Any]]:
    """The same, row by row and by hand."""
    as_of = pd.Timestamp(interval(day).end)
    prices = pd.read_csv(io.StringIO(PRICES))
    prices["valid_from"] = pd.to_datetime(prices["valid_from"], utc=True, format="ISO8601")
    prices["valid_to"] = pd.to_datetime(prices["valid_to"], utc=True, format="ISO8601")

    def price(sku: str, at: pd.Timestamp) -> float | None:
        found = [
            row.price
            for row in prices.itertuples()
            if row.sku == sku and row.valid_from <= at and (pd.isna(row.valid_to) or at < row.valid_to)
        ]
        assert len(found) <= 1
        return float(found[0]) if found else None

    phase = next(number for number, days in enumerate(PHASES) if day in days)
    kinds = dict(line.split(",") for line in CATALOGUES[phase].splitlines()[1:])
    rows = pd.concat([sales(each) for each in range(max(0, day - 1), day + 1)])
    answer = []
    for sku in SKUS:
        own = rows[rows["sku"] == sku]
        paid = [price(sku, row.at) for row in own.itertuples()]
        worth = [each * row.pieces for each, row in zip(paid, own.itertuples(), strict=True) if each is not None]
        answer.append(
            {
                "sku": sku,
                "revenue": sum(worth) if worth else None,
                "sales": len(own),
                "price": price(sku, as_of),
                "kind": kinds.get(sku),
            }
        )
    return answer


@pytest.mark.parametrize(
    "orders",
    [((1, 0), (3, 2), (5, 4)), ((0, 1), (3, 2), (4, 5, 2, 0, 3))],
    ids=["backwards", "some again"],
)
def test_features_see_what_was_known_and_true_by_then_in_whatever_order_days_come(
    home: Settings, tmp_path: Path, orders: Sequence[Sequence[int]]
) -> None:
    spec = write(tmp_path / "shop")
    ingest_all(home, spec, orders)
    for day in range(DAYS):
        assert features(day) == expected(day), day


def test_no_view_sees_a_row_before_it_is_true_nor_that_one_will_end(home: Settings, tmp_path: Path) -> None:
    """The file knows from the first day on what every price will be, and until when."""
    leak = """
    select sku, max(price) as revenue, count(*) as sales, max(epoch(valid_to)) as price, 'x' as kind
    from prices group by sku
    """
    spec = write(tmp_path / "shop", leak)
    deliver(home)
    (Path(home.landing) / "catalogue.csv").write_text(CATALOGUES[0])
    ingest(spec, 0)
    a, b, c = features(0)
    assert (a["revenue"], a["sales"], a["price"]) == (1.0, 1, None), "two rows more, and until when the first is true"
    assert (b["revenue"], b["sales"], b["price"]) == (10.0, 1, None)
    assert c["revenue"] == 7.0


def test_a_row_is_true_until_the_next_of_its_key_where_nothing_else_says_so(home: Settings, tmp_path: Path) -> None:
    spec = write(
        tmp_path / "shop",
        prices={"valid_to": None, "columns": {"sku": "string", "valid_from": "timestamp", "price": "float"}},
    )
    lines = [line.split(",") for line in PRICES.splitlines()]
    without = "\n".join(f"{sku},{begins},{price}" for sku, begins, _, price in lines)
    deliver(home, prices=without)
    (Path(home.landing) / "catalogue.csv").write_text(CATALOGUES[0])
    for day in PHASES[0]:
        ingest(spec, day)
        assert [row for row in features(day) if row["sku"] != "b"] == [
            row for row in expected(day) if row["sku"] != "b"
        ]
    assert features(1)[1]["price"] == 10.0, "b has no gap: its row is true until the next one"


def test_rows_of_a_key_that_are_true_at_the_same_moment_stop_the_batch_with_both(
    home: Settings, tmp_path: Path
) -> None:
    spec = write(tmp_path / "shop")
    deliver(home, prices=PRICES.replace("a,2026-01-05,,3", "a,2026-01-04T10:00:00Z,,3"))
    (Path(home.landing) / "catalogue.csv").write_text(CATALOGUES[0])
    with pytest.raises(ContractBroken) as caught:
        ingest(spec, 0)
    message = str(caught.value)
    assert "prices: 1 times two rows of one key are true at the same moment" in message
    assert "row 1 (sku='a', from 2026-01-02 12:00, to 2026-01-05 00:00)" in message
    assert "row 2 (sku='a', from 2026-01-04 10:00, open)" in message
    assert not catalogue.published(RAW.of("shop", "sales"))


def test_a_table_that_is_read_once_may_go_and_a_row_that_is_never_true_is_in_quarantine(
    home: Settings, tmp_path: Path
) -> None:
    spec = write(tmp_path / "shop")
    deliver(home, prices=PRICES + "c,2026-03-01,2026-02-01,9\n")
    file = Path(home.landing) / "catalogue.csv"
    file.write_text(CATALOGUES[0])
    ingest(spec, 3)
    (Path(home.landing) / "prices.csv").unlink()
    ingest(spec, 2)
    assert (
        [*catalogue.published(RAW.of("shop", "prices"))]
        == [*catalogue.published(RAW.of("shop", "catalogue"))]
        == [interval(0).partition]
    ), "the first version is that of the first interval, whoever finds it"
    rejected = tables.read(QUARANTINE.of("shop", "prices"))
    assert rejected is not None
    assert rejected["_reasons"].to_pylist() == ["true at no moment: it ends before it begins"]
    worked = facts.ingested(spec, interval(3).end + timedelta(minutes=1))
    assert [each.partition for each in worked.intervals["done"]] == [interval(day).partition for day in (2, 3)]


@pytest.fixture
def declared_here(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which commands look for datasets; its models are none."""
    monkeypatch.setenv("EVERGREEN_DATA", str(tmp_path))
    monkeypatch.setenv("EVERGREEN_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    settings.cache_clear()
    return tmp_path


def reads(day: int) -> dict[str, list[str]]:
    """Source → the partitions that the features of a day were computed from, by their lineage."""
    made_from = publications.made_from(FEATURES.of("shop", "sold").at(interval(day).partition))
    assert made_from is not None
    return {TableId.parse(table).name: [*partitions] for table, partitions in made_from.partitions.items()}


def test_a_version_is_corrected_told_kept_and_erased_like_any_batch(home: Settings, declared_here: Path) -> None:
    spec = write(declared_here / "shop")
    deliver(home)
    landing = Path(home.landing)
    for content, days in zip(CATALOGUES[:2], PHASES[:2], strict=True):
        (landing / "catalogue.csv").write_text(content)
        for day in days:
            ingest(spec, day)
    first, third, fourth = (interval(day).partition for day in (0, 2, 3))
    assert reads(3) == {"sales": [third, fourth], "prices": [first], "catalogue": [third]}
    assert reads(1)["catalogue"] == [first]

    # The prices were wrong from the start. The catalogue is another one by now, which was not known then.
    (landing / "prices.csv").write_text(PRICES.replace(",,7", ",,8"))
    (landing / "catalogue.csv").write_text(CATALOGUES[2])
    before = [features(day) for day in range(4)]
    done = inline.run(dataclasses.replace(inline.of(spec, interval(0)), reason="wrong prices"), "correct")
    planned = done["plan"]
    assert isinstance(planned, Planned)
    assert {name: source.same for name, source in planned.sources.items()} == {"sales": True, "prices": False}
    assert sorted(planned.features["sold"]) == [interval(day).partition for day in range(4)]
    for day in range(4):
        *others, c = features(day)
        assert others == before[day][:2] and (c["price"], c["revenue"]) == (8.0, before[day][2]["revenue"] * 8 / 7)
    assert sorted(catalogue.published(RAW.of("shop", "catalogue"))) == [first, third]

    # What is kept needs the second version alone once the first is no longer in force.
    needed = timedelta(0)
    versions = [interval(day) for day in (0, 2)]
    assert rules.superseded(versions, interval(3), timedelta(days=1), needed) == [interval(0)]
    assert rules.superseded(versions, interval(3), timedelta(days=2), needed) == []

    declared = load(declared_here / "models", declared_here)
    report = erasing.erase(declared, "product", "a", actor="ada", reason="asked for", apply=True)
    assert {"rows in the files of shop/raw/catalogue", "rows in the files of shop/raw/prices"} <= report.places.keys()
    assert str(landing / "catalogue.csv") in report.landing and str(landing / "prices.csv") in report.landing
    for name in ("catalogue", "prices", "sales"):
        rows = tables.read(RAW.of("shop", name))
        assert rows is not None and "a" not in rows["sku"].to_pylist()


def test_days_side_by_side_find_one_first_version(home: Settings, declared_here: Path) -> None:
    write(declared_here / "shop")
    deliver(home)
    (Path(home.landing) / "catalogue.csv").write_text(CATALOGUES[0])
    days = f"{FIRST}..{FIRST + timedelta(days=1)}"
    assert cli.main(["bootstrap", "shop", "--day", days, "--side-by-side", "2"]) == 0
    for day in PHASES[0]:
        assert features(day) == expected(day)
    assert [*catalogue.published(RAW.of("shop", "catalogue"))] == [interval(0).partition]


REQUEST = """
select s.id as sale_id, s.sku, s.at as event_timestamp, p.price, c.kind
from sales s left join catalogue c using (sku) left join prices p on p.sku = s.sku and {joined}
where s.at >= $start and s.at < $end
"""
TRUE_THEN = "s.at >= p.valid_from and (p.valid_to is null or s.at < p.valid_to)"
STILL_TRUE = "s.at >= p.valid_from and p.valid_to is null"  # by the end of the day, or not
LABEL = """
select s.id as sale_id, c.kind is not null and s.pieces > 2 as many
from sales s left join catalogue c using (sku) where s.at < $cutoff
"""
MODELS = {"asked": TRUE_THEN, "leaking": STILL_TRUE}


def model_of(folder: Path, joined: str) -> ModelSpec:
    """A model that is asked with each sale, for what it costs then and what it is."""
    folder.mkdir(parents=True)
    (folder / "request.sql").write_text(REQUEST.format(joined=joined))
    (folder / "label.sql").write_text(LABEL)
    spec = TINY | {
        "model": folder.name,
        "data": {"shop": ["sold.revenue"]},
        "entity": "sale",
        "references": ["product"],
        "request": {"sources": ["sales", "catalogue", "prices"], "inputs": {"price": "float", "kind": "category"}},
        "label": {"name": "many", "horizon": "1d", "sources": ["sales", "catalogue"]},
        "gates": {"minimum_rows": 40, "floor": {"roc_auc": 0.5}},
    }
    for key in ("sources", "features", "first_day"):
        spec.pop(key)
    (folder / "model.yaml").write_text(yaml.safe_dump(spec))
    return load_spec(folder, deep=True)


def test_a_request_sees_the_version_of_its_morning_and_the_row_that_was_true(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERGREEN_DATA", str(tmp_path / "data"))
    settings.cache_clear()
    data = write(tmp_path / "data" / "shop")
    spec, leaking = (model_of(tmp_path / "models" / name, joined) for name, joined in MODELS.items())
    deliver(home)
    for content, days in zip(CATALOGUES, PHASES, strict=True):
        (Path(home.landing) / "catalogue.csv").write_text(content)
        for day in days:
            ingest(data, day)
    last = inline.of(spec, interval(DAYS - 1))
    labelled = inline.run(last, "train", last="labels")["labels"]
    assert sorted(labelled.partitions) == [interval(day).partition for day in range(DAYS - 1)]  # type: ignore[union-attr]  # it ran
    again = inline.run(last, "train", last="labels")["labels"]
    assert not again.partitions  # type: ignore[union-attr]  # it ran
    assert isinstance(spec.asking, OnRequest) and isinstance(leaking.asking, OnRequest)
    kinds = {}
    for day in range(DAYS - 1):
        span = next(each for each in label_spans(spec, interval(day)) if each.interval == interval(day))
        rows = {row["sale_id"]: row for row in computing.requests(spec.asking, span).to_pylist()}
        kinds[day] = [rows[f"{day}-0-{sku}"]["kind"] for sku in SKUS]
        if day == 1:
            assert [rows[f"1-{hour}-a"]["price"] for hour in (0, 5, 12, 23)] == [1.0, 1.0, 2.0, 2.0]
            with pytest.raises(PermanentError, match="change when rows after it are taken away from catalogue, prices"):
                computing.requests(leaking.asking, span)
    old, new = ["fruit", "fruit", None], ["fruit", "herb", "nut"]
    assert kinds == {0: old, 1: old, 2: old, 3: new, 4: new}, "the runs of day 2 and 4 find another catalogue"
    labels = tables.read(LABELS.of(spec.model, "many"), [interval(0).partition])
    assert labels is not None and labels.num_rows == 12


def test_a_view_of_a_catalogue_alone_waits_for_the_interval_and_a_query_may_be_the_table(
    home: Settings, tmp_path: Path
) -> None:
    alone = {"features": {"kinds": {"entity": "product", "sources": ["catalogue"], "look_back": "2d"}}}
    alone["features"]["kinds"]["features"] = {"kind": "category"}
    database = tmp_path / "shop.duckdb"

    def found_in_database(content: str) -> None:
        with duckdb.connect(str(database)) as connection:
            connection.register("rows", pd.read_csv(io.StringIO(content)))
            connection.execute("create or replace table catalogue as select * from rows")

    folder = tmp_path / "shop"
    write(folder)
    spec = declared(catalogue={"connection": "shop_db"}) | alone
    del spec["sources"]["catalogue"]["path"]
    (folder / "data.yaml").write_text(yaml.safe_dump(spec))
    (folder / "sources").mkdir()
    (folder / "sources" / "catalogue.sql").write_text("SELECT sku, kind FROM catalogue")
    (folder / "features" / "kinds.sql").write_text("select sku, kind from catalogue")
    (folder / "contracts" / "kinds.yaml").write_text(yaml.safe_dump({"expectations": [KEYED]}))
    data = load_dataset(folder, deep=True)
    deliver(home)
    for content, days in zip(CATALOGUES[:2], ((1, 0), (2,)), strict=True):
        found_in_database(content)
        for day in days:
            run = dataclasses.replace(inline.of(data, interval(day)), connections=lambda name: f"duckdb:///{database}")
            inline.run(run, "ingest", last="publish_features")
    stored = tables.read(FEATURES.of("shop", "kinds"))
    assert stored is not None, "a day that is not ingested has no features, although its catalogue is known"
    kinds: dict[str, list[str]] = {}
    for row in stored.sort_by("sku").to_pylist():
        kinds.setdefault(row["partition"], []).append(row["kind"])
    first, second, third = (interval(day).partition for day in range(3))
    assert kinds == {
        first: ["fruit", "fruit"],
        second: ["fruit", "fruit"],
        third: ["fruit", "herb", "nut"],
    }
    made_from = publications.made_from(RAW.of("shop", "catalogue").at(third))
    assert made_from is not None and made_from.query is not None and made_from.query.connection == "shop_db"


def test_retention_keeps_the_version_that_was_in_force_when_what_is_kept_began(home: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    write(folder)
    (folder / "data.yaml").write_text(yaml.safe_dump(declared() | {"retention": {"raw": "30d"}}))
    spec = load_dataset(folder)
    for source, days in (("sales", (0, 399, 400)), ("catalogue", (0, 10, 390)), ("prices", (0,))):
        for day in days:
            place = RAW.of("shop", source).at(interval(day).partition)
            rows = pa.table(
                {
                    "sku": ["a"],
                    "partition": [place.key],
                    "known_at": pa.array([interval(day).end], RAW.arrow["known_at"]),
                }
            )
            catalogue.record(partitions.replace(place, rows, known_at=interval(day).end))
    house = jobs.House("shop", spec, None, ())
    said = jobs.retention(house, apply=True)
    assert sorted(line.partition(",")[0] for line in said) == [
        "shop/raw/catalogue: 1 intervals",
        "shop/raw/sales: 1 intervals",
    ]
    left = {name: [*catalogue.published(RAW.of("shop", name))] for name in spec.sources}
    assert left == {
        name: [interval(day).partition for day in days]
        for name, days in (("sales", (399, 400)), ("catalogue", (10, 390)), ("prices", (0,)))
    }
    assert jobs.retention(house, apply=True) == []
