"""Whom an erasure may be about, and what is kept of it."""

from __future__ import annotations

import pytest

from evergreen.erasure import rules
from evergreen.errors import ErasureRefused


@pytest.mark.parametrize("key", [" 1", "1 ", "O'Brien", 'say "hi"', "東京", "a,b"])
def test_a_key_is_taken_as_the_data_has_it(key: str) -> None:
    """A source keeps blanks unless it declares otherwise, so the lake may hold them."""
    rules.check("person", key, reason="request 17", actor="ada")
    with pytest.raises(ErasureRefused, match="--reason"):
        rules.check("person", key, reason=f"asked by:{key}", actor="ada")


def test_nobody_has_an_empty_key() -> None:
    with pytest.raises(ErasureRefused, match="empty"):
        rules.check("person", "", reason="request 17", actor="ada")
