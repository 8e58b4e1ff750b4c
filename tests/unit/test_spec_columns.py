"""How a column arrives and is written: a type alone or with more; each mistake by its key, and what a record keeps."""

from __future__ import annotations

import json
import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from evergreen.errors import SpecError
from evergreen.features.rules import feature_declaration
from evergreen.settings import PROJECT
from evergreen.spec.cells import Column, readable
from evergreen.spec.dataset import Source
from evergreen.spec.load import load_spec
from evergreen.spec.schema import ModelSpec

RENEWALS = Path(__file__).parents[1] / "specs" / "valid" / "renewals"
CONTENT = yaml.safe_load((RENEWALS / "model.yaml").read_text())
SCHEMA = json.loads((PROJECT / "include" / "models" / "model.schema.json").read_text())


def folder_with(tmp_path: Path, columns: dict[str, Any], **options: Any) -> Path:
    """A valid folder whose source `visits` declares these columns otherwise."""
    folder = shutil.copytree(RENEWALS, tmp_path / "renewals", dirs_exist_ok=True)
    content = yaml.safe_load((RENEWALS / "model.yaml").read_text())
    source = content["sources"]["visits"]
    source |= {"columns": source["columns"] | columns, **options}
    (folder / "model.yaml").write_text(yaml.safe_dump(content))
    return folder


def mistakes(tmp_path: Path, columns: dict[str, Any], **options: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_spec(folder_with(tmp_path, columns, **options))
    return re.split(r"\n   \d+\. ", str(caught.value))[1:]


VALID: dict[str, dict[str, Any]] = {
    "a type": {"pages": "float"},
    "a type alone, written out": {"pages": {"type": "float"}},
    "another name": {"pages": {"type": "float", "from": "No-show: Ziel Wert"}},
    "a format": {"visited_at": {"type": "timestamp", "format": "%d.%m.%Y %H:%M"}},
    "formats": {"visited_at": {"type": "timestamp", "format": ["epoch_ms", "%Y%m%d%H%M%S", "%j/%y %I %p"]}},
    "a zone": {"visited_at": {"type": "timestamp", "zone": "Europe/Berlin"}},
    "words for nothing": {"pages": {"type": "int", "nulls": ["NA", "?"]}},
    "one form": {"reader_id": {"type": "string", "normalise": ["blanks", "unicode", "whole"]}},
}


@pytest.mark.parametrize("name", VALID)
def test_a_column_is_a_type_or_says_more(name: str, tmp_path: Path) -> None:
    folder = folder_with(
        tmp_path, VALID[name], nulls=["-"], decimal=",", thousands=".", skip_lines=2, trailing_delimiter=True
    )
    spec = load_spec(folder)
    assert ModelSpec.model_validate_json(spec.model_dump_json()).at(folder) == spec, "a version's record"
    written = json.dumps(yaml.safe_load((folder / "model.yaml").read_text()), default=str)
    jsonschema.validate(json.loads(written), SCHEMA)
    ((column, declared),) = VALID[name].items()
    declared = declared if isinstance(declared, dict) else {"type": declared}
    read = spec.sources["visits"].columns[column]
    assert (read.type, read.from_) == (declared["type"], declared.get("from"))


def test_a_type_alone_is_recorded_as_it_always_was() -> None:
    """What a version records, and a feature partition's inputs hash, stay what they were."""
    source = load_spec(RENEWALS).sources["visits"]
    assert source.model_dump(mode="json")["columns"] == CONTENT["sources"]["visits"]["columns"]
    assert Column(type="int").model_dump() == "int"
    more = Column.model_validate_json('{"type": "date", "from": "Day", "format": "%d.%m.%Y"}')
    assert more.model_dump(mode="json") == {"type": "date", "from": "Day", "format": ["%d.%m.%Y"]}


def test_how_cells_are_written_is_no_part_of_what_a_view_is_computed_from(tmp_path: Path) -> None:
    plain, (view, *_) = load_spec(RENEWALS).own_data(), CONTENT["features"]
    otherwise = {"visited_at": {"type": "timestamp", "from": "Zeit", "format": "%d.%m.%Y"}}
    written = load_spec(folder_with(tmp_path, otherwise, nulls=["-"])).own_data()
    assert feature_declaration(written, view, "q") == feature_declaration(plain, view, "q")


INVALID: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "no type of ours": (
        {"pages": "integer"},
        {},
        ["sources.visits.columns.pages\n", '"integer"', "string, int, float", "write int"],
    ),
    "no type": ({"pages": {"from": "Pages"}}, {}, ["sources.visits.columns.pages.type", "nothing", "add type"]),
    "an unknown key": (
        {"pages": {"type": "int", "form": "Pages"}},
        {},
        ["sources.visits.columns.pages.form", "the unknown key form", "write f"],
    ),
    "a name twice": (
        {"pages": {"type": "int", "from": "visit_id"}},
        {},
        [
            "sources.visits.columns.pages.from",
            "visit_id, for pages and visit_id",
            "one column for each name that arrives",
        ],
    ),
    "a format without a day": (
        {"visited_at": {"type": "timestamp", "format": "%H:%M"}},
        {},
        ["sources.visits.columns.visited_at.format", "%d.%m.%Y %H:%M, or epoch_s, epoch_ms, epoch_us"],
    ),
    "a format that nobody knows": (
        {"visited_at": {"type": "timestamp", "format": "%d.%m.%Y %Q"}},
        {},
        ["sources.visits.columns.visited_at.format", "a format with day, month and year"],
    ),
    "a format of a number": (
        {"pages": {"type": "int", "format": "%d.%m.%Y"}},
        {},
        ["sources.visits.columns.pages.format", "format, with type: int", "format for type: timestamp or date"],
    ),
    "no zone": (
        {"visited_at": {"type": "timestamp", "zone": "Berlin"}},
        {},
        ["sources.visits.columns.visited_at.zone", "a time zone by its name, such as Europe/Berlin"],
    ),
    "one form of a number": (
        {"pages": {"type": "int", "normalise": ["blanks"]}},
        {},
        ["sources.visits.columns.pages.normalise", "normalise for type: string"],
    ),
    "thousands like decimals": ({}, {"thousands": "."}, ["sources.visits.thousands", "., as decimal", 'decimal: ","']),
    "another sign": ({}, {"decimal": ";"}, ["sources.visits.decimal", '";"']),
    "one word for nothing": ({}, {"nulls": "NA"}, ["sources.visits.nulls", "a list", "write [NA]"]),
    "a trailing delimiter of Parquet": (
        {},
        {"format": "parquet", "trailing_delimiter": True},
        ["sources.visits.trailing_delimiter", "trailing_delimiter for csv", "remove trailing_delimiter"],
    ),
}


