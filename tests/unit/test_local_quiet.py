"""Between the lines of `evergreen run` stands no deprecation of a library,
whatever filters a library sets at its import; ours stand there."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import pytest

from evergreen.local import quiet


@pytest.fixture(autouse=True)
def begun() -> Iterator[None]:
    with warnings.catch_warnings():
        quiet.begin()
        warnings.simplefilter("always")  # as Feast's import does for the whole process
        logging.captureWarnings(True)  # as Great Expectations' does
        yield
        logging.captureWarnings(False)


@pytest.mark.parametrize("category", [DeprecationWarning, PendingDeprecationWarning, FutureWarning])
def test_deprecations_of_libraries_are_left_out(
    category: type[Warning], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    warnings.warn_explicit(
        "module 'sre_parse' is deprecated", category, "/venv/lib/python3.11/site-packages/gx/a.py", 6
    )
    assert not caplog.records and capsys.readouterr() == ("", "")
    warnings.warn_explicit("call of ours", category, quiet.__file__, 1)
    assert "call of ours" in caplog.text, "ours to mend"


def test_what_a_library_says_about_the_work_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warnings.warn_explicit("it did not converge", UserWarning, "/venv/lib/python3.11/site-packages/sklearn/a.py", 9)
    (record,) = caplog.records
    assert record.getMessage() == "UserWarning: it did not converge (/venv/lib/python3.11/site-packages/sklearn/a.py:9)"
