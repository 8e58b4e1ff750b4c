"""The page of a window: the decision's evidence first, small, readable without a script, and harmless."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from evergreen.handovers.monitor import Skewed
from evergreen.interval import Interval
from evergreen.monitor import window_page
from evergreen.reports import evidently
from evergreen.run import Run
from evergreen.settings import settings
from tests.components.train.conftest import spec_in
from tests.windows import shown

from .browser import Browser, started
from .test_pages import PLANTS, check_harmless


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    day = date.fromisoformat(shown().collected.partition)
    yield Run(spec=spec_in(tmp_path / "tiny"), interval=Interval.of_day(day))
    settings.cache_clear()


def written(run: Run, what: window_page.Shown) -> tuple[Path, str]:
    address = window_page.write(run, what)
    assert address == window_page.of(run.spec, what.collected.partition), "as the decision's button has it"
    file = settings().reports / run.spec.model / "windows" / f"{what.collected.partition}.html"
    return file, file.read_text()


def test_the_evidence_of_the_decision_stands_first(run: Run) -> None:
    _, page = written(run, shown())
    headings = [
        page.index(f"<h2>{each}") for each in ("Would a fresh", "Performance", "Drift", "Data quality", "Behind")
    ]
    assert headings == sorted(headings)
    assert page.count("<figure>") == 4 and 'class="mark"' in page
    assert "performance fell by 0.120" in page and "wait for labels" in page
    assert "(75)" in page and "The quick evidence began with 2026-03" in page
    markup = check_harmless(page, drawings=page.count("<figure>") + page.count('class="bar"'))
    assert markup.scripts == [] and markup.policy["script-src"] == ["'none'"]


def test_a_page_is_small_whatever_the_window_has(run: Run) -> None:
    _, page = written(run, shown(windows=1000, features=2000))
    assert len(page.encode()) < 300_000
    assert "and 1960 features that are nearer" in page and "(1000)" in page


def test_what_is_not_known_is_said(run: Run) -> None:
    """The first window of a model: no predictions, no labels, nothing compared."""
    full = shown()
    bare = replace(
        full,
        collected=full.collected.model_copy(update={"rows": 0, "version": None}),
        quality=full.quality.model_copy(update={"missing": {}}),
        drift=full.drift.model_copy(update={"distances": {}, "prediction": None}),
        performance=full.performance.model_copy(update={"value": None, "reference": None, "rows": 0}),
        decided=(),
        compared=(),
        behind=(),
    )
    _, page = written(run, bare)
    for said in ("No window has been compared", "No label of a prediction has matured", "Nothing to compare"):
        assert said in page
    assert "<figure>" not in page and "Behind it" not in page


def test_every_look_at_the_window_is_on_its_page(run: Run) -> None:
    full = shown()
    found = {"minutes": Skewed(rows=2000, different=1900, largest=3.25), "plan": Skewed(rows=2000, different=0)}
    looks = replace(
        full,
        quality=full.quality.model_copy(update={"skew": found}),
        drift=full.drift.model_copy(
            update={
                "together": 0.61,
                "together_bound": 0.55,
                "confidence": {"entropy": 0.8, "near": 0.25, "distance": 0.3, "bound": 0.1},
            }
        ),
        performance=full.performance.model_copy(
            update={"low": 0.66, "high": 0.76, "estimated": 0.79, "estimated_low": 0.77, "estimated_high": 0.81}
        ),
    )
    _, page = written(run, looks)
    assert "0.66 to 0.76; 0.83 at evaluation" in page and "0.77 to 0.81; labels are open" in page
    assert "0.61 (bound 0.55)" in page and "distance 0.3 (bound 0.1), entropy 0.8 bits, 25% near" in page
    (row,) = re.findall(r"<tr><td>minutes</td>.*?</tr>", page)
    assert "1,900" in row and "3.25" in row and "<td>plan</td>" not in page
    _, page = written(run, replace(looks, quality=full.quality.model_copy(update={"skew": {"plan": found["plan"]}})))
    assert "What 2,000 answers were made from is what the offline store has" in page


def test_a_decision_of_another_release_is_no_reason_to_fail(run: Run) -> None:
    """Evidence that it kept in another shape is left out."""
    full, others_have = shown(), ({}, {"performance": 3}, {"performance": {"value": "much"}})
    others_have += tuple({"performance": {"others": others}} for others in (3, [3], [{"version": 1}], [{"value": 0.5}]))
    others = [
        each.model_copy(update={"evidence": evidence})
        for each, evidence in zip(full.decided, others_have, strict=False)
    ]
    _, page = written(run, replace(full, decided=others))
    assert "No label of a prediction has matured" in page


def test_names_from_the_data_are_text_in_a_browser(run: Run, tmp_path: Path) -> None:
    full, plants = shown(), list(PLANTS[:5])
    hostile = replace(
        full,
        drift=full.drift.model_copy(update={"distances": dict.fromkeys(plants, 0.2)}),
        decision=full.decision.model_copy(update={"reasons": tuple(plants)}),
    )
    file, page = written(run, hostile)
    check_harmless(page, drawings=4 + len(plants) + 3)  # charts, features, predictions, two with more nulls
    with started(tmp_path / "profile") as browser:
        assert isinstance(browser, Browser)
        opened = browser.open(file.as_uri())
        text = opened.value("document.body.innerText")
        assert all(plant in text for plant in plants)
        assert opened.value("document.querySelectorAll('figure svg circle').length") > 200
        assert opened.value("getComputedStyle(document.querySelector('figure polyline')).fill") == "none", (
            "the style holds"
        )
        assert opened.refused == [] and opened.errors == []


def test_the_servers_policy_shows_it_too() -> None:
    assert "style-src 'unsafe-inline'" in evidently.content_policy()
