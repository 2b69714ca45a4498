"""Take in, make and forget SSH keys."""

import re
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import ClassVar

import asyncssh
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from accounts.models import Organization, User
from accounts.services.audit import record_event
from compute.models import SshKey
from portal.lib.errors import DomainError

# What OpenSSH still takes; RSA below 3072 bits and DSA are broken or nearly so.
SMALLEST_RSA_BITS = 3072
LONGEST_LINE = 16_384
LONGEST_NAME = 80
MAXIMUM_KEYS = 100
KINDS = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)
_LINE = re.compile(r"(?P<kind>[a-z0-9@.-]+) +(?P<blob>[A-Za-z0-9+/]+={0,2})(?: +(?P<comment>[^\x00-\x1f\x7f]*))?")


class InvalidSshKey(DomainError):
    """The text is not one plain public key; str() says what it is and what to do."""

    status: ClassVar[HTTPStatus] = HTTPStatus.UNPROCESSABLE_ENTITY
    code: ClassVar[str] = "invalid_ssh_key"


class PrivateKeyGiven(InvalidSshKey):
    """The text is the private half, which no page may show again."""


class DuplicateSshKey(DomainError):
    """The organization has a key of that name, or that key, already."""

    code: ClassVar[str] = "duplicate"


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """A public key as we encoded it ourselves, with nothing of the original's bytes but its comment."""

    public_key: str
    fingerprint: str
    comment: str


def parse_public_key(text: str) -> ParsedKey:
    """Read one line of an authorized_keys file, or of an id_….pub, and encode it anew.

    Raises InvalidSshKey for anything else: a private key, options such as command=, several lines, a kind or
    size that nobody should use any more.
    """
    line = text.strip(" \t\r\n")
    if not line:
        raise InvalidSshKey(_("Paste the public key: the one line in the file that ends in .pub."))
    if "PRIVATE KEY" in line or line.startswith("PuTTY-User-Key-File"):
        raise PrivateKeyGiven(
            _(
                "This is a private key. It was not stored, but treat it as seen: make a new pair, and paste the"
                " file that ends in .pub."
            )
        )
    if len(line) > LONGEST_LINE:
        raise InvalidSshKey(_("This is too long to be a public key: paste only the line of the .pub file."))
    if "\n" in line or "\r" in line:
        raise InvalidSshKey(_("This is more than one line. Add keys one by one, each as a single line."))
    found = _LINE.fullmatch(line)
    if found is None or found["kind"] not in KINDS:
        raise InvalidSshKey(_refusal_of(line))
    try:
        key = asyncssh.import_public_key(f"{found['kind']} {found['blob']}")
        _refuse_weak(key)
        kind, blob = key.export_public_key().decode().split()[:2]
    except (asyncssh.KeyImportError, ValueError) as error:
        raise InvalidSshKey(_("This public key is damaged: copy the whole line of the .pub file again.")) from error
    # What follows the key in its own encoding would be bytes that nobody checked.
    if blob != found["blob"] or kind != found["kind"]:
        raise InvalidSshKey(_("This public key is damaged: copy the whole line of the .pub file again."))
    return ParsedKey(f"{kind} {blob}", key.get_fingerprint(), (found["comment"] or "").strip()[:LONGEST_NAME])


def _refusal_of(line: str) -> str:
    if any(f"{kind} " in line for kind in KINDS):
        return _("Options before the key, such as command= or from=, are not taken: paste from “ssh-…” on.")
    if line.startswith(("ssh-dss", "---- BEGIN SSH2")):
        return _("This kind of key is not taken. Make one with: ssh-keygen -t ed25519")
    return _("This is not an SSH public key. It starts with “ssh-ed25519” or “ssh-rsa” and is one line.")


def _refuse_weak(key: asyncssh.SSHKey) -> None:
    pair = key.pyca_key
    if isinstance(pair, RSAPublicKey) and pair.key_size < SMALLEST_RSA_BITS:
        raise InvalidSshKey(
            _("This RSA key has %(bits)s bits; use at least 3072, or better: ssh-keygen -t ed25519")
            % {"bits": pair.key_size}
        )


@transaction.atomic
def add_ssh_key(
    *, organization: Organization, name: str, public_key: str, created_by: User | None, now: datetime
) -> SshKey:
    """Store a public key under a name; without a name, under its comment or the end of its fingerprint.

    Raises InvalidSshKey, and DuplicateSshKey when name or key is known already.
    """
    parsed = parse_public_key(public_key)
    name = " ".join(name.split()) or parsed.comment or parsed.fingerprint[-8:]
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise InvalidSshKey(_("A name has at most 80 printable characters."))
    mine = SshKey.objects.owned_by(organization)
    if same := mine.filter(fingerprint=parsed.fingerprint).first():
        raise DuplicateSshKey(_("This key is here already, as “%(name)s”.") % {"name": same.name})
    if mine.filter(name=name).exists():
        raise DuplicateSshKey(_("There is another key named “%(name)s”: choose another name.") % {"name": name})
    if mine.count() >= MAXIMUM_KEYS:
        raise InvalidSshKey(_("An organization has at most 100 SSH keys: delete one that nobody uses."))
    try:
        with transaction.atomic():
            ssh_key = SshKey.objects.create(
                organization=organization,
                name=name,
                public_key=parsed.public_key,
                fingerprint=parsed.fingerprint,
                created_by=created_by,
                created_at=now,
            )
    except IntegrityError as error:
        # Two requests at once; the other was first.
        raise DuplicateSshKey(_("This key or name has just been added.")) from error
    record_event(
        "ssh_key.added",
        organization_id=organization.pk,
        target=("ssh_key", ssh_key.public_id),
        changes={"name": (None, name), "fingerprint": (None, parsed.fingerprint)},
        now=now,
    )
    return ssh_key


@dataclass(frozen=True, slots=True)
class GeneratedKey:
    """A new pair; the private half exists here and in the answer, and nowhere else."""

    ssh_key: SshKey
    private_key: str


def generate_ssh_key(*, organization: Organization, name: str, created_by: User | None, now: datetime) -> GeneratedKey:
    """Make a pair and store its public half. Raises what `add_ssh_key` raises."""
    pair = asyncssh.generate_private_key("ssh-ed25519")
    ssh_key = add_ssh_key(
        organization=organization,
        name=name,
        public_key=pair.export_public_key().decode(),
        created_by=created_by,
        now=now,
    )
    return GeneratedKey(ssh_key, pair.export_private_key().decode())


@transaction.atomic
def delete_ssh_key(*, ssh_key: SshKey, now: datetime) -> None:
    """Forget a key. Running machines keep the keys they were launched with."""
    public_id, facts = ssh_key.public_id, {"name": (ssh_key.name, None), "fingerprint": (ssh_key.fingerprint, None)}
    ssh_key.delete()
    record_event(
        "ssh_key.deleted",
        organization_id=ssh_key.organization_id,
        target=("ssh_key", public_id),
        changes=facts,
        now=now,
    )
