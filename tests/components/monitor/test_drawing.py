"""The page of a window on real parts: the evidence of the windows that were compared by then stands on it."""

from __future__ import annotations

from evergreen.settings import settings

from .conftest import Live
from .test_compare import live_until


def test_the_page_has_the_windows_that_were_compared_by_then(live: Live) -> None:
    live_until(live, 22, changed=20, customers=250)
    first, second = (live.watch(day, drawn=day == 21) for day in (20, 21))
    assert first.reported is None and second.reported is not None
    page = (settings().reports / live.spec.model / "windows" / "2026-01-22.html").read_text()
    assert "whose labels have matured (1)" in page and "2026-01-21 gap: champion" in page
    early = live.watch(20).reported
    assert early is not None
    page = (settings().reports / live.spec.model / "windows" / "2026-01-21.html").read_text()
    assert "No window has been compared" in page, "drawn again, it shows what was known then"
