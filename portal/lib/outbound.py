"""Requests to addresses that customers wrote: never into our own network, whatever the address or its name says.

The name is resolved once, every address that it has must be a public one, and the connection goes to the address that
was looked at. No redirects, no proxies from the environment, five seconds in all, at most 1 MiB of answer. For
webhooks, discovery documents of identity providers, and whatever else is fetched by an address that we did not write.
"""

import http.client
import io
import re
import socket
import ssl
import threading
import time
from collections.abc import Buffer, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from django.conf import settings

LONGEST_URL = 500
LONGEST_SECONDS = 5
LONGEST_ANSWER = 1024 * 1024
# Beside it come the headers, and the marks around each piece.
LONGEST_OVERHEAD = 128 * 1024
HTTPS_PORT, HTTP_PORT = 443, 80
FIRST_FREE_PORT = 1024
LAST_PORT = 65_535

type IpAddress = IPv4Address | IPv6Address
# Host name and port -> the addresses that it has, as text. Raises OSError.
type Resolver = Callable[[str, int], list[str]]

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\.?$)({_LABEL}\.)+{_LABEL}\.?", re.ASCII)
# Where clients disagree: what ends like this may be read as a number of an address (0x7f.1, 2130706433, 0177.0.0.1).
_ENDS_IN_A_NUMBER = re.compile(r"(.*\.)?(\d+|0x[0-9a-f]*)\.?", re.ASCII)
# Public IPv6 is here, but for what carries an IPv4 address or is for documents; Python 3.12 calls some of it global.
_PUBLIC_IPV6 = IPv6Network("2000::/3")
_NOT_PUBLIC_IPV6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


class UnsafeAddress(ValueError):
    """We do not go there. `str(error)` is a sentence for the customer."""


class Unreachable(Exception):
    """Nothing there answered as HTTP does, in time and size. `str(error)` is a few words for the customer."""


@dataclass(frozen=True, slots=True)
class Target:
    """An address that may be asked once its name turns out to be of a public place."""

    is_tls: bool
    host: str  # in small letters, IPv6 without brackets
    port: int
    path: str  # with its query
    is_loopback: bool  # development only

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (HTTPS_PORT if self.is_tls else HTTP_PORT) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str] = field(repr=False)  # names in small letters
    body: bytes = field(repr=False)

    @property
    def is_success(self) -> bool:
        return http.client.OK <= self.status < http.client.MULTIPLE_CHOICES


