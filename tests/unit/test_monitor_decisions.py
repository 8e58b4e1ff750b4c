"""A decision in the ledger: what is read back is what was decided, with all that later decisions need to know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from evergreen.history import events
from evergreen.interval import Interval
from evergreen.monitor import decisions
from evergreen.monitor.rules import Decision
from evergreen.run import Run
from evergreen.settings import PROJECT
from evergreen.spec.load import load_spec

START = datetime(2026, 3, 1, tzinfo=UTC)
RUN = Run(load_spec(PROJECT / "tests" / "specs" / "valid" / "parcels"), Interval.of_day(START.date()))
MOMENTS = st.integers(0, 60).map(lambda day: START + timedelta(days=day))
NUMBERS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(
    st.builds(
        Decision,
        start=MOMENTS,
        end=MOMENTS,
        version=st.none() | st.integers(1, 9),
        action=st.sampled_from(["none", "alert", "wait for labels", "retrain"]),
        changed_at=st.none() | MOMENTS,
        reasons=st.lists(st.from_regex(r"[a-z,: 0-9]{1,20}", fullmatch=True), min_size=1, max_size=3).map(tuple),
        evidence=st.dictionaries(st.text(max_size=5), NUMBERS, max_size=3),
    )
)
def test_a_decision_is_read_back_as_it_was_made(decision: Decision) -> None:
    event = decisions.recorded(RUN, decision, id="decided/1")
    stored = events.from_text(events.to_text(event))
    assert isinstance(stored, events.Decided) and stored == event
    assert decisions.restored(stored) == decision


def test_what_is_no_number_in_json_is_none_in_the_ledger() -> None:
    decision = Decision(
        "d", START, START, 1, "none", False, False, False, None, ("why",), {"drop": float("nan"), "rows": 3}
    )
    assert decisions.recorded(RUN, decision, id="decided/1").evidence == {"drop": None, "rows": 3}
