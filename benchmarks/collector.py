"""A collector of OpenLineage events on this machine, which keeps none of them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Post(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.heard += 1  # type: ignore[attr-defined]  # of the class below
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Collector(ThreadingHTTPServer):
    """Counts what it hears."""

    heard = 0


@contextmanager
def collecting(*dags: str) -> Iterator[Collector]:
    """Within the block, a stack that is started tells it of the runs of these DAGs, and of no others."""
    quiet = [{"scope": {}, "controls": {"emit": False}}]
    policy = quiet + [{"scope": {"dag_id": dag}, "controls": {"emit": True}} for dag in dags]
    with Collector(("127.0.0.1", 0), _Post) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.environ["EVERGREEN_OPENLINEAGE_URL"] = f"http://127.0.0.1:{server.server_address[1]}"
        os.environ["AIRFLOW__OPENLINEAGE__EMISSION_POLICY"] = json.dumps(policy)
        try:
            yield server
        finally:
            server.shutdown()
            del os.environ["EVERGREEN_OPENLINEAGE_URL"], os.environ["AIRFLOW__OPENLINEAGE__EMISSION_POLICY"]
