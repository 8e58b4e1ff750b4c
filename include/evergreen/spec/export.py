"""What is generated from the schema: the JSON Schema for editors, and docs/model-spec.md."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from typing import Any

from evergreen.spec.arguments import METHODS
from evergreen.spec.contract import Expectation
from evergreen.spec.document import MOST_DEPTH, MOST_NODES
from evergreen.spec.families import FAMILIES
from evergreen.spec.files import MOST_BYTES, MOST_FOLDER_BYTES, MOST_FOLDER_NODES
from evergreen.spec.mistakes import MOST_TOLD, one_of
from evergreen.spec.rules import TABLE_FUNCTIONS
from evergreen.spec.schema import ModelSpec


def json_schema() -> str:
    """The JSON Schema of `model.yaml`."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | ModelSpec.model_json_schema()
    return json.dumps(schema | {"title": "Evergreen model spec"}, indent=2) + "\n"


def reference() -> str:
    """The reference of every key, in Markdown."""
    schema, contract = ModelSpec.model_json_schema(), Expectation.model_json_schema()
    lines = [
        "# The model spec", "",
        "Generated from the schema by `evergreen reference`; a test fails when it drifts. A model is one folder below",
        "`include/models/`: `model.yaml` with the keys below, `contracts/<table>.yaml` for each source and feature view,",
        "`features/<view>.sql` for each view, `label.sql`, `request.sql` where `request` is declared, and `sources/<source>.sql` for a",
        "source that is queried. `include/models/churn` is a whole one, `include/models/flight_delay` one with requests.",
        "`evergreen check <model>` tells every mistake of a folder at once. Editors complete and check `model.yaml` by `include/models/model.schema.json`:",
        "`# yaml-language-server: $schema=../model.schema.json` as its first line.", "",
        "YAML is read strictly: a key that stands twice is an error, only `true` and `false` are truth values, dates are",
        "`2026-01-31`, and a number in quotes is text.", "",
        f"A folder costs itself alone, whatever is in it. A file is at most {MOST_BYTES // (1 << 20)} MiB of UTF-8, its lists and mappings are at most",
        f"{MOST_DEPTH} deep, and it holds at most {MOST_NODES:,} values, with every alias written out. All files of a folder",
        f"together are at most {MOST_FOLDER_BYTES // (1 << 20)} MiB and {MOST_FOLDER_NODES:,} values; one that several tables name counts for each, and two characters of a",
        "`row_condition` as one value. A file is a regular one: a link is followed where it",
        "leads to a place below the models' folder, as those of git-sync and of ConfigMaps do, and nowhere else. Of a folder's mistakes the",
        f"first {MOST_TOLD} are told.",
        "", "## model.yaml", "", *_table(schema, schema["$defs"]), "",
    ]  # fmt: skip
    for name, part in schema["$defs"].items():
        lines += [f"## {name}", "", part.get("description", ""), "", *_table(part), ""]
    lines += [
        "## Families", "",
        "`families` names each family to tune, with the parameters whose range is not to be the default: `[low, high]`, or one",
        "value that fixes it. `{}` takes all defaults.", "",
        "| family | parameter | searched | may be set to |", "|---|---|---|---|",
    ]  # fmt: skip
    for family, parameters in FAMILIES.items():
        lines += [
            f"| `{family}` | `{name}` | {r.low:g} to {r.high:g}{', by its logarithm' if r.log else ''} | {r.least:g} to {r.most:g} |"
            for name, r in parameters.items()
        ]
    lines += [
        "", "## Queries", "",
        "Each file holds one SELECT. All but those of `sources/` are DuckDB's SQL over the tables that `sources` names, and run with no access",
        "to files, network or extensions; times are UTC, as TIMESTAMP without a zone. What they return is checked against what is declared,",
        "by `evergreen check` without data and by each run.", "",
        "A query gives the same at each run of a day, so it may not ask a clock or chance: `now()`, `current_date`, `age(x)`, `random()`, `uuid()`, samples",
        "and settings are refused, however they are written. Use the parameters below, and `hash(key)` to split or order rows. It reads the",
        "tables of its `sources`, and of functions that return tables "
        f"{one_of(f'`{name}`' for name in sorted(TABLE_FUNCTIONS))}. It has 20 minutes and half of the memory.", "",
        "| file | parameters | sees | returns |", "|---|---|---|---|",
        "| `features/<view>.sql` | `$as_of` | rows from `look_back` before `$as_of` up to it, as they were known then | the view's entity key, once each, and its `features` |",
        "| `label.sql` | `$cutoff`, `$horizon_end` | rows from one interval before `$cutoff` up to `$horizon_end`; an outcome once it is known | the entity's key and the label, never null; what has no outcome is left out |",
        "| `request.sql` | `$start`, `$end` | rows from `look_back` before `$start`; no outcome; of all sources but the first, nothing that matters may come from after a request | every key (the entity's and those of `references`), `event_timestamp` (the moment of the request), and the `inputs` |",
        "| `sources/<source>.sql` | `%(start)s`, `%(end)s` | that Postgres ([sources.md](sources.md#a-query)) | the source's `columns` |",
        "", "## contracts/&lt;table&gt;.yaml", "",
        "One key, `expectations`: a list, each entry with the keys below and the expectation's own arguments beside them.", "",
        *_table(contract), "",
        "`row_condition` is text that compares: columns and values with `and`, `or`, `not`, `in`, `+ - * / %`, and the methods",
        f"{one_of(f'`{name}`' for name in METHODS)}. It runs no code, a JSON schema refers only to itself, and a regular expression",
        "that some text could keep busy for seconds is refused by `evergreen check`.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _table(node: dict[str, Any], parts: Mapping[str, dict[str, Any]] | None = None) -> Iterator[str]:
    """The rows of an object's keys; a key that is described by another part says what that part says."""
    yield "| key | type | default | meaning |"
    yield "|---|---|---|---|"
    required = set(node.get("required", []))
    for name, part in node.get("properties", {}).items():
        default = "required" if name in required else f"`{json.dumps(part.get('default'))}`"
        section = (parts or {}).get(part.get("$ref", "").rpartition("/")[2], {})
        meaning = html.escape(part.get("description") or section.get("description", ""), quote=False)
        meaning = meaning.partition("\n\n")[0].replace("\n", " ")  # one line: a blank one would end the table
        yield f"| `{name}` | {_type(part)} | {default} | {meaning} |"


def _type(part: dict[str, Any]) -> str:
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in part or "const" in part:
        return " or ".join(f"`{value}`" for value in part.get("enum", [part.get("const")]))
    if "anyOf" in part:
        return " or ".join(_type(each) for each in part["anyOf"])
    if part.get("type") == "array":
        return f"list of {_type(part.get('items', {}))}"
    if part.get("type") == "object" and (values := _values(part)):
        return f"name → {_type(values)}"
    if "examples" in part:
        return "duration: " + ", ".join(f"`{value}`" for value in part["examples"])
    if part.get("properties"):
        return "[name → parameters](#families)"
    return str(part.get("format") or part.get("type", "any"))


def _values(part: dict[str, Any]) -> dict[str, Any]:
    """The schema of the values of an object with free keys."""
    patterns = part.get("patternProperties") or {}
    found = next(iter(patterns.values()), part.get("additionalProperties"))
    return found if isinstance(found, dict) else {}
