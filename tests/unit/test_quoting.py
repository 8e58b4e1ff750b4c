"""A foreign value in a message: on one line, visible, bounded, and never to be taken for another."""

from __future__ import annotations

import ast
import unicodedata
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evergreen.quoting import line as on_one_line
from evergreen.quoting import shown

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=80)  # lone surrogates and unassigned ones too


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Stadt Köln 東京", "'Stadt Köln 東京'"),
        ("it's", '"it\'s"'),
        ("", "''"),
        (" padded ", "' padded '"),
        ("1\n[2026-01-05] ERROR forged", r"'1\n[2026-01-05] ERROR forged'"),
        ("a\r\x1b[31mred\x07", r"'a\r\x1b[31mred\x07'"),
        ("invoice\u202egpj.exe", r"'invoice\u202egpj.exe'"),
        ("zero\u200bwidth\ufeff", r"'zero\u200bwidth\ufeff'"),
        ("no\xa0break\u2028line\x85", r"'no\xa0break\u2028line\x85'"),
        ("\u3164blank\u2800\ufe0f\U000e0101", r"'\u3164blank\u2800\ufe0f\U000e0101'"),
        ("\udc80", r"'\udc80'"),
        (r"\u202e", r"'\\u202e'"),
        (b"\x00\xffab", r"b'\x00\xffab'"),
        (None, "None"),
        (1.5, "1.5"),
        (date(2026, 1, 5), "2026-01-05"),
        (["a\nb", 1], r"['a\nb', 1]"),
        ("x" * 2_000, "'" + "x" * 80 + "'… (2,000 characters)"),
        (b"x" * 2_000, "b'" + "x" * 80 + "'… (2,000 bytes)"),
    ],
)
def test_a_value_is_shown(value: object, text: str) -> None:
    assert shown(value) == text


@given(ANY_TEXT)
def test_text_that_is_not_cut_is_a_literal_of_itself(text: str) -> None:
    assert ast.literal_eval(shown(text)) == text


@given(
    ANY_TEXT | st.binary() | st.integers() | st.lists(ANY_TEXT) | st.dictionaries(ANY_TEXT, st.floats()),
    st.integers(1, 100),
)
def test_what_is_shown_is_one_visible_line_of_bounded_length(value: object, limit: int) -> None:
    line = shown(value, limit)
    assert line.isprintable() and len(line.splitlines()) == 1
    assert not any(unicodedata.category(one) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for one in line)
    line.encode("utf-8")
    assert len(line) <= 10 * limit + 40  # \U0010ffff is ten characters


def test_a_value_that_could_not_be_written_in_full_is_bounded_before_it_is_written() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(10**5_000) == shown([10**5_000])[1:-1] == "(an integer of 16,610 bits)"
    assert shown(deep) == "[[[[[[[...]]]]]]]"
    assert len(shown(["x" * 10_000_000] * 100_000)) < 150
    assert len(shown({str(n): n for n in range(100_000)})) < 150


def test_a_sentence_with_foreign_names_in_it_stays_one_visible_line() -> None:
    line = on_one_line("no table a\x1b[31m\n  next step: \u202eb\udc80")
    assert line == r"no table a\x1b[31m\n  next step: \u202eb\udc80"
    assert on_one_line('it\'s a "plain" sentence') == 'it\'s a "plain" sentence'
    assert on_one_line("x" * 500, 400) == "x" * 400 + "… (500 characters)"
