"""Addresses that customers write never lead into our own network (security A3.4, G1), and take five seconds at most."""

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from portal.lib import outbound
from portal.lib.outbound import Unreachable, UnsafeAddress, fetch, is_public, read_url, system_resolver
from tests.doubles.receiver import Receiver, drip, hang, hang_up, in_pieces, receiving, status


@pytest.fixture
def production(settings):
    settings.DEVELOPMENT = False


@pytest.fixture
def canary() -> Iterator[Receiver]:
    """Listens on loopback; whoever is tricked connects to it."""
    with receiving() as receiver:
        yield receiver


# `{port}` is the canary's. What is no address we go to whatever it resolves to.
REFUSED_AS_WRITTEN = [
    "http://127.0.0.1:{port}/",
    "https://127.0.0.1:{port}/",
    "https://localhost:{port}/",
    "https://LOCALHOST:{port}/",
    "https://[::1]:{port}/",
    "https://[::ffff:127.0.0.1]:{port}/",
    "https://[::ffff:7f00:1]:{port}/",
    "https://[0:0:0:0:0:ffff:127.0.0.1]:{port}/",
    "https://[::127.0.0.1]:{port}/",
    "https://[::]:{port}/",
    "https://[64:ff9b::127.0.0.1]:{port}/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[2002:7f00:1::]:{port}/",
    "https://[2001:0:7f00:1::]/",
    "https://[fe80::1]:{port}/",
    "https://[fe80::1%25lo]:{port}/",
    "https://[fd00::1]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
    "https://[3fff::1]/",
    "https://2130706433:{port}/",
    "https://0x7f000001:{port}/",
    "https://017700000001:{port}/",
    "https://0177.0.0.1:{port}/",
    "https://0x7f.0.0.1:{port}/",
    "https://0x7f.1:{port}/",
    "https://127.1:{port}/",
    "https://127.0.1:{port}/",
    "https://127.0.0.1.:{port}/",
    "https://0:{port}/",
    "https://0.0.0.0:{port}/",
    "https://127.000.000.001:{port}/",
    "https://127.0.0.2:{port}/",
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/",
    "https://100.100.100.200/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.0.1/",
    "https://100.64.0.1/",
    "https://192.0.0.1/",
    "https://198.18.0.1/",
    "https://203.0.113.9/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://metadata/",
    "https://instance-data/",
    "https://user@hooks.example.com/",
    "https://user:password@hooks.example.com/",
    "https://hooks.example.com@127.0.0.1:{port}/",
    "https://hooks.example.com:pass@[::1]:{port}/",
    "https://127.0.0.1:{port}#@hooks.example.com/",
    "https://127.0.0.1:{port}\\@hooks.example.com/",
    "https://hooks.example.com\\@127.0.0.1:{port}/",
    "https://①②⑦.⓪.⓪.①:{port}/",
    "https://127。0。0。1:{port}/",
    "https://loc\u00adalhost:{port}/",
    "https://127.0.0.1\t:{port}/",
    "https://127.0.0.1\r\nHost: x/",
    "https://hooks.example.com/\r\nX: y",
    "https://hooks.example.com:22/",
    "https://hooks.example.com:25/",
    "https://hooks.example.com:0/",
    "https://hooks.example.com:65536/",
    "https://hooks.example.com:x/",
    "https:///etc/passwd",
    "https://",
    "https:127.0.0.1:{port}",
    "//127.0.0.1:{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_x",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "ftp://127.0.0.1:{port}/",
    "dict://127.0.0.1:{port}/",
    "jar:https://127.0.0.1:{port}!/",
    "data:text/plain,x",
    "javascript:1",
    "127.0.0.1:{port}",
    "",
    " https://hooks.example.com/",
    "https://hooks..example.com/",
    "https://%6c%6f%63alhost:{port}/",
    "https://hooks.example.com/" + "x" * 500,
]


@pytest.mark.asvs("1.3.6")
@pytest.mark.usefixtures("production")
@pytest.mark.parametrize("written", REFUSED_AS_WRITTEN)
def test_what_is_no_public_address_is_refused_and_nothing_connects(written: str, canary: Receiver):
    with pytest.raises(UnsafeAddress) as refused:
        fetch(read_url(written.replace("{port}", str(canary.port))))

    assert str(refused.value).endswith(".")
    assert canary.connection_count == 0


