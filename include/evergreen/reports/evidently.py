"""What pages of ours take from Evidently: the script that draws its report, its font, and the
policy under which just that script runs."""

from __future__ import annotations

import base64
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from evergreen.reports.policy import policy

_DRAW = """
const { dashboard, graphs } = JSON.parse(document.getElementById("data").textContent);
window.drawDashboard(dashboard, new Map(Object.entries(graphs)), "report");
"""


def content_policy() -> str:
    """What such a page may do: run Evidently's script and ours. Evidently makes its styles while it runs."""
    return policy(scripts=scripts(), style=None)


@cache
def scripts() -> tuple[str, str]:
    """The page's scripts as they stand between their tags; the same for every page of this Evidently."""
    library = (_assets() / "index.js").read_text(encoding="utf-8")
    return f"var global = globalThis;\n{library}", _DRAW


def font() -> str:
    """The font of its symbols, in base64."""
    return base64.b64encode((_assets() / "material-ui-icons.woff2").read_bytes()).decode()


def _assets() -> Path:
    package = find_spec("evidently")  # where it is installed; importing it takes seconds
    assert package is not None and package.origin is not None
    return Path(package.origin).parent / "nbextension" / "static"
