"""Pay what lost disputes leave owed: by a person, on the provider's page. Rules: docs/algorithms/payments.md."""

from datetime import datetime, timedelta
from typing import ClassVar

import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import Organization, User
from accounts.services.audit import record_event
from billing.gateways import payment_provider
from billing.models import AccountKind, BillingAccount, LedgerEntry, Payment, Route
from billing.selectors.debts import debts_of
from billing.services.credits import lock_account, lock_cap
from billing.services.ledger import Journal, Line, post
from billing.services.standing import relieve
from portal.lib.errors import DomainError
from portal.lib.money import NANO_PER_CENT, decimal_string

log = structlog.get_logger(__name__)

FIRST_LOOK = timedelta(minutes=10)


class UnableToPayDebt(DomainError):
    code: ClassVar[str] = "unable_to_pay_debt"


@transaction.atomic
def start_debt_payment(*, organization: Organization, user: User, now: datetime) -> Payment:
    """Return a new payment for all that lost disputes leave owed; one that is on its way already is returned.

    Nothing is charged before a person pays on the provider's page. Raises UnableToPayDebt where nothing is owed, less
    than the provider charges, or no provider is set up.
    """
    if not payment_provider.is_configured():
        raise UnableToPayDebt(_("Payments by card are not set up on this portal."))
    lock_cap(organization_id=organization.pk, now=now)
    mine = Payment.objects.owned_by(organization).filter(purpose=Payment.Purpose.DEBT)
    if under_way := mine.unfinished().first():
        return under_way
    cents = debts_of(organization.pk).payable_cents
    if not cents:
        raise UnableToPayDebt(_("Nothing is owed of payments that were taken back."))
    BillingAccount.objects.get_or_create(organization=organization, defaults={"created_at": now})
    payment = Payment.objects.create(
        organization=organization,
        purpose=Payment.Purpose.DEBT,
        amount_cents=cents,
        created_by=user,
        created_at=now,
        look_at=now + FIRST_LOOK,
    )
    record_event(
        "payment.started",
        organization_id=organization.pk,
        target=("payment", payment.public_id),
        changes={"amount": (None, decimal_string(cents * NANO_PER_CENT)), "purpose": (None, payment.purpose)},
        now=now,
    )
    return payment


def pay_debt(payment: Payment, now: datetime) -> None:
    """Let a payment that arrived pay what is owed, and end what is done to who owes it.

    Callers hold the cap's lock and have saved that it succeeded. It gives no credit: what it is for is spent. More than
    is owed stays in the receivable account, below zero, with an alarm.
    """
    lock_account(organization_id=payment.organization_id, now=now)
    line = Line(
        LedgerEntry.Code.PAYMENT,
        Route(AccountKind.CASH_IN_TRANSIT),
        Route(AccountKind.RECEIVABLE),
        payment.amount_cents * NANO_PER_CENT,
    )
    post(Journal(payment.organization_id, f"payment:{payment.public_id}", now, (line,)), now=now)
    if too_much_cents := debts_of(payment.organization_id).too_much_cents:
        log.error("billing.payment.not_owed", payment=payment.public_id, too_much_cents=too_much_cents)
    relieve(organization_id=payment.organization_id, now=now)
