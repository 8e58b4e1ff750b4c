"""The requests of docs/serving.md are ones that the server takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from evergreen.serve.messages import request_type
from evergreen.spec.load import load_spec

ROOT = Path(__file__).parents[2]
EXAMPLES: dict[str, dict[str, Any]] = {
    model: json.loads(body)
    for model, body in re.findall(
        r"/models/(\w+)/predict .*?-d '(.*?)'\n", (ROOT / "docs/serving.md").read_text(), re.DOTALL
    )
}


@pytest.mark.parametrize("model", ["churn", "flight_delay"])
def test_a_documented_request_is_of_its_models_type(model: str) -> None:
    request_type(load_spec(ROOT / "include/models" / model)).model_validate(EXAMPLES[model])


@pytest.mark.parametrize(
    ("stated", "taken"),
    [
        ("2", 2),
        ("2.0", 2),
        ("-2e0", -2),
        ("2.5", None),
        ("true", None),
        ('"2"', None),
        ("9007199254740993.0", None),
        ("1e400", None),
    ],
)
@pytest.mark.parametrize("key", [True, False], ids=["key", "input"])
def test_an_integer_may_be_written_with_a_point(key: bool, stated: str, taken: int | None) -> None:
    """As the published schema says, which is JSON Schema's."""
    spec = load_spec(ROOT / "include/models/flight_delay")
    assert spec.request is not None
    sound = EXAMPLES["flight_delay"]["entity"]
    if key:
        spec = spec.model_copy(update={"entity": spec.entity.model_copy(update={"type": "int"})})
        name = spec.entity.key
    else:
        name = next(name for name, kind in spec.request.inputs.items() if kind == "int")
    body = json.dumps({"entity": sound | {name: "@"}}).replace('"@"', stated)
    kind = request_type(spec)
    if taken is None:
        with pytest.raises(ValueError, match=name):
            kind.model_validate_json(body)
    else:
        entity = getattr(kind.model_validate_json(body), "entity")  # noqa: B009 - a field of a type made here
        assert getattr(entity, name) == taken and isinstance(getattr(entity, name), int)


def test_the_published_bounds_are_json_schemas() -> None:
    spec = load_spec(ROOT / "include/models/flight_delay")
    published = json.dumps(request_type(spec).model_json_schema())
    assert '"minimum": -9223372036854775808' in published and '"ge"' not in published


@pytest.mark.parametrize("name", ["flight_id", "airline"])
def test_text_that_the_log_cannot_hold_is_refused(name: str) -> None:
    example = EXAMPLES["flight_delay"]
    kind = request_type(load_spec(ROOT / "include/models/flight_delay"))
    with pytest.raises(ValueError, match=name):
        kind.model_validate({"entity": example["entity"] | {name: "a\0b"}})
