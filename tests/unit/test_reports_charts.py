"""Charts over windows: every value is in its place, and whatever is drawn is whole, small, and text alone."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.reports import charts
from evergreen.reports.charts import Band, Line, Mark

values = st.none() | st.floats(allow_nan=True, allow_infinity=True)
KEYS = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"]


def drawn(chart: str) -> ElementTree.Element:
    """The chart's own drawing, as a browser would parse it."""
    return ElementTree.fromstring(chart).find("svg")  # type: ignore[return-value]


def points(chart: str) -> list[tuple[float, float]]:
    return [(float(each.get("cx", "")), float(each.get("cy", ""))) for each in drawn(chart).findall("circle")]


@given(st.data(), st.integers(1, 200))
def test_whatever_the_values_are_each_lies_within_the_drawing(data: st.DataObject, count: int) -> None:
    given_values = data.draw(st.lists(values, min_size=count, max_size=count))
    keys = [f"w{number}" for number in range(count)]
    chart = charts.over_windows(keys, [Line("a", given_values)], said="a by window", zero=data.draw(st.booleans()))
    known = [value for value in given_values if value is not None and abs(value) <= 1e15]
    if not known:
        assert chart == ""
        return
    assert len(points(chart)) == len(known)
    assert all(0 <= x <= 860 and 0 <= y <= 190 for x, y in points(chart))


def test_a_greater_value_stands_higher_and_a_later_one_further_right() -> None:
    (first, second, third) = points(charts.over_windows(KEYS, [Line("a", [1.0, 3.0, None, 2.0])], said="a"))
    assert first[0] < second[0] < third[0] and second[1] < third[1] < first[1]
    one = points(charts.over_windows(["w"], [Line("a", [0.5])], said="a"))
    assert len(one) == 1, "one window is a chart too"


def test_a_gap_is_a_gap_and_a_band_a_bound_and_a_change_are_drawn() -> None:
    chart = charts.over_windows(
        KEYS,
        [Line("gap", [1.0, 2.0, None, 4.0])],
        said="gap",
        band=Band("noise", [-1.0, -1.0, None, -1.0], [1.0, 1.0, None, 1.0]),
        bounds=[Line("bound", [3.0] * 4, 1)],
        marks=[Mark(2, "version 2 in place of version 1")],
    )
    drawing = drawn(chart)
    lines = [each.get("points", "").split() for each in drawing.findall("polyline") if each.get("class") == "c0"]
    assert [len(each) for each in lines] == [2], "what is known on both sides of a gap is not joined"
    assert len(drawing.findall("polygon")) == 2
    assert [each.get("class") for each in drawing.findall("polyline")].count("bound c1") == 1
    assert "version 2 in place of version 1" in chart
    assert all(name in chart for name in ("gap", "noise", "bound", "another version"))


def test_names_are_text_and_the_newest_window_has_its_key() -> None:
    planted = "<script>alert(1)</script>"
    chart = charts.over_windows([planted, KEYS[1]], [Line(planted, [1.0, 2.0])], said=planted)
    assert "<script" not in chart and chart.count("&lt;script&gt;") >= 3
    many = [f"w{number}" for number in range(90)]
    texts = [text.text for text in drawn(charts.over_windows(many, [Line("a", [1.0] * 90)], said="a")).iter("text")]
    keys = [text for text in texts if text is not None and text.startswith("w")]
    assert keys[-1] == "w89" and len(keys) <= 6


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0.0, "0"), (0.1, "0.1"), (0.12345, "0.1235"), (-1.5, "-1.5"), (1234.0, "1,234"), (12.346, "12.35")),
        *((1e-7, "1.00e-07"), (2.5e9, "2.50e+09"), (None, "-"), (math.nan, "-")),
    ],
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert charts.number(value) == text


def test_a_bar_that_is_beyond_its_bound_looks_otherwise() -> None:
    over, under = charts.bar(0.3, 0.1, 0.3), charts.bar(0.05, 0.1, 0.3)
    assert 'class="over"' in over and 'class="under"' in under
    lengths = [float(re.findall(r'width="([0-9.]+)"', each)[0]) for each in (over, under)]
    assert lengths == [220.0, pytest.approx(220 / 6, abs=0.1)]
