"""What a rollout compares is read from the log as it stands there, whatever the rows hold."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from evergreen.serve import compared, predictions
from evergreen.serve.predictions import Prediction
from evergreen.settings import Settings

from .lives import MODEL, ROLLOUT, START

SMALL, ODD = 1e-17, 'c"1,\n2'


def row(at: int, **more: Any) -> Prediction:
    usual: dict[str, Any] = {
        "model": MODEL,
        "version": 2,
        "request_id": f"r-{at}",
        "position": 0,
        "entity": "c-1",
        "as_of": START + timedelta(microseconds=at),
        "features_at": START - timedelta(days=1),
        "features": {},
        "prediction": 0.25,
        "role": "challenger",
        "rollout": ROLLOUT,
        "share": 5,
        "seconds": 0.01,
    }
    return Prediction(**usual | more)


def test_rows_are_read_with_every_digit_and_what_is_null_is_null(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGTZ", "America/New_York")  # moments are the same in every zone
    predictions.write_late(
        [
            row(0, prediction=0.1 + 0.2),
            row(1, prediction=SMALL, entity=ODD),
            row(2, prediction=None, probabilities={"a": 1 / 3, 'b"': 2 / 3}),
            row(3, prediction=None, failed="RuntimeError: t,\nf", seconds=None),
            row(4, entity="", features_at=None, share=None, role=None),
            row(5, rollout=None),
            row(6),
        ]
    )
    read = compared.of_rollout(MODEL, ROLLOUT, START, START + timedelta(microseconds=6)).to_pylist()
    assert [each["as_of"] for each in read] == [START + timedelta(microseconds=at) for at in range(5)]
    assert [float(each["answer"]) for each in read[:2]] == [0.1 + 0.2, SMALL]
    assert [each["entity"] for each in read] == ["c-1", ODD, "c-1", "c-1", ""]
    assert (read[2]["answer"], read[3]["answer"]) == ('{"a": 0.3333333333333333, "b\\"": 0.6666666666666666}', None)
    assert [each["failed"] for each in read] == [False, False, False, True, False]
    assert (read[3]["seconds"], read[4]["features_at"], read[4]["share"], read[4]["role"]) == (None, None, None, None)
    assert read[0]["features_at"] == START - timedelta(days=1)

    newest = compared.newest(MODEL, 2, START + timedelta(microseconds=4), 2)["request_id"].to_pylist()
    assert newest == ["r-2", "r-1"], "answers to clients alone, the newest first"
    nothing = compared.of_rollout(MODEL, "rollout/of/nobody", START, START + timedelta(days=1))
    assert nothing.num_rows == 0 and nothing.schema == compared.of_rollout(MODEL, ROLLOUT, START, START).schema