# What a name may turn out to lead to.
INWARD = [
    ["127.0.0.1"],
    ["::1"],
    ["::ffff:127.0.0.1"],
    ["10.1.2.3"],
    ["169.254.169.254"],
    ["fd00:ec2::254"],
    ["64:ff9b::7f00:1"],
    ["0.0.0.0"],  # noqa: S104  # nothing listens there
    ["fe80::1%lo"],
    # One that is public does not make up for one that is not.
    ["93.184.215.14", "127.0.0.1"],
    ["127.0.0.1", "2606:4700::1111"],
]


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize("addresses", INWARD, ids=", ".join)
def test_a_name_that_leads_inward_is_refused_and_nothing_connects(addresses: list[str], canary: Receiver):
    target = read_url(f"https://hooks.example.com:{canary.port}/")

    with pytest.raises(UnsafeAddress, match="not a public one"):
        fetch(target, resolve=lambda host, port: addresses)

    assert canary.connection_count == 0


@pytest.mark.usefixtures("production")
def test_a_name_is_asked_for_once_so_that_a_second_answer_cannot_lead_elsewhere(
    monkeypatch: pytest.MonkeyPatch, canary: Receiver
):
    """Rebinding: the name server says a public address to whoever looks, and loopback to whoever connects."""
    answers = [["93.184.215.14"], ["127.0.0.1"]]
    connected: list[str] = []

    def refuse(address: tuple[str, int], timeout: float) -> None:
        connected.append(address[0])
        raise ConnectionRefusedError

    # The one stand-in: the suite has no way out to a public address.
    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(Unreachable, match="refused"):
        fetch(read_url(f"https://hooks.example.com:{canary.port}/"), resolve=lambda host, port: answers.pop(0))

    assert connected == ["93.184.215.14"]
    assert answers == [["127.0.0.1"]]
    assert canary.connection_count == 0


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001:80b::200e"])
def test_public_hosts_are_public(address: str):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize(
    ("written", "host", "port", "path"),
    [
        ("https://hooks.example.com", "hooks.example.com", 443, "/"),
        ("https://Hooks.Example.com:8443/a/b?c=d", "hooks.example.com", 8443, "/a/b?c=d"),
        ("https://xn--mnchen-3ya.example/", "xn--mnchen-3ya.example", 443, "/"),
        ("https://8.8.8.8/", "8.8.8.8", 443, "/"),
        ("https://[2606:4700:4700::1111]/", "2606:4700:4700::1111", 443, "/"),
    ],
)
def test_public_addresses_are_read(written: str, host: str, port: int, path: str):
    target = read_url(written)

    assert (target.host, target.port, target.path, target.is_tls) == (host, port, path, True)


# --- What comes back ------------------------------------------------------------------------------
# Development allows http:// to this machine, which is where the receivers are.


def test_an_answer_comes_back_with_status_headers_and_body(canary: Receiver):
    canary.replies.append(status(201, b"made", ETag="x"))

    answer = fetch(read_url(canary.url + "?a=b"), method="POST", body=b"{}", headers={"X-Test": "1"})

    assert (answer.status, answer.body, answer.headers["etag"], answer.is_success) == (201, b"made", "x", True)
    [received] = canary.received
    assert (received.method, received.path, received.body) == ("POST", "/hook?a=b", b"{}")
    assert (received.headers["x-test"], received.headers["host"]) == ("1", f"127.0.0.1:{canary.port}")


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(code: int, canary: Receiver):
    with receiving() as redirector:
        redirector.replies.append(status(code, Location=canary.url))

        answer = fetch(read_url(redirector.url))

    assert (answer.status, answer.is_success) == (code, False)
    assert canary.connection_count == 0


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch, canary: Receiver):
    with receiving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert fetch(read_url(canary.url)).is_success

    assert proxy.connection_count == 0


