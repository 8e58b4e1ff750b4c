"""What leads from one address to another, and can be cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from evergreen.addresses import free_port


class Cable:
    """Between a replica and a server; what is cut is silent, and can be mended."""

    def __init__(self, url: str, port: int | None = None) -> None:
        there = urlsplit(url)
        self._there, self.port = (there.hostname, there.port), port or free_port()
        self.url = url.replace(f":{there.port}/", f":{self.port}/").replace(f"@{there.hostname}", "@127.0.0.1")
        self._sockets: list[socket.socket] = []
        self.mend()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        for one in (self._listener, *self._sockets):
            with suppress(OSError):  # it has ended already
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._sockets.clear()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:  # closed
                return
            far = socket.create_connection(self._there)
            self._sockets += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass  # the other side is gone, which is all there is to know
        finally:
            target.close()


@contextmanager
def forwarded(port: int, url: str) -> Iterator[None]:
    """The port leads to the server of the URL within the block."""
    cable = Cable(url, port)
    try:
        yield
    finally:
        cable.cut()
