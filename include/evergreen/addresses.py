"""Addresses of the network as they are stated: on a connection, in a header, in a setting."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


def parsed(stated: str) -> IPv4Address | IPv6Address | None:
    """The IP address, without the name of an interface; of an IPv4 one that IPv6 carries, that one.

    None: it is none.
    """
    try:
        found = ip_address(stated.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`, a name or an address."""
    found = parsed(host)
    return host == "localhost" if found is None else found.is_loopback


def without_port(stated: str) -> str:
    """The host of `host`, `host:port`, `[IPv6]:port` or an IPv6 address without brackets."""
    if stated.startswith("["):
        return stated[1:].partition("]")[0]
    return stated.partition(":")[0] if stated.count(":") == 1 else stated


def source_of(address: str) -> str:
    """The name of an address's owner, as far as it can be told: an IPv6 network of 64 bits is one customer's."""
    found = parsed(address)
    if found is None:  # a Unix socket, a test client: all of them are one
        return address
    return str(ip_network((found, 64), strict=False) if isinstance(found, IPv6Address) else found)
