"""`evergreen check` shows every number of the monitor, with its value and where it comes from."""

from __future__ import annotations

from evergreen.cli import check
from evergreen.spec.schema import Monitoring

from .conftest import Live


def test_every_number_has_its_value_and_its_origin(live: Live) -> None:
    for day in range(20, 26):
        live.serve(day, only=40 + day % 3)
        live.watch(day, drawn=False)
    said = [line.strip() for line in check._normal(live.spec)]
    for name in (*Monitoring.model_fields, "together", "drift of minutes", "nulls of plan"):
        if name != "missing_share":  # which is null here, and learned by feature
            assert any(line.startswith((f"{name}:", f"{name} (", f"drift {name}:")) for line in said), name
    assert any(line.startswith("cooldown: 5d (typed in ") for line in said)
    assert any(line.startswith("budget: 4 (default: ") for line in said)
    assert "window: 1d (default: one interval)" in said
    (answers,) = (line for line in said if line.startswith("predictions of the next interval: "))
    assert answers.endswith("(learned from the intervals before)")
    assert all("(" in line for line in said), "where each comes from"
