"""Network addresses: whom a request comes from, and whether that is within given ranges."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

MAXIMUM_RANGES = 50
LONGEST_RANGE = 43  # eight groups of four, seven colons, /128
_MAPPED_BITS = 96  # ::ffff:0:0/96 is IPv4, written as IPv6

type Network = IPv4Network | IPv6Network


class UnreadableRange(ValueError):
    """`str(error)` is a sentence for the customer."""


def canonical_ranges(given: Iterable[str]) -> tuple[str, ...]:
    """Return address ranges as ipaddress writes networks, in the order given and each once.

    A single address is a range of one; bits beyond the prefix are dropped, so 10.1.2.3/8 is 10.0.0.0/8, and IPv4
    written as IPv6 becomes IPv4. Raises UnreadableRange for anything else, and for more than 50.
    """
    ranges = tuple(dict.fromkeys(str(_network(text)) for text in given))
    if len(ranges) > MAXIMUM_RANGES:
        raise UnreadableRange(f"There may be {MAXIMUM_RANGES} address ranges at the most.")
    return ranges


def networks_of(ranges: Iterable[str]) -> tuple[Network, ...]:
    """Return canonical ranges ready to be compared with."""
    return tuple(ip_network(text) for text in ranges)


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks. No networks: always; an address that cannot be read: never."""
    if not networks:
        return True
    try:
        found = _plain(ip_address(address))
    except ValueError:
        return False
    return any(found in network for network in networks)


def client_address(peer: str, forwarded: str, *, proxy_count: int) -> str:
    """Return the address of whoever sent a request, or "" when it cannot be known.

    peer: who opened the connection. forwarded: all values of X-Forwarded-For, with commas between. Each of our
    own `proxy_count` proxies adds whom it saw at its end; what is further to the left anybody may have written.
    """
    address = peer
    if proxy_count and forwarded:
        seen = forwarded.split(",")
        address = seen[-proxy_count] if len(seen) >= proxy_count else ""
    return _read_address(address.strip())


def _read_address(text: str) -> str:
    """Return an address without its port, or ""; proxies write 192.0.2.1:80 and [2001:db8::1]:80 too."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(_plain(ip_address(text)))
    except ValueError:
        return ""


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return IPv4 as IPv4, and IPv6 without the name of an interface."""
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or IPv6Address(int(address))
    return address


def _network(text: str) -> Network:
    try:
        # Interfaces of the far end have names there only.
        network = ip_network(text.strip().replace("%", "/"), strict=False)
    except ValueError as error:
        raise UnreadableRange(
            f"“{text[:LONGEST_RANGE]}” is no address range: write it like 203.0.113.0/24 or 2001:db8::/32."
        ) from error
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= _MAPPED_BITS:
        return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network
