"""What `evergreen try` and `replay` ingest before they train: all that the training reads, and no more."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from evergreen import cli
from evergreen.cli import trying
from evergreen.cli.trying import needed
from evergreen.features import rules
from evergreen.interval import Interval
from evergreen.spec.schema import ModelSpec
from tests.small_models import TINY, tiny

LAST = Interval.of_day(date(2026, 3, 31))
OLDEST = LAST.end - timedelta(days=30)  # of the training's window


def asked(**request: Any) -> ModelSpec:
    return tiny(references={"shop": {"key": "shop_id"}}, request={"sources": ("events",), "inputs": {}} | request)


def covering(covers: str) -> ModelSpec:
    (source,) = TINY["sources"].values()
    return tiny(sources={"events": source | {"covers": covers}})


@pytest.mark.parametrize(
    ("spec", "first"),
    [
        (tiny(), OLDEST - timedelta(days=3)),
        (covering("1d"), OLDEST - timedelta(days=4)),
        (asked(), OLDEST - timedelta(days=3)),
        (asked(look_back="5d"), OLDEST - timedelta(days=5)),
        (tiny(first_day=date(2026, 2, 28)), Interval.of_day(date(2026, 2, 28)).start),
        (tiny(first_day=date(2026, 3, 20)), Interval.of_day(date(2026, 3, 20)).start),
    ],
)
def test_what_the_oldest_row_looks_back_at_is_ingested(spec: ModelSpec, first: Any) -> None:
    intervals = needed(spec, LAST)
    assert (intervals[0].start, intervals[-1]) == (first, LAST)
    there = {each.partition for each in intervals}
    for span in rules.mature_label_spans(spec, LAST.end):
        if span.interval.start >= OLDEST or not spec.asking.named_by_request:
            assert there.issuperset(span.waits_for), span


@pytest.mark.parametrize(
    ("terminal", "desktop", "option", "opened"),
    [
        (True, True, [], True),
        (True, False, [], False),
        (False, True, [], False),
        (True, True, ["--no-open"], False),
        (False, False, ["--open"], True),
    ],
)
def test_the_gate_report_is_opened_for_somebody_at_a_terminal(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, desktop: bool, option: list[str], opened: bool
) -> None:
    chosen: list[bool | None] = []
    monkeypatch.setattr(trying.sys.stdout, "isatty", lambda: terminal)
    monkeypatch.setattr(trying.sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if desktop:
        monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(trying, "_try", lambda options: chosen.append(options.open) or 0)
    assert cli.main(["try", "visits", *option]) == 0
    assert trying.opens(chosen[0]) is opened
