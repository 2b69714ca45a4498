# Long because all that is asked of the payment provider is here, and nothing else may import its library.
"""Stripe, in the words of the portal: everything that we ask of it, and the signature of what it sends.

Nothing else imports `stripe`. Amounts are integers of cents in USD. Objects are read, never trusted from a message.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import msgspec
import stripe
from django.conf import settings

# Which fields objects have. Pinned here and at the webhook's endpoint, so that a new library changes nothing by itself.
API_VERSION = "2026-10-28.endive"
CURRENCY = "usd"
# Under which names our public ids are noted in the provider's objects.
PAYMENT = "payment"
REFUND = "refund"
ORGANIZATION = "organization"
# Our own caller is told in time that the provider hangs; the same key is asked again later.
TIMEOUT_SECONDS = 10
RETRIES = 1
TOLERANCE = timedelta(minutes=5)


class ProviderTrouble(Exception):
    """The provider did not answer, or has trouble of its own: ask again later.

    is_answer: it answered, and answers the same to the same key for a day, whether or not it did what was asked. Look
    for it, and ask under another key. Otherwise the same key finds out.
    """

    def __init__(self, message: str, *, is_answer: bool) -> None:
        self.is_answer = is_answer
        super().__init__(message)


class ProviderRefusal(Exception):
    """The provider says no, and will again. `code` is its own, empty where it has none."""

    def __init__(self, message: str, code: str) -> None:
        self.code = code
        super().__init__(message)


class BadSignature(Exception):
    """A message is not from the provider, or is too old."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """A hosted page on which a customer pays. url: None once it is over."""

    session_id: str
    url: str | None


@dataclass(frozen=True, slots=True)
class PaymentSeen:
    """What the provider says of a payment at the moment.

    status: open, expired or complete, of the hosted page. intent_status: of the money, empty before the first try.
    received_cents: what has arrived. failure: the provider's word for why the last try failed. A payment without a page
    has neither session nor status.
    """

    payment_id: str
    session_id: str
    status: str
    intent_id: str | None
    intent_status: str
    received_cents: int
    currency: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class RefundSeen:
    """What the provider says of a refund at the moment.

    refund_id: our public id, empty where somebody made it at the provider by hand. status: pending, requires_action,
    succeeded, failed or canceled.
    """

    refund_id: str
    stripe_id: str
    intent_id: str
    status: str
    amount_cents: int
    currency: str


@dataclass(frozen=True, slots=True)
class DisputeSeen:
    """What the provider says of a dispute at the moment, in its words. due_by: until when it is answered."""

    stripe_id: str
    intent_id: str
    status: str
    reason: str
    amount_cents: int
    due_by: datetime | None


@dataclass(frozen=True, slots=True)
class FraudWarningSeen:
    """What a bank fears of a payment. is_actionable: it was neither refunded nor disputed before."""

    stripe_id: str
    intent_id: str
    is_actionable: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What speaks for a payment: texts for people at a bank."""

    product_description: str
    customer_name: str
    customer_email: str
    service_date: str
    access_log: str
    text: str


@dataclass(frozen=True, slots=True)
class CardSeen:
    """A card that the provider keeps for a customer."""

    stripe_id: str
    brand: str
    last_four: str
    expires_month: int
    expires_year: int


@dataclass(frozen=True, slots=True)
class Told:
    """A message of the provider: which of its objects something happened to."""

    event_id: str
    type: str
    object_id: str
    api_version: str
    is_live: bool
    created_at: datetime


def is_configured() -> bool:
    return bool(settings.STRIPE_SECRET_KEY)


def hears_messages() -> bool:
    """Whether there is a secret by which the provider's messages are known."""
    return is_configured() and bool(settings.STRIPE_WEBHOOK_SECRETS)


def is_live() -> bool:
    """Whether real money moves."""
    return "_live_" in str(settings.STRIPE_SECRET_KEY)


def create_customer(*, name: str, organization_id: str, idempotency_key: str) -> str:
    """Return the provider's id of a new customer; the same one for the same key within a day."""
    with _asking():
        given: Any = {"name": name, "metadata": {ORGANIZATION: organization_id}}
        return _client().v1.customers.create(given, options={"idempotency_key": idempotency_key}).id


def find_customer(*, organization_id: str, since: datetime) -> str | None:
    """Return the provider's id of the customer that was made for an organization since then, None without one."""
    with _asking():
        given: Any = {"created": {"gte": int(since.timestamp())}, "limit": 100}
        for customer in _client().v1.customers.list(given).auto_paging_iter():
            if _noted(customer, ORGANIZATION) == organization_id:
                return customer.id
    return None