def read_url(url: str) -> Target:
    """Return where a URL leads. Raises UnsafeAddress for anything but a plain https:// address of a public host.

    In development http:// and https:// of this very machine go too. What a name resolves to is looked at by `fetch`.
    """
    _check_letters(url)
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise UnsafeAddress("This is no address that can be read.") from error
    is_loopback = settings.DEVELOPMENT and host in _LOOPBACK_NAMES
    if parts.scheme != "https" and not (is_loopback and parts.scheme == "http"):
        raise UnsafeAddress("The address must start with https://.")
    if "@" in parts.netloc:
        raise UnsafeAddress("The address may not hold a user name or password.")
    is_tls = parts.scheme == "https"
    port = port if port is not None else HTTPS_PORT if is_tls else HTTP_PORT
    if not is_loopback:
        _check_host(host)
        if port != HTTPS_PORT and not FIRST_FREE_PORT <= port <= LAST_PORT:
            raise UnsafeAddress(f"The port must be {HTTPS_PORT}, or one from {FIRST_FREE_PORT} on.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(is_tls, host, port, path, is_loopback)


def _check_letters(url: str) -> None:
    if len(url) > LONGEST_URL:
        raise UnsafeAddress(f"An address has at most {LONGEST_URL} characters.")
    if not url.isascii() or not url.isprintable() or any(letter in url for letter in ' \\"<>^`{|}'):
        raise UnsafeAddress("Write the address without spaces, special characters or letters beyond ASCII.")
    if "#" in url:
        raise UnsafeAddress("Leave out the part of the address from # on: it is never sent.")


def _check_host(host: str) -> None:
    try:
        address = ip_address(host)
    except ValueError:
        if _ENDS_IN_A_NUMBER.fullmatch(host) or not _NAME.fullmatch(host):
            raise UnsafeAddress(
                "The address needs the full name of a public host, such as hooks.example.com."
            ) from None
        return
    if not is_public(address):
        raise UnsafeAddress("This address is not a public one.")


def is_public(address: IpAddress) -> bool:
    """Whether an address is of one public host: no private, local, shared, multicast, reserved or translated one."""
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast and not address.is_reserved
    if address.scope_id is not None or address not in _PUBLIC_IPV6:
        return False
    return address.is_global and not any(address in network for network in _NOT_PUBLIC_IPV6)


def system_resolver(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@cache
def _public_tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def fetch(
    target: Target,
    *,
    method: str = "GET",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    resolve: Resolver = system_resolver,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """Ask once and return what came back, redirects and errors too.

    Takes at most five seconds, names and handshakes included. resolve: asked once. tls: other trust than the
    system's. Raises UnsafeAddress if any address of the name is not a public one, Unreachable for no whole answer.
    """
    deadline = time.monotonic() + LONGEST_SECONDS
    addresses = _safe_addresses(target, resolve, deadline)
    connection = _Pinned(target, addresses, deadline, (tls or _public_tls()) if target.is_tls else None)
    try:
        connection.request(method, target.path, body or None, {**(headers or {}), "Host": target.host_header})
        with connection.getresponse() as response:
            content = response.read(LONGEST_ANSWER + 1)
            if len(content) > LONGEST_ANSWER:
                raise Unreachable(_TOO_LARGE)
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, content)
    except TimeoutError as error:
        raise Unreachable(f"no whole answer within {LONGEST_SECONDS} seconds") from error
    except ssl.SSLCertVerificationError as error:
        raise Unreachable("the certificate is not valid for this host") from error
    except ssl.SSLError as error:
        raise Unreachable("no secure connection came about") from error
    except ConnectionRefusedError as error:
        raise Unreachable("the connection was refused") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        # ValueError: http.client takes numbers below nothing for the size of a piece.
        raise Unreachable("the connection ended without an answer") from error
    finally:
        connection.end()


def _safe_addresses(target: Target, resolve: Resolver, deadline: float) -> list[str]:
    """Return the addresses of the host, all of which may be connected to."""
    try:
        found = [ip_address(address) for address in _in_time(lambda: resolve(target.host, target.port), deadline)]
    except TimeoutError as error:
        raise Unreachable("the host's name was not resolved in time") from error
    except (OSError, ValueError) as error:
        raise Unreachable("the host's name is not known") from error
    if not found:
        raise Unreachable("the host's name is not known")
    if not all(address.is_loopback if target.is_loopback else is_public(address) for address in found):
        raise UnsafeAddress("The host's name leads to an address that is not a public one.")
    return [str(address) for address in found]


def _in_time[T](work: Callable[[], T], deadline: float) -> T:
    """Return what `work` does; the system's resolver has no time limit, so a late one is left to end by itself."""
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(max(0, deadline - time.monotonic()))
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]


class _Pinned(http.client.HTTPConnection):
    """A connection to one of the given addresses, whatever the host's name would resolve to now."""

    def __init__(self, target: Target, addresses: list[str], deadline: float, tls: ssl.SSLContext | None) -> None:
        super().__init__(target.host, target.port)
        self._target, self._addresses, self._deadline, self._tls = target, addresses, deadline, tls
        self._plain: socket.socket | None = None

    def connect(self) -> None:
        plain = self._plain = self._first_that_answers()
        if self._tls is not None:
            plain.settimeout(_left(self._deadline))
            plain = self._plain = self._tls.wrap_socket(plain, server_hostname=self._target.host)
        # http.client uses of a socket what _Limited has.
        self.sock = _Limited(plain, self._deadline)

    def end(self) -> None:
        self.close()
        if self._plain is not None:
            self._plain.close()

    def _first_that_answers(self) -> socket.socket:
        for number, address in enumerate(self._addresses, 1):
            try:
                return socket.create_connection((address, self._target.port), _left(self._deadline))
            except OSError:
                if number == len(self._addresses):
                    raise
        raise OSError("no address")


class _Limited:
    """What http.client needs of a socket, with one deadline for everything: no drip of bytes outlives it."""

    def __init__(self, plain: socket.socket, deadline: float) -> None:
        self._plain, self._deadline = plain, deadline

    def sendall(self, data: Any) -> None:
        self._plain.settimeout(_left(self._deadline))
        self._plain.sendall(data)

    def makefile(self, mode: str) -> BinaryIO:
        return io.BufferedReader(_Incoming(self._plain, self._deadline))

    def close(self) -> None:
        """Leave the socket open: http.client is done with it before the answer has been read."""


class _Incoming(io.RawIOBase):
    def __init__(self, plain: socket.socket, deadline: float) -> None:
        self._plain, self._deadline = plain, deadline
        self._received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        # Counted here: whoever reads from this may be told by the other side to read without end.
        if self._received > LONGEST_ANSWER + LONGEST_OVERHEAD:
            raise Unreachable(_TOO_LARGE)
        self._plain.settimeout(_left(self._deadline))
        count = self._plain.recv_into(memoryview(buffer))
        self._received += count
        return count


_TOO_LARGE = "the answer is larger than 1 MiB"


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
