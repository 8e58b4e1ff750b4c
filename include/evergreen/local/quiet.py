"""What libraries say while a loop runs in this process: what is about the work is told,
what is for their own developers is not."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import TextIO

from evergreen.local.environment import LIBRARIES

log = logging.getLogger(__name__)

_FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


def begin() -> None:
    """Log lines of ours as plain text on standard error, between them only the warnings of libraries.

    Python hides deprecations by a filter, which Feast replaces for the whole process when it is imported
    (`simplefilter("once", DeprecationWarning)`): so they are left out where they would be shown. One that our own code
    caused is shown.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for chatty in LIBRARIES:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(True)  # once: Great Expectations does so at its import, in place of what shows them here
    warnings.showwarning = _show


def begin_in_silence() -> None:
    """The same, of ours only what somebody should look at: for many intervals whose lines would be mixed."""
    begin()
    logging.getLogger("evergreen").setLevel(logging.WARNING)


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, _FOR_DEVELOPERS) and "site-packages" in filename:
        return
    log.warning("%s: %s (%s:%d)", category.__name__, message, filename, lineno)