def find_checkout(*, payment_id: str, customer_id: str) -> Checkout | None:
    """Return the hosted page that was opened for a payment, None without one."""
    with _asking():
        given: Any = {"customer": customer_id, "limit": 100}
        for session in _client().v1.checkout.sessions.list(given).auto_paging_iter():
            if _noted(session, PAYMENT) == payment_id:
                return Checkout(session.id, session.url)
    return None


def open_checkout(
    *,
    payment_id: str,
    customer_id: str,
    amount_cents: int,
    description: str,
    success_url: str,
    cancel_url: str,
    idempotency_key: str,
) -> Checkout:
    """Return a new hosted page for one payment by card; the same one for the same key within a day."""
    item = {
        "quantity": 1,
        "price_data": {"currency": CURRENCY, "unit_amount": amount_cents, "product_data": {"name": description}},
    }
    given: Any = {
        "mode": "payment",
        "customer": customer_id,
        "line_items": [item],
        "allowed_payment_method_types": ["card"],
        "success_url": success_url,
        "cancel_url": cancel_url,
        "client_reference_id": payment_id,
        "metadata": {PAYMENT: payment_id},
        "payment_intent_data": {"metadata": {PAYMENT: payment_id}},
    }
    with _asking():
        session = _client().v1.checkout.sessions.create(given, options={"idempotency_key": idempotency_key})
        return Checkout(session.id, session.url)


def read_checkout(session_id: str) -> tuple[Checkout, PaymentSeen]:
    """Return the hosted page and what has come of its payment."""
    with _asking():
        session = _client().v1.checkout.sessions.retrieve(session_id, {"expand": ["payment_intent"]})
        return Checkout(session.id, session.url), _seen(session)


def close_checkout(session_id: str) -> None:
    """Let nobody pay on a hosted page any more. One that is over stays as it is."""
    try:
        with _asking():
            _client().v1.checkout.sessions.expire(session_id)
    except ProviderRefusal:
        # Paid or over meanwhile: whoever asks how it stands learns which.
        return


def create_intent(
    *, payment_id: str, customer_id: str, card_id: str, amount_cents: int, idempotency_key: str
) -> PaymentSeen:
    """Prepare the charge of a kept card; nothing is charged before it is confirmed, which is done once."""
    given: Any = {
        "amount": amount_cents,
        "currency": CURRENCY,
        "customer": customer_id,
        "payment_method": card_id,
        "allowed_payment_method_types": ["card"],
        "metadata": {PAYMENT: payment_id},
    }
    with _asking():
        made = _client().v1.payment_intents.create(given, options={"idempotency_key": idempotency_key})
    # A repeated key gives the answer of then.
    return read_intent(made.id)


def find_intent(*, payment_id: str, customer_id: str) -> PaymentSeen | None:
    """Return the charge that was prepared for a payment, None without one."""
    with _asking():
        given: Any = {"customer": customer_id, "limit": 100}
        for intent in _client().v1.payment_intents.list(given).auto_paging_iter():
            if _noted(intent, PAYMENT) == payment_id:
                return _intent_seen(intent)
    return None


def read_intent(intent_id: str) -> PaymentSeen:
    """Return what has come of a charge without a page."""
    with _asking():
        return _intent_seen(_client().v1.payment_intents.retrieve(intent_id))


def confirm_intent(intent_id: str) -> PaymentSeen:
    """Charge the card without its holder; whether it worked says what is returned."""
    try:
        with _asking():
            _client().v1.payment_intents.confirm(intent_id, {"off_session": True})
    except ProviderRefusal:
        # Declined, or somebody confirmed it at the same moment: the intent knows.
        pass
    return read_intent(intent_id)


def cancel_intent(intent_id: str) -> PaymentSeen:
    """Let nobody pay a charge any more, and return what has come of it. One that is over stays as it is."""
    try:
        with _asking():
            _client().v1.payment_intents.cancel(intent_id)
    except ProviderRefusal:
        pass
    return read_intent(intent_id)


def payment_of(kind: str, object_id: str) -> str | None:
    """Return the public id of the payment that one of the provider's objects belongs to; None for those of no payment.

    kind: the type of a message about it, such as checkout.session.completed.
    """
    with _asking():
        found: Any
        if kind.startswith("checkout.session."):
            found = _client().v1.checkout.sessions.retrieve(object_id)
        elif kind.startswith("payment_intent."):
            found = _client().v1.payment_intents.retrieve(object_id)
        else:
            return None
        return _noted(found, PAYMENT)


