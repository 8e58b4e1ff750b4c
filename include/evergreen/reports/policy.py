"""The Content-Security-Policy of report pages: nothing is loaded, and only the
page's own scripts run, named by their hashes.

A page carries its policy as the first element of its head, since reports are also
opened as files; the server sends one too.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

_NOTHING_ELSE = "base-uri 'none'; form-action 'none'"


def policy(*, scripts: Sequence[str] = (), style: str | None) -> str:
    """The policy of a page.

    Args:
        scripts: the text of each script that may run, as it stands between its tags.
        style: the text of the page's only style; None: its scripts make styles while they run.
    """
    allowed = " ".join(map(_digest, scripts)) or "'none'"
    styles = "'unsafe-inline'" if style is None else _digest(style)
    return (
        f"default-src 'none'; script-src {allowed}; style-src {styles}; img-src data:; font-src data:; {_NOTHING_ELSE}"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
