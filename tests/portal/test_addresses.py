"""Whom a request comes from, and what ranges are."""

import pytest
from allauth.core.internal.httpkit import get_client_ip
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from portal.lib.addresses import (
    LONGEST_RANGE,
    MAXIMUM_RANGES,
    UnreadableRange,
    canonical_ranges,
    client_address,
    is_within,
    networks_of,
)


def test_writes_ranges_in_one_way_and_each_once():
    given = [" 10.1.2.3/8", "10.0.0.0/255.0.0.0", "203.0.113.7", "2001:DB8:0::/32", "::ffff:192.0.2.0/120", "::1"]

    assert canonical_ranges(given) == (
        "10.0.0.0/8",
        "203.0.113.7/32",
        "2001:db8::/32",
        "192.0.2.0/24",
        "::1/128",
    )


@pytest.mark.parametrize(
    "text",
    ["", "anywhere", "10.0.0.0/33", "10.0.0", "256.1.1.1", "2001:db8::/129", "fe80::1%eth0/64", "10.0.0.0/8/8", "1\0"],
)
def test_refuses_what_is_no_range(text: str):
    with pytest.raises(UnreadableRange):
        canonical_ranges([text])


def test_takes_fifty_ranges_and_no_more():
    ranges = [f"10.0.{number}.0/24" for number in range(MAXIMUM_RANGES + 1)]

    assert len(canonical_ranges([*ranges[:MAXIMUM_RANGES], ranges[0]])) == MAXIMUM_RANGES
    with pytest.raises(UnreadableRange, match="50"):
        canonical_ranges(ranges)


def is_mapped(address) -> bool:
    return getattr(address, "ipv4_mapped", None) is not None


@given(st.lists(st.ip_addresses().filter(lambda address: not is_mapped(address)), max_size=10), st.integers(0, 32))
def test_a_canonical_range_stays_and_fits_and_holds_its_address(addresses, prefix):
    ranges = canonical_ranges(f"{address}/{prefix}" for address in addresses)

    assert canonical_ranges(ranges) == ranges
    assert all(len(text) <= LONGEST_RANGE for text in ranges)
    assert all(is_within(str(address), networks_of(ranges)) for address in addresses)


@pytest.mark.parametrize(
    ("address", "ranges", "expected"),
    [
        ("203.0.113.9", ["203.0.113.0/24"], True),
        ("203.0.114.9", ["203.0.113.0/24"], False),
        ("::ffff:203.0.113.9", ["203.0.113.0/24"], True),
        ("2001:db8::9", ["203.0.113.0/24", "2001:db8::/32"], True),
        ("2001:db9::9", ["2001:db8::/32"], False),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("", ["0.0.0.0/0", "::/0"], False),
        ("unknown", ["0.0.0.0/0"], False),
        ("", [], True),
    ],
)
def test_tells_who_is_within(address: str, ranges: list[str], expected: bool):
    assert is_within(address, networks_of(ranges)) is expected


# Peer, X-Forwarded-For, proxies of ours, expected.
CLIENTS = [
    ("192.0.2.1", "", 0, "192.0.2.1"),
    ("192.0.2.1", "203.0.113.9", 0, "192.0.2.1"),
    ("192.0.2.1", "203.0.113.9", 1, "203.0.113.9"),
    ("192.0.2.1", "198.51.100.1, 203.0.113.9", 1, "203.0.113.9"),
    ("192.0.2.1", "198.51.100.1, 203.0.113.9,10.0.0.1", 2, "203.0.113.9"),
    ("192.0.2.1", "203.0.113.9:4711", 1, "203.0.113.9"),
    ("192.0.2.1", "[2001:db8::9]:4711", 1, "2001:db8::9"),
    ("192.0.2.1", "2001:db8:0:0::9", 1, "2001:db8::9"),
    ("192.0.2.1", "", 1, "192.0.2.1"),
]


@pytest.mark.parametrize(("peer", "forwarded", "proxies", "expected"), CLIENTS)
def test_believes_our_own_proxies_only_and_as_the_pages_do(settings, peer, forwarded, proxies, expected):
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = proxies
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    page = RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers)

    assert client_address(peer, forwarded, proxy_count=proxies) == expected == get_client_ip(page)


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies"),
    [("", "", 0), ("/run/gateway.sock", "", 0), ("192.0.2.1", "203.0.113.9", 2), ("192.0.2.1", "unknown", 1)],
)
def test_says_when_it_cannot_know(peer: str, forwarded: str, proxies: int):
    assert client_address(peer, forwarded, proxy_count=proxies) == ""