def open_setup(
    *, customer_id: str, organization_id: str, success_url: str, cancel_url: str, idempotency_key: str
) -> str | None:
    """Return the address of a hosted page that keeps a card, the same for the same key within a day; None once over."""
    given: Any = {
        "mode": "setup",
        "currency": CURRENCY,
        "customer": customer_id,
        "allowed_payment_method_types": ["card"],
        "success_url": success_url,
        "cancel_url": cancel_url,
        "metadata": {ORGANIZATION: organization_id},
    }
    with _asking():
        made = _client().v1.checkout.sessions.create(given, options={"idempotency_key": idempotency_key})
        # A repeated key gives the answer of then.
        return _client().v1.checkout.sessions.retrieve(made.id).url


def open_portal(*, customer_id: str, return_url: str) -> str:
    """Return the address of the provider's own pages for a customer, good for some minutes."""
    with _asking():
        given: Any = {"customer": customer_id, "return_url": return_url}
        return _client().v1.billing_portal.sessions.create(given).url


def cards_of(customer_id: str) -> list[CardSeen]:
    """Return the cards that are kept for a customer, oldest first."""
    with _asking():
        given: Any = {"customer": customer_id, "type": "card", "limit": 100}
        cards = [_card_seen(found) for found in _client().v1.payment_methods.list(given).auto_paging_iter()]
        return cards[::-1]


def detach_card(stripe_id: str) -> None:
    """Let a card be forgotten. One that is forgotten stays so."""
    with _asking():
        if _id_of(_client().v1.payment_methods.retrieve(stripe_id).customer):
            _client().v1.payment_methods.detach(stripe_id)


def customer_of_card(stripe_id: str) -> str:
    """Return the provider's id of the customer that a card is kept for, empty for none."""
    with _asking():
        return _id_of(_client().v1.payment_methods.retrieve(stripe_id).customer)


def organization_of_setup(session_id: str) -> str | None:
    """Return the public id of the organization for which a hosted page keeps a card; None for a page of a payment."""
    with _asking():
        session = _client().v1.checkout.sessions.retrieve(session_id)
        return _noted(session, ORGANIZATION) if session.mode == "setup" else None


def refund(*, refund_id: str, intent_id: str, amount_cents: int, idempotency_key: str) -> RefundSeen:
    """Send part of a payment back to its card; the same refund for the same key within a day."""
    given: Any = {"payment_intent": intent_id, "amount": amount_cents, "metadata": {REFUND: refund_id}}
    with _asking():
        return _refund_seen(_client().v1.refunds.create(given, options={"idempotency_key": idempotency_key}))


def read_refund(stripe_id: str) -> RefundSeen:
    with _asking():
        return _refund_seen(_client().v1.refunds.retrieve(stripe_id))


def refunds_of(*, intent_id: str) -> list[RefundSeen]:
    """Return all refunds of a payment, newest first."""
    with _asking():
        given: Any = {"payment_intent": intent_id, "limit": 100}
        return [_refund_seen(found) for found in _client().v1.refunds.list(given).auto_paging_iter()]


def find_refund(*, refund_id: str, intent_id: str) -> RefundSeen | None:
    """Return the refund that was made under one of our public ids, None without one."""
    return next((seen for seen in refunds_of(intent_id=intent_id) if seen.refund_id == refund_id), None)


def read_dispute(stripe_id: str) -> DisputeSeen:
    with _asking():
        return _dispute_seen(_client().v1.disputes.retrieve(stripe_id))


def read_fraud_warning(stripe_id: str) -> FraudWarningSeen:
    with _asking():
        found = _client().v1.radar.early_fraud_warnings.retrieve(stripe_id)
        return FraudWarningSeen(found.id, _id_of(found.payment_intent), found.actionable)


def send_evidence(stripe_id: str, evidence: Evidence, *, idempotency_key: str) -> DisputeSeen:
    """Answer a dispute, which is done once, and return how it stands then."""
    texts = {
        "product_description": evidence.product_description,
        "customer_name": evidence.customer_name,
        "customer_email_address": evidence.customer_email,
        "service_date": evidence.service_date,
        "access_activity_log": evidence.access_log,
        "uncategorized_text": evidence.text,
    }
    given: Any = {"evidence": {name: text for name, text in texts.items() if text}, "submit": True}
    with _asking():
        return _dispute_seen(
            _client().v1.disputes.update(stripe_id, given, options={"idempotency_key": idempotency_key})
        )


def intent_of_charge(charge_id: str) -> str:
    """Return the provider's id of the payment that a charge belongs to, empty for one of none."""
    with _asking():
        return _id_of(_client().v1.charges.retrieve(charge_id).payment_intent)


def messages_since(instant: datetime) -> Iterator[Told]:
    """Yield what the provider has told or should have told since then, newest first."""
    with _asking():
        given: Any = {"created": {"gte": int(instant.timestamp())}, "limit": 100}
        for event in _client().v1.events.list(given).auto_paging_iter():
            yield _told(event.to_dict())