@pytest.mark.parametrize("name", INVALID)
def test_a_column_that_cannot_be_is_told_with_the_key_and_the_fix(name: str, tmp_path: Path) -> None:
    columns, options, said = INVALID[name]
    messages = mistakes(tmp_path, columns, **options)
    assert [all(part in message for part in said) for message in messages].count(True) == 1, "\n".join(messages)


def test_epochs_are_no_days(tmp_path: Path) -> None:
    (message,) = mistakes(tmp_path, {"pages": {"type": "date", "format": "epoch_s"}})
    assert "a number of seconds is a moment, not a day" in message and "write type: timestamp" in message


def test_what_could_be_read_is_said_as_it_is_declared() -> None:
    said = {kind: readable(Column(type=kind), ".", None) for kind in ("float", "int", "bool", "timestamp", "date")}
    assert said == {
        "float": "a float, such as 1299.5",
        "int": "an int, such as 1299",
        "bool": "a bool, such as true",
        "timestamp": "a timestamp, such as 2026-01-31T12:30:00Z",
        "date": "a date, such as 2026-01-31",
    }
    assert readable(Column(type="float"), ",", ".") == "a float, such as 1.299,5"
    several = Column(type="timestamp", format=("%d.%m.%Y %H:%M", "epoch_ms"))
    assert readable(several, ".", None) == "a timestamp, such as 31.01.2026 12:30 or 1769862600000 (epoch_ms)"


@pytest.mark.parametrize(
    ("cell", "epoch"),
    [
        ("1768989600", "epoch_s"),
        ("1768989600000", "epoch_ms"),
        ("1768989600000000", "epoch_us"),
        ("1768989600000.0", "epoch_ms"),
    ],
)
def test_a_moment_as_a_number_says_how_it_is_declared(cell: str, epoch: str) -> None:
    moment, others = Column(type="timestamp"), (Column(type="date"), Column(type="float"))
    said = readable(moment, ".", None)
    assert readable(moment, ".", None, cell) == f"{said}; {cell} is one with `format: {epoch}`"
    assert all(readable(each, ".", None, cell) == readable(each, ".", None) for each in others)
    assert [readable(moment, ".", None, other) for other in ("20260131", "17", "soon", "-1768989600", "")] == [said] * 5
    declared = Column(type="timestamp", format=(epoch,))
    assert readable(declared, ".", None, cell) == readable(declared, ".", None)


def test_queries_see_the_names_of_the_spec() -> None:
    source = Source(
        path="a/{partition}",
        event_time="at",
        keys=("id",),
        columns={"id": Column(type="int"), "at": Column(type="timestamp", from_="Date Time")},
        outcome={"id": timedelta(days=1)},
    )
    assert source.types == {"id": "int", "at": "timestamp"}
    assert source.arriving == {"id": "id", "Date Time": "at"}
    assert source.visible(outcome=False) == {"at": "timestamp"}
