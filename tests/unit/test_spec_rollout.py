"""The key `rollout`: what may be said of each strategy, and what is told of a mistake in one."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
from pydantic import TypeAdapter

from evergreen.spec import export
from evergreen.spec.load import load_spec
from evergreen.spec.rollout import ABRollout, CanaryRollout, DirectRollout, Rollout, ShadowRollout
from evergreen.spec.schema import ModelSpec
from tests.unit.test_spec_load import RENEWALS, folder, mistakes_of

__all__ = ["folder"]  # a fixture

ROLLOUT: TypeAdapter[Rollout] = TypeAdapter(Rollout)
SCHEMA = json.loads(export.json_schema())
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({}, DirectRollout()),
        ({"strategy": "direct"}, DirectRollout()),
        ({"strategy": "shadow", "hold": "2d"}, ShadowRollout(strategy="shadow", hold=2 * DAY)),
        (
            {"strategy": "canary"},
            CanaryRollout(
                strategy="canary", hold=DAY, minimum_answers=1000, at_most=30 * DAY, shadow=True, shares=(5, 25, 50)
            ),
        ),
        (
            {"strategy": "canary", "shadow": False, "shares": [10]},
            CanaryRollout(strategy="canary", shadow=False, shares=(10,)),
        ),
        ({"strategy": "ab", "share": 20}, ABRollout(strategy="ab", share=20)),
    ],
)
def test_each_strategy_has_its_keys(written: object, meant: Rollout) -> None:
    assert ROLLOUT.validate_json(json.dumps(written)) == meant
    assert ROLLOUT.validate_json(ROLLOUT.dump_json(meant)) == meant
    jsonschema.validate(written, {"$ref": "#/$defs/ModelSpec/properties/rollout", "$defs": SCHEMA["$defs"]})


def test_what_was_said_before_there_were_others_has_the_words_that_it_had() -> None:
    spec = load_spec(RENEWALS)
    assert spec.rollout == DirectRollout()
    assert json.loads(spec.model_dump_json())["rollout"] == {"strategy": "direct"}
    assert ModelSpec.model_validate_json(spec.model_dump_json()).rollout == DirectRollout()


@pytest.mark.parametrize(
    ("rollout", "told"),
    [
        ("{strategy: canry}", ["rollout.strategy", '"canry"', "direct, shadow, canary or ab", "write canary"]),
        ("{strategy: [ab]}", ["rollout.strategy", '["ab"]', "direct, shadow, canary or ab"]),
        ("canary", ["rollout", '"canary"', "keys with values below it", "such as strategy"]),
        ("null", ["rollout", "null", "keys with values below it"]),
        ("{hold: 1d}", ["rollout.hold", "the unknown key hold", "strategy"]),
        ("{strategy: ab, shares: [5]}", ["rollout.shares", "the unknown key shares", "strategy, hold", "write share"]),
        ("{strategy: canary, shares: 5}", ["rollout.shares", "5", "a list", "write [5]"]),
        ("{strategy: canary, shares: [5, 100]}", ["rollout.shares.1", "100", "99 or less"]),
        ("{strategy: canary, shares: [25, 5]}", ["rollout.shares", "[25, 5]", "shares that grow"]),
        ("{strategy: canary, shares: [5, 5]}", ["rollout.shares", "[5, 5]", "shares that grow"]),
        ("{strategy: canary, shares: []}", ["rollout.shares", "at least 1 of them"]),
        ("{strategy: shadow, hold: soon}", ["rollout.hold", '"soon"', "6h, 3d, 2w"]),
        ("{strategy: ab, minimum_answers: 0}", ["rollout.minimum_answers", "0", "1 or more"]),
        ("{strategy: canary, at_most: 4d}", ["rollout.at_most", "4d", "more than 4d: 4 step(s) of 1d", "write more"]),
    ],
)
def test_a_mistake_is_told_at_its_key(folder: Path, rollout: str, told: list[str]) -> None:
    file = folder / "model.yaml"
    lines = len(file.read_text().splitlines())
    file.write_text(f"{file.read_text().rstrip()}\nrollout: {rollout}\n")
    message = mistakes_of(folder)
    at = 0
    for part in told:
        at = message.find(part, at)
        assert at >= 0, f"{part!r}, in this order, in:\n{message}"
    assert f"model.yaml:{lines + 1}: rollout" in message
