"""The ports of the local stack: each is free before its service starts, or the
error names the setting that changes it."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Collection
from contextlib import suppress
from urllib.parse import urlsplit

import psutil

from evergreen.errors import PortTaken, StackNotReady
from evergreen.settings import Settings

# seconds in which a port is given back by a process that nobody sees any more: its last threads are still ending
ENDING = 5.0


def check(here: Settings, starting: Collection[str]) -> None:
    """Look at the port of each service that is about to start.

    Raises:
        PortTaken: another process listens there.
        StackNotReady: nobody could listen there: no such address on this machine, or a port that needs more rights.
    """
    wanted = {
        "airflow-api-server": ("EVERGREEN_AIRFLOW_URL", here.airflow_url),
        "mlflow": ("EVERGREEN_MLFLOW_URL", here.mlflow_url),
        "server": ("EVERGREEN_SERVER_URL", here.server_url),
        "reports": ("EVERGREEN_REPORTS_URL", here.reports_url),
    }
    for name, (setting, url) in wanted.items():
        if name in starting:
            _check(here.bind, name, setting, url)
    if here.embedded_database and "postgres" in starting:
        _check("127.0.0.1", "postgres", "EVERGREEN_POSTGRES_PORT", f"//127.0.0.1:{urlsplit(here.database).port}")


def _check(host: str, name: str, setting: str, url: str) -> None:
    port = urlsplit(url).port
    if port is None:
        return
    error, patient = _refused(host, port), time.monotonic() + ENDING
    while error is not None and error.errno == errno.EADDRINUSE and not _by(port) and time.monotonic() < patient:
        time.sleep(0.1)
        error = _refused(host, port)
    if error is None:
        return
    other = str(port + 1000 if port + 1000 < 2**16 else port - 1000)
    change = f"{setting}={url.replace(str(port), other) if '://' in url else other}"
    if error.errno != errno.EADDRINUSE:
        raise StackNotReady(
            f"starting {name}",
            found=f"nobody can listen on port {port} of {host}: {error.strerror}",
            expected=f"an address of this machine, and a port that this user may take, for {name}",
            next_step=f"correct EVERGREEN_BIND, or choose another port: {change}",
        ) from error
    raise PortTaken(
        f"starting {name}",
        found=f"port {port} is taken{_by(port)}",
        expected=f"a free port for {name}",
        next_step=f"stop what listens there, or choose another port: {change}",
    ) from error


def _refused(host: str, port: int) -> OSError | None:
    """Why nobody could listen there now; None: somebody could."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None


def _by(port: int) -> str:
    """Who listens there, where this user may know."""
    with suppress(psutil.Error):
        for one in psutil.net_connections("tcp"):
            if one.laddr and one.laddr.port == port and one.status == psutil.CONN_LISTEN and one.pid:
                process = psutil.Process(one.pid)
                return f" by process {one.pid} ({' '.join(process.cmdline()[:4]) or process.name()})"
    return ""
