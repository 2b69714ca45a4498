"""Domain names as people type them and as they are compared: small letters, international ones encoded (IDNA 2008)."""

import idna

LONGEST_DOMAIN = 253


class UnreadableDomain(ValueError):
    """`str(error)` is a sentence for the customer."""


def canonical_domain(text: str) -> str:
    """Return a domain in the one form that is stored and compared, such as xn--bcher-kva.example for Bücher.example.

    A dot at the end is dropped. Raises UnreadableDomain for anything but a name of two labels or more: addresses,
    links, wildcards, numbers.
    """
    typed = text.strip().rstrip(".")
    try:
        domain = idna.encode(typed, uts46=True, std3_rules=True).decode().lower()
    except idna.IDNAError as error:
        raise UnreadableDomain(_SENTENCE.format(text=text.strip()[:60])) from error
    last = domain.rpartition(".")[2]
    if "." not in domain or last.isdecimal() or len(domain) > LONGEST_DOMAIN:
        raise UnreadableDomain(_SENTENCE.format(text=text.strip()[:60]))
    return domain


def domain_of(email: str) -> str:
    """Return the domain of an e-mail address in that form, or "" for what is no address."""
    person, at, domain = email.strip().rpartition("@")
    if not (person and at):
        return ""
    try:
        return canonical_domain(domain)
    except UnreadableDomain:
        return ""


def shown_domain(domain: str) -> str:
    """Return a stored domain as people write it."""
    try:
        return idna.decode(domain)
    except idna.IDNAError:
        return domain


_SENTENCE = "“{text}” is no domain: write it like example.com."
