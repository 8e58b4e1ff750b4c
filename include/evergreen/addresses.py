"""Addresses of the network as they are stated, on a connection, in a header, in a setting; and a port for a server."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


def parsed(stated: str) -> IPv4Address | IPv6Address | None:
    """The IP address, without the name of an interface; of an IPv4 one that IPv6 carries, that one.

    None: it is none.
    """
    try:
        address = ip_address(stated.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`, a name or an address."""
    address = parsed(host)
    return host == "localhost" if address is None else address.is_loopback


def without_port(stated: str) -> str:
    """The host of `host`, `host:port`, `[IPv6]:port` or an IPv6 address without brackets."""
    if stated.startswith("["):
        return stated[1:].partition("]")[0]
    return stated.partition(":")[0] if stated.count(":") == 1 else stated


@lru_cache(10_000)  # every request asks
def source_of(address: str) -> str:
    """The name of an address's owner, as far as it can be told: an IPv6 network of 64 bits is one customer's."""
    ip = parsed(address)
    if ip is None:  # a Unix socket, a test client: all of them are one
        return address
    return str(ip_network((ip, 64), strict=False) if isinstance(ip, IPv6Address) else ip)


def free_port() -> int:
    """A loopback port that was free a moment ago. None of those that a system gives to clients, from 32768 on: one of
    them may take it before a server does."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
