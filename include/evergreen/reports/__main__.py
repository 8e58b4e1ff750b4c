"""`python -m evergreen.reports`: serves the report pages until SIGTERM."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

GRACE_SECONDS = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; the exit status is 0 after SIGTERM."""
    options = _options(arguments)

    from evergreen.reports.server import create_app
    from evergreen.serve.hosts import allowed
    from evergreen.serve.protocol import listen
    from evergreen.settings import settings

    app = create_app(options.folder, allowed(options.host, settings().reports_url))
    trusted = settings().trusted_proxies
    listen(app, host=options.host, port=options.port, trusted=trusted, timeout_graceful_shutdown=GRACE_SECONDS)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m evergreen.reports", description="Serve Data Docs and drift reports."
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the pages lie (EVERGREEN_REPORTS)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s, this machine only)"
    )
    parser.add_argument("--port", type=int, default=8091)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
