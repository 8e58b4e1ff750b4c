"""The kinds of a source: files, several a day, a history, a query; each with valid and invalid examples."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml

from evergreen.errors import SpecError
from evergreen.spec.dataset import Source
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec

RENEWALS = Path(__file__).parents[1] / "specs" / "valid" / "renewals"
MODEL = (RENEWALS / "model.yaml").read_text()
PATH = "path: renewals/visits/{partition}.csv"
QUERY = "SELECT * FROM visits WHERE visited_at >= %(start)s AND visited_at < %(end)s AND page LIKE 'a%%'"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a valid folder, with a query for its source `visits`."""
    copy = shutil.copytree(RENEWALS, tmp_path / "renewals")
    (copy / "sources").mkdir()
    (copy / "sources" / "visits.sql").write_text(QUERY)
    return copy


def declared(folder: Path, *lines: str) -> Source:
    """The source `visits` with these lines in place of its path."""
    assert PATH in MODEL
    (folder / "model.yaml").write_text(MODEL.replace(PATH, "\n    ".join(lines)))
    return load_spec(folder).sources["visits"]


def mistakes(folder: Path, *lines: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        declared(folder, *lines)
    return re.split(r"\n   \d+\. ", str(caught.value))[1:]


VALID: dict[str, tuple[str, ...]] = {
    "compressed": ("path: visits/{partition}.csv.gz",),
    "compressed, by another name": ("path: visits/{partition}.csv", "compression: gzip"),
    "not compressed, whatever its name": ("path: visits/{partition}.gz", "format: jsonl", "compression: none"),
    "of another encoding": ("path: visits/{partition}.csv", "encoding: Windows-1252", "delimiter: ;"),
    "delimited by tabs": ("path: visits/{partition}.tsv", 'delimiter: "\\t"'),
    "several a day": ("path: visits/{partition}/part-*.parquet", "format: parquet"),
    "several beside one another": ("path: visits/{partition}-*.csv",),
    "a history": ("path: visits.csv", "history: true"),
    "a query": ("connection: shop_db",),
    "of rows stamped at their start": (PATH, "covers: 1h"),
    "a query of its own name": ("connection: shop.db-2", "sql: sources/visits.sql"),
}


@pytest.mark.parametrize("name", VALID)
def test_every_kind_of_source_can_be_declared(name: str, folder: Path) -> None:
    source = declared(folder, *VALID[name])
    assert (source.event_time, source.keys, len(source.columns)) == ("visited_at", ("visit_id",), 4)
    assert (source.path is None) != (source.connection is None)


def test_the_query_of_a_source_is_named_after_it(folder: Path) -> None:
    declared(folder, "connection: shop_db")
    spec = load_spec(folder)
    assert spec.own_data().source_sql("visits") == folder / "sources" / "visits.sql"
    assert ModelSpec.model_validate_json(spec.model_dump_json()).at(folder) == spec


Case = tuple[tuple[str, ...], list[str]]
INVALID: dict[str, Case] = {
    "neither": (
        (),
        [
            "sources.visits",
            "nothing to read",
            "path (files of the landing zone) or connection (a database)",
            "add one of them",
        ],
    ),
    "both": ((PATH, "connection: shop_db"), ["sources.visits.connection", "path and connection", "remove one"]),
    "a query's format": (
        ("connection: shop_db", "format: csv"),
        ["sources.visits.format", "connection and sql", "remove format"],
    ),
    "a query's history": (("connection: shop_db", "history: true"), ["sources.visits.history", "remove history"]),
    "a file's query": (
        (PATH, "sql: sources/visits.sql"),
        ["sources.visits.sql", "sql only beside connection", "name a connection"],
    ),
    "no id": (("connection: shop db",), ["sources.visits.connection", '"shop db"']),
    "an unknown compression": ((PATH, "compression: zip"), ["sources.visits.compression", '"zip"', "gzip or none"]),
    "compressed Parquet": (
        ("path: a/{partition}.parquet", "format: parquet", "compression: gzip"),
        [
            "sources.visits.compression",
            "compression, with format: parquet",
            "compression for csv or jsonl",
            "remove compression",
        ],
    ),
    "encoded Parquet": (
        ("path: a/{partition}.parquet", "format: parquet", "encoding: utf-8"),
        ["sources.visits.encoding", "remove encoding"],
    ),
    "delimited JSON": (
        ("path: a/{partition}.jsonl", "format: jsonl", 'delimiter: ";"'),
        ["sources.visits.delimiter", "delimiter, with format: jsonl", "delimiter for csv", "remove delimiter"],
    ),
    "two characters": ((PATH, 'delimiter: "||"'), ["sources.visits.delimiter", "'||'", "one character"]),
    "no character": ((PATH, 'delimiter: ""'), ["sources.visits.delimiter", "''", "one character"]),
    "a quote": ((PATH, "delimiter: '\"'"), ["sources.visits.delimiter", "no quote"]),
    "a sign of other languages": ((PATH, "delimiter: §"), ["sources.visits.delimiter", "of ASCII"]),
    "an unknown encoding": (
        (PATH, "encoding: cp1522"),
        ["sources.visits.encoding", "cp1522", "an encoding that Python knows", "write cp1252"],
    ),
    "a codec of no text": (
        (PATH, "encoding: hex"),
        ["sources.visits.encoding", "hex", "an encoding that Python knows"],
    ),
    "parts in folders": (
        ("path: a/*/{partition}.csv",),
        ["sources.visits.path", "a/*/{partition}.csv", "* in the last part of the path only"],
    ),
    "all days in one file": (
        ("path: visits.csv",),
        ["sources.visits.path", "visits.csv", "a path with {partition}", "declare history: true"],
    ),
    "a history a day": (
        (PATH, "history: true"),
        ["sources.visits.path", "one file for all days", "remove history: true"],
    ),
    "a history in parts": (
        ("path: a/*.csv", "history: true"),
        ["sources.visits.path", "a/*.csv", "one file for all days"],
    ),
    "no query": (
        ("connection: shop_db", "sql: sources/visit.sql"),
        ["sources.visits.sql", "no file sources/visit.sql", "add sources/visit.sql"],
    ),
    "a query elsewhere": (
        ("connection: shop_db", "sql: ../visits.sql"),
        ["sources.visits.sql", "../visits.sql", "a file of the model's folder"],
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_a_source_that_cannot_be_is_told_with_the_key_and_the_fix(name: str, folder: Path) -> None:
    lines, said = INVALID[name]
    messages = mistakes(folder, *lines)
    assert [all(part in mistake for part in said) for mistake in messages].count(True) == 1, "\n".join(messages)
    assert re.match(r"model\.yaml:\d+: sources\.visits", messages[0])


def test_all_mistakes_of_a_source_are_told_at_once(folder: Path) -> None:
    messages = mistakes(
        folder, "path: visits.csv", "format: parquet", "compression: zip", "encoding: nope", "delimiter: ab"
    )
    for key in ("path", "compression", "encoding", "delimiter"):
        assert any(f"sources.visits.{key}\n" in mistake for mistake in messages), f"{key} is not told: {messages}"


QUERIES: dict[str, tuple[str, list[str]]] = {
    "no start": (
        QUERY.replace("%(start)s", "now()"),
        ["no %(start)s", "the interval's bounds", "at >= %(start)s AND at < %(end)s"],
    ),
    "no end": (QUERY.replace("%(end)s", "now()"), ["no %(end)s"]),
    "another parameter": (
        QUERY + " AND day = %(ends)s",
        ["the unknown parameter %(ends)s", "%(start)s or %(end)s", "write end"],
    ),
    "a per cent sign": (QUERY.replace("%%", "%"), ["a single %", "write %%"]),
    "a parameter in a comment alone": (
        QUERY.replace("%(start)s", "now() /* %(start)s */"),
        ["no %(start)s but in a comment, a text or a quoted name"],
    ),
    "a parameter in quotes": (QUERY.replace("%(end)s", "'%(end)s'"), ["no %(end)s but in", "no quotes around it"]),
}


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_that_the_interval_does_not_bound_is_told(name: str, folder: Path) -> None:
    query, said = QUERIES[name]
    (folder / "sources" / "visits.sql").write_text(query)
    (message,) = mistakes(folder, "connection: shop_db")
    assert message.startswith("sources/visits.sql\n")
    assert all(part in message for part in said), message


@pytest.mark.parametrize(
    "also",
    [
        "-- of 100 % until %(end)s or %(ends)s\n",
        "/* isn't %(day)s */",
        "AND note <> '%(day)s' ",
        'AND "%(day)s" > 1 ',
        "AND note <> 'it\\'s' ",  # MySQL's: the quote behind the backslash ends nothing
        "# isn't 5 %\n",  # MySQL's
        "AND note <> 'C:\\' ",  # anybody else's
    ],
)
def test_a_per_cent_sign_of_a_comment_or_text_is_none_of_a_parameter(also: str, folder: Path) -> None:
    (folder / "sources" / "visits.sql").write_text(QUERY.replace("AND", f"{also} AND", 1))
    assert declared(folder, "connection: shop_db").connection == "shop_db"


def test_a_query_that_is_no_utf_8_is_told(folder: Path) -> None:
    (folder / "sources" / "visits.sql").write_bytes(b"-- \xe9\n" + QUERY.encode())
    (message,) = mistakes(folder, "connection: shop_db")
    assert "sources/visits.sql" in message and "not UTF-8 at position 3" in message


@pytest.mark.parametrize("lines", [(), (PATH, "connection: shop_db")])
def test_editors_refuse_a_source_of_no_kind_and_of_two(lines: tuple[str, ...]) -> None:
    source = yaml.safe_load("\n".join(("event_time: at", "keys: [id]", "columns: {id: int, at: timestamp}", *lines)))
    schema = ModelSpec.model_json_schema()
    validator = jsonschema.Draft202012Validator(schema["$defs"]["Source"] | {"$defs": schema["$defs"]})
    assert not validator.is_valid(source)
    assert validator.is_valid({**{k: v for k, v in source.items() if k != "connection"}, "path": "a/{partition}.csv"})


CONTRACT = "expectations: [{type: expect_column_values_to_not_be_null, column: page, severity: critical}]"
PRICES = """  prices:
    path: prices.csv
    refresh: when it changes
    keys: [page]
    valid_from: since
    valid_to: until
    columns: {page: string, since: timestamp, until: timestamp, price: float}
"""


def with_prices(folder: Path, old: str = "", new: str = "") -> None:
    """The model with a table for all intervals beside its source, in which a text stands for another; loaded."""
    assert old in PRICES
    text = MODEL.replace("sources:\n", "sources:\n" + (PRICES.replace(old, new) if old else PRICES), 1)
    (folder / "model.yaml").write_text(text)
    (folder / "contracts" / "prices.yaml").write_text(CONTRACT)
    load_spec(folder)


def test_a_table_for_all_intervals_has_no_event_time_and_is_no_interval(folder: Path) -> None:
    with_prices(folder)
    spec = load_spec(folder)
    data = spec.own_data()
    assert data.dated == ["readers", "visits"] and data.sources["prices"].whole and not data.sources["visits"].whole
    assert data.sources["prices"].identity == ("page", "since")
    assert ModelSpec.model_validate_json(spec.model_dump_json()).at(folder) == spec


def test_what_is_not_said_of_a_source_is_not_written_down(folder: Path) -> None:
    """So the hash of a model that says nothing of it is the one that it had before there was such a key."""
    source = declared(folder, PATH)
    assert source.model_dump().keys().isdisjoint({"refresh", "covers", "valid_from", "valid_to"})
    assert declared(folder, PATH, "covers: 1h").model_dump(mode="json")["covers"] == "1h"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("path: prices.csv", "path: prices/{partition}.csv", ["prices.path", "a path without {", "remove refresh"]),
        ("path: prices.csv", "path: ../prices.csv", ["prices.path", "below the landing zone"]),
        ("keys: [page]", "keys: [page]\n    event_time: since", ["prices.event_time", "write valid_from: since"]),
        ("keys: [page]", "keys: [page]\n    covers: 1d", ["prices.covers", "covers, with refresh: when it changes"]),
        ("keys: [page]", "keys: [page]\n    outcome: {price: 1d}", ["prices.outcome", "remove outcome"]),
        ("    refresh: when it changes\n", "    event_time: since\n", ["prices.valid_from", "add refresh"]),
        ("    refresh: when it changes\n", "", ["prices.event_time", "declare refresh: never"]),
        ("valid_from: since", "valid_from: sinc", ["prices.valid_from", "sinc", "write since"]),
        ("valid_from: since", "valid_from: price", ["prices.valid_from", "price, a float", "type timestamp"]),
        ("    valid_from: since\n", "", ["prices.valid_to", "valid_from beside it"]),
        ("keys: [page]", "keys: [page, since]", ["prices.valid_from", "remove since from keys"]),
        ("when it changes", "sometimes", ["prices.refresh", "every interval, when it changes or never"]),
    ],
)
def test_what_makes_no_sense_of_a_table_for_all_intervals_is_told(
    folder: Path, old: str, new: str, told: list[str]
) -> None:
    with pytest.raises(SpecError) as caught:
        with_prices(folder, old, new)
    for each in told:
        assert each in str(caught.value)


def test_some_table_has_a_batch_per_interval(folder: Path) -> None:
    text = MODEL.replace("/{partition}.csv", ".csv\n    refresh: never")
    for column in ("snapshot_at", "visited_at"):
        text = text.replace(f"    event_time: {column}\n", "")
    (folder / "model.yaml").write_text(text)
    with pytest.raises(SpecError) as caught:
        load_spec(folder)
    assert "at least one table that has a batch per interval" in str(caught.value)
    assert "label.sources" in str(caught.value) and "read a source of events too" in str(caught.value)


def test_the_query_of_a_table_for_all_intervals_has_no_bounds(folder: Path) -> None:
    for query, told in ((QUERY, "the same whenever it is asked"), ("SELECT * FROM prices", None)):
        (folder / "sources" / "prices.sql").write_text(query)
        if told is None:
            with_prices(folder, "path: prices.csv", "connection: shop_db")
            continue
        with pytest.raises(SpecError, match=told):
            with_prices(folder, "path: prices.csv", "connection: shop_db")
