"""SSH keys: what is stored, and what is refused with which reason."""

import os
import random
from datetime import UTC, datetime
from functools import partial

import asyncssh
import pytest

from compute.models import SshKey
from compute.services.ssh_keys import (
    DuplicateSshKey,
    InvalidSshKey,
    add_ssh_key,
    delete_ssh_key,
    generate_ssh_key,
    parse_public_key,
)
from tests.factories.accounts import make_organization

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PAIR = asyncssh.generate_private_key("ssh-ed25519", comment="me@laptop")
LINE = PAIR.export_public_key().decode().strip()
MUTANTS = 10_000 if os.environ.get("PROVE") else 1_500
PLAIN = " ".join(LINE.split()[:2])


def test_keeps_only_what_it_encoded_itself():
    parsed = parse_public_key(f"\n  {LINE}\r\n")

    assert parsed.public_key == PLAIN
    assert parsed.fingerprint == PAIR.get_fingerprint()
    assert parsed.comment == "me@laptop"


@pytest.mark.parametrize("algorithm", ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp521"])
def test_takes_the_other_kinds_that_openssh_takes(algorithm):
    pair = asyncssh.generate_private_key(algorithm)

    assert parse_public_key(pair.export_public_key().decode()).fingerprint == pair.get_fingerprint()


REFUSED = {
    "": "Paste the public key",
    PAIR.export_private_key().decode(): "This is a private key",
    "PuTTY-User-Key-File-3: ssh-ed25519": "This is a private key",
    f'command="rm -rf /" {PLAIN}': "Options before the key",
    f"no-pty,permitopen=any {PLAIN}": "Options before the key",
    f'from="*"\t{PLAIN}': "Options before the key",
    f"{PLAIN}\n{PLAIN}": "more than one line",
    f"{PLAIN}\r{PLAIN}": "more than one line",
    f"{PLAIN} comment\x00": "not an SSH public key|Options before",
    "ssh-dss AAAAB3NzaC1kc3M=": "This kind of key is not taken",
    "ssh-ed25519 AAAA": "damaged",
    f"{PLAIN[:-4]}": "damaged",
    f"ssh-rsa {PLAIN.split()[1]}": "damaged",
    "x" * 65_536: "too long",
    "hello": "not an SSH public key",
    "ssh-ed25519-cert-v01@openssh.com AAAA": "not an SSH public key",
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.items(), ids=range(len(REFUSED)))
def test_refuses_everything_else_and_says_what_it_is(text, reason):
    with pytest.raises(InvalidSshKey, match=reason):
        parse_public_key(text)


def test_refuses_a_short_rsa_key():
    pair = asyncssh.generate_private_key("ssh-rsa", key_size=2048)

    with pytest.raises(InvalidSshKey, match="2048 bits"):
        parse_public_key(pair.export_public_key().decode())


def test_stores_no_byte_that_it_did_not_encode_whatever_is_mutated():
    """The mutants of the security corpus: flips, cuts, insertions of what shells and sshd care about (G4)."""
    r = random.Random(7)
    poison = ["\n", "\r\n", " ", "\t", "\x00", ",", '"', "command=", "restrict ", "\u2028", "=", "#", "AAAA"]
    stored = 0
    for _ in range(MUTANTS):
        text = LINE
        for _ in range(r.randint(1, 3)):
            at = r.randrange(len(text) + 1)
            text = r.choice([text[:at] + r.choice(poison) + text[at:], text[:at] + text[at + 1 :], text[:at]])
        try:
            parsed = parse_public_key(text)
        except InvalidSshKey:
            continue
        stored += 1
        key = asyncssh.import_public_key(parsed.public_key)
        assert parsed.public_key == " ".join(key.export_public_key().decode().split()[:2])
        assert parsed.public_key.isascii()
        assert parsed.public_key.isprintable()
    # Mistakes in the comment alone leave a good key.
    assert 0 < stored < MUTANTS


@pytest.mark.django_db
def test_adds_a_key_once_under_one_name():
    organization = make_organization()
    add = partial(add_ssh_key, organization=organization, created_by=None, now=NOW)

    ssh_key = add(name="", public_key=LINE)

    assert (ssh_key.name, ssh_key.public_key) == ("me@laptop", PLAIN)
    with pytest.raises(DuplicateSshKey, match="me@laptop"):
        add(name="other", public_key=LINE)
    another = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    with pytest.raises(DuplicateSshKey, match="another name"):
        add(name="me@laptop", public_key=another)
    assert SshKey.objects.count() == 1


@pytest.mark.django_db
def test_makes_a_pair_and_keeps_only_the_public_half():
    made = generate_ssh_key(organization=make_organization(), name="ci", created_by=None, now=NOW)

    private = asyncssh.import_private_key(made.private_key)
    assert private.get_fingerprint() == made.ssh_key.fingerprint
    assert "PRIVATE" not in SshKey.objects.get().public_key

    delete_ssh_key(ssh_key=made.ssh_key, now=NOW)
    assert not SshKey.objects.exists()
