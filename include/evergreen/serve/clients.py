"""Who a client of the model server is that has shown no key: the one place that says so, for every limit by client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evergreen.addresses import parsed, source_of, without_port
from evergreen.settings import Network

_FORWARDED = b"x-forwarded-for"


def source(scope: Mapping[str, Any], trusted: Sequence[Network]) -> str:
    """The client that sent a request, as `addresses.source_of` names addresses.

    Behind trusted proxies it is the address that they forward in `X-Forwarded-For`;
    what anybody else writes there is ignored.

    Args:
        scope: the request's ASGI scope (`request.scope`).
        trusted: the proxies' networks (`settings().trusted_proxies`).
    """
    address = peer(scope)
    if proxied(address, trusted):
        lines = [value for name, value in scope["headers"] if name == _FORWARDED]
        # Each proxy appends whom it was asked by, so the list is believed from its
        # end, as far as trusted proxies wrote it.
        for hop in reversed(b",".join(lines).decode("latin-1").split(",")):
            if parsed(sender := without_port(hop.strip())) is None:
                break
            address = sender
            if not proxied(address, trusted):
                break
    return source_of(address)


def peer(scope: Mapping[str, Any]) -> str:
    """The address at the other end of the connection; empty for a Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def proxied(address: str, trusted: Sequence[Network]) -> bool:
    """Whether a connection from the address carries the requests of others."""
    ip = parsed(address) if trusted else None
    return ip is not None and any(ip in network for network in trusted)
