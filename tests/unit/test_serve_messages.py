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


@pytest.mark.parametrize("name", ["flight_id", "airline"])
def test_text_that_the_log_cannot_hold_is_refused(name: str) -> None:
    asked = EXAMPLES["flight_delay"]
    kind = request_type(load_spec(ROOT / "include/models/flight_delay"))
    with pytest.raises(ValueError, match=name):
        kind.model_validate({"entity": asked["entity"] | {name: "a\0b"}})
