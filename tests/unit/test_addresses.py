"""Addresses as they are stated, and whose they are."""

from __future__ import annotations

import pytest

from evergreen.addresses import is_loopback, source_of, without_port


def test_a_source_is_an_address_or_a_network_of_64_bits() -> None:
    assert source_of("192.0.2.7") == source_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:1") != source_of("2001:db8:0:1::1")
    assert source_of("fe80::1%eth0") == source_of("fe80::2")
    assert source_of("testclient") == "testclient"


@pytest.mark.parametrize(
    ("stated", "host"),
    [
        ("server:8090", "server"),
        ("server", "server"),
        ("192.0.2.7:1", "192.0.2.7"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("", ""),
        ("[", ""),
    ],
)
def test_a_host_is_found_without_its_port(stated: str, host: str) -> None:
    assert without_port(stated) == host


def test_only_this_machine_reaches_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.0.2.7", "localhost.example", "")))
