"""What the lake's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from evergreen.settings import settings


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fresh lake on the disk."""
    monkeypatch.setenv("EVERGREEN_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield
    settings.cache_clear()