@pytest.mark.parametrize("misbehave", [hang, drip])
def test_whoever_says_nothing_or_never_ends_is_left(misbehave, monkeypatch: pytest.MonkeyPatch, canary: Receiver):
    monkeypatch.setattr(outbound, "LONGEST_SECONDS", 1)
    released = threading.Event()
    canary.replies.append(misbehave(released))
    try:
        with pytest.raises(Unreachable, match="within 1 seconds"):
            fetch(read_url(canary.url))
    finally:
        released.set()


def test_a_name_server_that_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch, canary: Receiver):
    monkeypatch.setattr(outbound, "LONGEST_SECONDS", 1)
    released = threading.Event()

    def resolve(host: str, port: int) -> list[str]:
        released.wait(30)
        return ["127.0.0.1"]

    try:
        with pytest.raises(Unreachable, match="resolved in time"):
            fetch(read_url(canary.url), resolve=resolve)
    finally:
        released.set()
    assert canary.connection_count == 0


def test_what_is_no_answer_is_said_in_words(canary: Receiver):
    canary.replies.append(hang_up)
    with pytest.raises(Unreachable, match="ended without an answer"):
        fetch(read_url(canary.url))

    canary.replies.append(status(200, b"x" * (outbound.LONGEST_ANSWER + 1)))
    with pytest.raises(Unreachable, match="larger than 1 MiB"):
        fetch(read_url(canary.url))
    canary.replies.append(status(200, b"x" * outbound.LONGEST_ANSWER))
    assert len(fetch(read_url(canary.url)).body) == outbound.LONGEST_ANSWER


@pytest.mark.parametrize(("size", "words"), [("-1", "larger than 1 MiB"), ("-5", "without an answer")])
def test_pieces_of_less_than_nothing_are_neither_read_without_end_nor_a_failure(
    size: str, words: str, canary: Receiver
):
    canary.replies.append(in_pieces(size, b"x" * 16 * outbound.LONGEST_ANSWER))
    with pytest.raises(Unreachable, match=words):
        fetch(read_url(canary.url))


def test_nobody_there_and_no_such_name_are_said_in_words():
    with receiving() as gone:
        url = gone.url
    with pytest.raises(Unreachable, match="refused"):
        fetch(read_url(url))

    def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(Unreachable, match="not known"):
        fetch(read_url("https://hooks.example.com/"), resolve=unknown)
    with pytest.raises(Unreachable, match="not known"):
        fetch(read_url("https://hooks.example.com/"), resolve=lambda host, port: [])


def test_development_reaches_its_own_machine_and_no_other_place_inside():
    assert read_url("http://localhost:8000/").is_loopback
    assert system_resolver("127.0.0.1", 80) == ["127.0.0.1"]
    for inside in ("http://10.0.0.1/", "https://10.0.0.1/", "http://hooks.example.com/", "https://127.0.0.2/"):
        with pytest.raises(UnsafeAddress):
            read_url(inside)
    with pytest.raises(UnsafeAddress):
        fetch(read_url("http://localhost:8000/"), resolve=lambda host, port: ["10.0.0.1"])


# --- TLS ------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """Return a self-signed certificate for a host's name, and a server that shows it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, SHA256())
    )
    file = folder / f"{name}.pem"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(pem + made.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return file, context


def test_a_certificate_is_checked_for_the_name_and_not_for_the_address(tmp_path: Path):
    file, served = certificate(tmp_path, "localhost")
    _, other = certificate(tmp_path, "hooks.example.com")
    trusting = ssl.create_default_context(cafile=str(file))
    trusting.load_verify_locations(tmp_path / "hooks.example.com.pem")

    with receiving(tls=served) as receiver:
        target = read_url(f"https://localhost:{receiver.port}/hook")
        assert fetch(target, tls=trusting, resolve=lambda host, port: ["127.0.0.1"]).status == 204
        with pytest.raises(Unreachable, match="certificate"):
            fetch(target, resolve=lambda host, port: ["127.0.0.1"])
        assert len(receiver.received) == 1
    with receiving(tls=other) as receiver:
        target = read_url(f"https://localhost:{receiver.port}/hook")
        with pytest.raises(Unreachable, match="certificate"):
            fetch(target, tls=trusting, resolve=lambda host, port: ["127.0.0.1"])
        assert not receiver.received
