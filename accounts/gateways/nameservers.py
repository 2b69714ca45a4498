"""Ask the domain name system for the text records of a name."""

import dns.exception
import dns.nameserver
import dns.resolver
from django.conf import settings

# For all tries together.
SECONDS = 4
DNS_PORT = 53


class NameserversSilent(Exception):
    """Nobody could say what the name has: neither that a record is there nor that it is not."""


def text_records(name: str) -> frozenset[str]:
    """Return the text records of a name as they were written, none if the name has none or is none.

    name: as DNS writes it, international letters encoded. Raises NameserversSilent after SECONDS without an answer.
    """
    try:
        answer = _resolver().resolve(name, "TXT", lifetime=SECONDS)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return frozenset()
    except dns.exception.DNSException as error:
        raise NameserversSilent(type(error).__name__) from error
    # A long record comes in pieces.
    return frozenset(b"".join(record.strings).decode(errors="replace") for record in answer)


def _resolver() -> dns.resolver.Resolver:
    """Return a resolver that asks DNS_RESOLVERS, or without any those of the machine. Nothing is cached."""
    resolver = dns.resolver.Resolver(configure=not settings.DNS_RESOLVERS)
    if settings.DNS_RESOLVERS:
        resolver.nameservers = [_nameserver(text) for text in settings.DNS_RESOLVERS]
    # A name of one label is never completed to one of ours.
    resolver.search = []
    return resolver


def _nameserver(text: str) -> dns.nameserver.Do53Nameserver:
    address, _, port = text.partition(":") if text.count(":") == 1 else (text, "", "")
    return dns.nameserver.Do53Nameserver(address, int(port or DNS_PORT))
