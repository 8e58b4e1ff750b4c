"""By which names the server may be asked: a web page that gives its own name this machine's
address must not read what it serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from evergreen.addresses import is_loopback, parsed, without_port
from evergreen.settings import settings


@dataclass(frozen=True)
class Hosts:
    """The hosts that requests may name.

    Args:
        names: in lower case; None: any.
        addresses: any IP address too.
    """

    names: frozenset[str] | None = None
    addresses: bool = False

    def refusal(self, stated: Sequence[str], version: str) -> tuple[int, str] | None:
        """Status and reason when a request with these `Host` headers, in HTTP of
        this version, is for no host of ours."""
        if len(stated) != 1 and (stated or version != "1.0"):
            return 400, f"{len(stated)} Host headers; exactly one is needed"
        name = without_port(stated[0].strip().lower()).rstrip(".") if stated else ""
        if self.names is None or name in self.names or (self.addresses and parsed(name) is not None):
            return None
        return (
            421,
            "this server is not asked by that name (Host): use its address, or add the name to EVERGREEN_SERVER_HOSTS",
        )


def allowed(bind: str, url: str) -> Hosts:
    """The hosts of a server that listens on an address: those of the settings; without
    any, only a server on loopback is strict.

    Args:
        bind: the address.
        url: how our own tasks and links ask for it.
    """
    ours = settings()
    own = urlsplit(url).hostname or ""
    if ours.server_hosts:
        return Hosts(ours.server_hosts | {own})
    if is_loopback(bind):
        return Hosts(frozenset({"localhost", own} - {""}), addresses=True)
    return Hosts()