def read_message(body: bytes, signature: str) -> Told:
    """Return what a message tells, after checking that the provider signed it within the last five minutes.

    Raises BadSignature, and ValueError for a signed body that is no message.
    """
    # The library compares letters of ASCII alone.
    for secret in settings.STRIPE_WEBHOOK_SECRETS if signature.isascii() else ():
        try:
            stripe.WebhookSignature.verify_header(
                body.decode(), signature, secret, tolerance=int(TOLERANCE.total_seconds())
            )
        except (stripe.SignatureVerificationError, UnicodeDecodeError):
            continue
        try:
            return _told(msgspec.json.decode(body))
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError("not JSON") from error
    raise BadSignature


@lru_cache(maxsize=4)
def _client_of(key: str, address: str) -> stripe.StripeClient:
    return stripe.StripeClient(
        key,
        stripe_version=API_VERSION,
        base_addresses={"api": address} if address else {},
        max_network_retries=RETRIES,
        http_client=stripe.RequestsClient(timeout=TIMEOUT_SECONDS),
    )


def _client() -> stripe.StripeClient:
    return _client_of(settings.STRIPE_SECRET_KEY, settings.STRIPE_API_URL)


@contextmanager
def provider() -> Iterator[stripe.StripeClient]:
    """Yield the provider's client to a module beside this one. Raises ProviderTrouble, ProviderRefusal."""
    with _asking():
        yield _client()


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except (stripe.APIConnectionError, stripe.RateLimitError) as error:
        raise ProviderTrouble(type(error).__name__, is_answer=False) from error
    except stripe.StripeError as error:
        status = error.http_status or HTTPStatus.INTERNAL_SERVER_ERROR
        # A conflict: the same was asked a moment ago and is still on its way.
        if status == HTTPStatus.CONFLICT or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            is_answer = status != HTTPStatus.CONFLICT
            raise ProviderTrouble(f"{type(error).__name__} {status}", is_answer=is_answer) from error
        raise ProviderRefusal(str(error.user_message or error), error.code or "") from error


def _noted(found: Any, name: str) -> str | None:
    noted = found.metadata.to_dict().get(name) if found.metadata else None
    return str(noted) if noted else None


def _seen(session: Any) -> PaymentSeen:
    intent = session.payment_intent
    return PaymentSeen(
        payment_id=_noted(session, PAYMENT) or "",
        session_id=session.id,
        status=session.status or "",
        intent_id=intent.id if intent else None,
        intent_status=intent.status if intent else "",
        received_cents=intent.amount_received if intent else 0,
        currency=intent.currency if intent else session.currency,
    )


def _refund_seen(found: Any) -> RefundSeen:
    return RefundSeen(
        refund_id=_noted(found, REFUND) or "",
        stripe_id=found.id,
        intent_id=_id_of(found.payment_intent),
        status=found.status or "",
        amount_cents=found.amount,
        currency=found.currency,
    )


def _card_seen(found: Any) -> CardSeen:
    card = found.card
    return CardSeen(found.id, card.brand or "", card.last4 or "", card.exp_month, card.exp_year)


def _dispute_seen(found: Any) -> DisputeSeen:
    due = found.evidence_details.due_by if found.evidence_details else None
    return DisputeSeen(
        stripe_id=found.id,
        intent_id=_id_of(found.payment_intent),
        status=found.status,
        reason=found.reason or "",
        amount_cents=found.amount,
        due_by=datetime.fromtimestamp(due, UTC) if due else None,
    )


def _id_of(found: Any) -> str:
    """Return the id of an object that is named or given whole; empty for none."""
    return "" if found is None else found if isinstance(found, str) else str(found.id)


def _intent_seen(intent: Any) -> PaymentSeen:
    error = intent.last_payment_error
    return PaymentSeen(
        payment_id=_noted(intent, PAYMENT) or "",
        session_id="",
        status="",
        intent_id=intent.id,
        intent_status=intent.status,
        received_cents=intent.amount_received,
        currency=intent.currency,
        failure=(error.decline_code or error.code or "") if error else "",
    )


class _Object(msgspec.Struct):
    id: str = ""


class _Data(msgspec.Struct):
    object: _Object


class _Event(msgspec.Struct):
    id: str
    type: str
    created: int
    data: _Data
    livemode: bool = False
    api_version: str | None = None


def _told(raw: Any) -> Told:
    try:
        event = msgspec.convert(raw, _Event)
    except msgspec.ValidationError as error:
        raise ValueError("not a message of the provider") from error
    return Told(
        event_id=event.id,
        type=event.type,
        object_id=event.data.object.id,
        api_version=event.api_version or "",
        is_live=event.livemode,
        created_at=datetime.fromtimestamp(event.created, UTC),
    )
