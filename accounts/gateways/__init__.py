"""Services outside the portal that accounts ask: name servers, and identity providers of organizations.

What every identity provider says, by whatever protocol, is a `Person`.
"""

from dataclasses import dataclass


class ProviderError(Exception):
    """The provider cannot be used, or what it says cannot be believed. `str(error)` is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whom the provider vouches for. email: "" when it says none, or says that it has not verified it."""

    subject: str
    email: str
