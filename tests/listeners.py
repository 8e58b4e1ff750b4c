"""Servers that a message is sent to over a real socket, and that keep what was said to them."""

from __future__ import annotations

import socketserver
import threading


class Listener(socketserver.ThreadingTCPServer):
    """Keeps what was said to it."""

    allow_reuse_address = True
    heard: list[str]

    def __init__(self, handler: type[socketserver.StreamRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.heard = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def server_close(self) -> None:
        self.shutdown()
        super().server_close()


class Smtp(socketserver.StreamRequestHandler):
    """As much of RFC 5321 as a client needs to hand over a mail."""

    server: Listener

    def handle(self) -> None:
        self.wfile.write(b"220 test\r\n")
        while line := self.rfile.readline():
            command = line[:4].upper()
            if command == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                mail = b"".join(iter(self.rfile.readline, b".\r\n"))
                self.server.heard.append(mail.decode())
            self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 ok\r\n")
            if command == b"QUIT":
                return


class Http(socketserver.StreamRequestHandler):
    """Answers a POST with Slack's `ok`."""

    server: Listener

    def handle(self) -> None:
        length = 0
        while (line := self.rfile.readline().strip()) != b"":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        told = self.rfile.read(length).decode()
        self.server.heard.append(told)
        self.wfile.write(self.answer(told))

    def answer(self, told: str) -> bytes:
        """The whole answer."""
        return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
