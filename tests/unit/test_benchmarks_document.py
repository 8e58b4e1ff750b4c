"""The benchmark's document: sections are replaced one by one, and no ratio out of proportion goes without a word."""

from __future__ import annotations

from pathlib import Path

from benchmarks import document
from benchmarks.measure import Ratio, percentile

ORDER = ("first", "second")


def test_a_section_is_replaced_and_the_others_stay_in_their_order(tmp_path: Path) -> None:
    file = tmp_path / "benchmarks.md"
    for name, text in (("second", "two"), ("first", "one"), ("second", "two again")):
        document.replace(file, ORDER, name, text)
    written = file.read_text()
    assert "<!-- first -->\none\n<!-- /first -->\n\n<!-- second -->\ntwo again\n<!-- /second -->" in written
    assert written.count("# Benchmarks") == 1


def test_a_ratio_out_of_proportion_says_that_it_has_no_reason() -> None:
    near, far, explained = (
        Ratio("a", "1", ours, 1.0, "bare", why) for ours, why in ((2.9, ""), (3.1, ""), (9.0, "a page"))
    )
    lines = document.ratios([near, far, explained]).splitlines()[2:]
    assert ["not explained" in line for line in lines] == [False, True, False]
    assert lines[2].endswith("| 9.0 | a page |")


def test_numbers_stand_to_the_right() -> None:
    assert document.table(("what", "takes"), [("8 clients", "1.2 ms"), ("9", "3")]).splitlines()[1] == "| --- | ---: |"


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert [percentile([4.0, 1.0, 3.0, 2.0], share) for share in (0.5, 0.75, 0.99, 1.0)] == [2.0, 3.0, 4.0, 4.0]
