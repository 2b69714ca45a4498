"""A creating request may be repeated: the second time it gets the first answer, and nothing is created.

Claiming, creating and keeping the answer happen in the request's one transaction. A second request with the
same key waits at the unique index until the first commits, then reads its answer; had the first failed, it left
no row and the second does the work.
"""

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from uuid import uuid4

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.db import transaction

from accounts.models import KeptAnswer, Organization
from accounts.retention import ANSWERS
from portal.lib.errors import DomainError

KEPT_FOR = timedelta(days=ANSWERS.days)
LONGEST_KEY = 255


class UnusableIdempotencyKey(DomainError):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "idempotency_key_unusable"


class IdempotencyKeyReused(DomainError):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "idempotency_key_reused"


class AnswerNotYours(DomainError):
    code = "idempotency_answer_sealed"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The row of this request, and the answer of an earlier one with the same key if there was one."""

    row: KeptAnswer
    earlier: Answer | None


@transaction.atomic
def claim_answer(
    *, organization: Organization, route: str, key: str, request_body: bytes, secret: str, now: datetime
) -> Claim:
    """Claim `key` for this request, or find the answer that an earlier request with it got.

    secret: the caller's API key, under which answers are sealed. Waits for a request with the same key that is
    still running. Raises UnusableIdempotencyKey, IdempotencyKeyReused for another body, AnswerNotYours when the
    earlier caller used another API key.
    """
    if not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise UnusableIdempotencyKey(f"An Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters.")
    digest = hashlib.sha256(request_body).digest()
    same_key = KeptAnswer.objects.filter(organization=organization, route=route, key=key)
    same_key.filter(created_at__lte=now - KEPT_FOR).delete()
    mine = KeptAnswer(
        organization=organization,
        route=route,
        key=key,
        claim=uuid4(),
        body_digest=digest,
        content_type="",
        body=b"",
        created_at=now,
    )
    KeptAnswer.objects.bulk_create([mine], ignore_conflicts=True)
    row = same_key.get()
    if row.claim == mine.claim:
        return Claim(row, None)
    if bytes(row.body_digest) != digest:
        raise IdempotencyKeyReused("This Idempotency-Key was used with another body; use a new one.")
    try:
        body = _cipher(secret, key).decrypt(bytes(row.body))
    except InvalidToken as error:
        raise AnswerNotYours("That request was already made, with another API key; its answer is sealed.") from error
    return Claim(row, Answer(row.status or HTTPStatus.OK, row.content_type, body))


@transaction.atomic
def keep_answer(*, claim: Claim, answer: Answer, secret: str) -> None:
    """Keep the answer of a request that created something."""
    row = claim.row
    row.status = answer.status
    row.content_type = answer.content_type
    row.body = _cipher(secret, row.key).encrypt(answer.body)
    row.save(update_fields=["status", "content_type", "body"])


@transaction.atomic
def give_claim_back(*, claim: Claim) -> None:
    """Forget a request that created nothing, so that it may be repeated."""
    claim.row.delete()


def forget_answers(*, now: datetime) -> int:
    """Delete answers older than a day, of every organization that is under no legal hold; return how many."""
    with transaction.atomic():
        old = KeptAnswer.objects.filter(created_at__lte=now - KEPT_FOR)
        return old.exclude(organization__legal_hold=True).delete()[0]


def _cipher(secret: str, key: str) -> Fernet:
    derived = HKDF(SHA256(), 32, salt=None, info=b"idempotency " + key.encode()).derive(secret.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
