"""What is generated from the schema is up to date, and says of a spec what the schema says."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from evergreen.settings import PROJECT
from evergreen.spec import export

SPECS = Path(__file__).parents[1] / "specs"
SCHEMA = json.loads(export.json_schema())
PARTS = SCHEMA["$defs"] | {"data.yaml": json.loads(export.dataset_schema())}


@pytest.mark.parametrize(
    ("file", "text", "command"),
    [
        ("include/models/model.schema.json", export.json_schema(), "schema"),
        ("include/data/data.schema.json", export.dataset_schema(), "dataset-schema"),
        ("docs/model-spec.md", export.reference(), "reference"),
    ],
)
def test_generated_files_have_not_drifted(file: str, text: str, command: str) -> None:
    assert (PROJECT / file).read_text(encoding="utf-8") == text, f"{file} is old: run `evergreen {command}`"


@pytest.mark.parametrize("model", ["renewals", "refunds"])
def test_editors_accept_what_the_loader_accepts(model: str) -> None:
    content = yaml.load((SPECS / "valid" / model / "model.yaml").read_text(), yaml.BaseLoader)
    for numeric in ("split", "search", "selection", "gates", "monitoring", "families", "refit", "label"):
        stated = yaml.safe_load((SPECS / "valid" / model / "model.yaml").read_text())
        content |= {numeric: stated[numeric]} if numeric in stated else {}
    if content.get("last_day") == "null":
        content["last_day"] = None
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(content, SCHEMA)


@pytest.mark.parametrize("file", ["models/churn/model.yaml", "models/newsletter/model.yaml", "data/churn/data.yaml"])
def test_editors_accept_what_ships(file: str) -> None:
    content = json.loads(json.dumps(yaml.safe_load((PROJECT / "include" / file).read_text()), default=str))
    jsonschema.validate(content, SCHEMA if file.startswith("models") else PARTS["data.yaml"])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("familes", {}),
        ("label", {"name": "x", "horizon": "2 days", "sources": ["a"]}),
        ("families", {"forest": {}}),
        ("folder", "/x"),
    ],
)
def test_editors_refuse_what_the_loader_refuses(key: str, value: object) -> None:
    content = yaml.load((SPECS / "valid" / "renewals" / "model.yaml").read_text(), yaml.BaseLoader) | {key: value}
    messages = [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(content)]
    assert any(key in message or "2 days" in message or "forest" in message for message in messages), messages


def test_every_key_is_explained_and_every_default_is_one_that_could_be_written() -> None:
    reference = export.reference()
    for section, part in PARTS.items():
        for key, declared in part["properties"].items():
            where = f"{section}.{key}"
            assert declared.get("description") or "$ref" in declared, f"{where} has no description"
            if declared.get("default") is not None and "$ref" not in declared:
                schema = declared | {"$defs": part.get("$defs", SCHEMA["$defs"])}
                jsonschema.Draft202012Validator(schema).validate(declared["default"])
            assert f"| `{key}` |" in reference, f"{where} is not in the reference"


def test_a_row_of_a_table_is_one_line() -> None:
    text = (PROJECT / "docs/model-spec.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows and all(line.endswith("|") for line in rows)
