"""Whose request it is: the connection's address, or what trusted proxies say."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from evergreen.errors import PermanentError
from evergreen.serve.clients import source
from evergreen.settings import Settings

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["203.0.113.9"], "192.0.2.7"),  # anybody can write the header
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::/64"),
        ("10.0.0.1", ["2001:db8::1"], "2001:db8::/64"),
        ("10.0.0.1", ["203.0.113.9, 10.1.1.1", "fd00::1"], "203.0.113.9"),  # a chain of trusted proxies
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9"], "203.0.113.9"),  # the client made up the first
        ("10.0.0.1", ["203.0.113.9, me"], "10.0.0.1"),  # no address is nobody's
        ("10.0.0.1", [""], "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(peer: str, forwarded: list[str], client: str) -> None:
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    assert source({"client": (peer, 1), "headers": headers}, TRUSTED) == client


def test_nobody_is_trusted_unless_it_is_said() -> None:
    assert Settings.from_environment({}).trusted_proxies == ()
    networks = Settings.from_environment({"EVERGREEN_TRUSTED_PROXIES": " 10.0.0.0/8, 192.0.2.1 "}).trusted_proxies
    assert [str(network) for network in networks] == ["10.0.0.0/8", "192.0.2.1/32"]


@pytest.mark.parametrize("stated", ["proxy.example", "10.0.0.1/8"])
def test_a_proxy_that_is_no_network_is_refused_by_name(stated: str) -> None:
    with pytest.raises(PermanentError) as raised:
        Settings.from_environment({"EVERGREEN_TRUSTED_PROXIES": stated})
    assert stated in raised.value.found and "EVERGREEN_TRUSTED_PROXIES" in raised.value.doing
