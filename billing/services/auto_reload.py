"""Buy credit by itself when it runs low. Rules: docs/algorithms/payments.md."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

import structlog
from django.db import transaction
from django.db.models import Sum
from django.utils.translation import gettext as _

from accounts.models import Organization, User
from accounts.services.audit import changed, record_event
from billing.models import AutoReload, BillingAccount, Payment, PaymentMethod, SpendCap
from billing.selectors.disputes import is_disputed
from billing.services.credits import lock_cap
from billing.services.top_ups import LARGEST_CENTS, SMALLEST_CENTS
from portal.lib.batches import one_by_one
from portal.lib.context import PORTAL
from portal.lib.errors import DomainError
from portal.lib.jobs import enqueue
from portal.lib.money import NANO_PER_CENT, decimal_string, display_usd
from portal.lib.periods import month_of

log = structlog.get_logger(__name__)

# However fast credit is spent, it buys no more than once in so long.
REST = timedelta(hours=1)
LARGEST_CEILING_CENTS = 100_000_00


class UnableToReload(DomainError):
    code: ClassVar[str] = "unable_to_reload"


@dataclass(frozen=True, slots=True)
class ReloadTerms:
    """When less than the threshold is left, buy the amount; in a UTC month no more than the ceiling. USD cents."""

    is_on: bool
    threshold_cents: int
    amount_cents: int
    ceiling_cents: int


@transaction.atomic
def set_auto_reload(*, organization: Organization, terms: ReloadTerms, by: User, now: datetime) -> AutoReload:
    """Turn the auto-reload on or off, or change its amounts; what changes nothing is left as it is.

    Failures before a change are forgotten. Raises UnableToReload.
    """
    _refuse_bad(terms)
    lock_cap(organization_id=organization.pk, now=now)
    if terms.is_on and not PaymentMethod.objects.owned_by(organization).usable().exists():
        raise UnableToReload(_("Add a card first: it is charged when credit runs low."))
    before = AutoReload.objects.owned_by(organization).first()
    if before is not None and terms == _terms_of(before):
        return before
    reload, _made = AutoReload.objects.update_or_create(
        organization=organization,
        defaults={
            "is_on": terms.is_on,
            "threshold_cents": terms.threshold_cents,
            "amount_cents": terms.amount_cents,
            "ceiling_cents": terms.ceiling_cents,
            "failure_count": 0,
            "off_because": "" if terms.is_on else AutoReload.Why.PERSON,
            "changed_by": by,
            "changed_at": now,
        },
    )
    record_event(
        "auto_reload.changed",
        organization_id=organization.pk,
        target=("organization", organization.public_id),
        changes=changed(
            is_on=(before.is_on if before else False, terms.is_on),
            threshold=(_usd(before.threshold_cents) if before else None, _usd(terms.threshold_cents)),
            amount=(_usd(before.amount_cents) if before else None, _usd(terms.amount_cents)),
            ceiling=(_usd(before.ceiling_cents) if before else None, _usd(terms.ceiling_cents)),
        ),
        now=now,
    )
    return reload


def start_reloads(*, now: datetime) -> int:
    """Begin a payment for every organization whose credit runs low and that wants it; return how many.

    For the platform role: each organization in a transaction of its own.
    """
    return one_by_one(
        AutoReload.objects.rested(now - REST).values_list("organization_id", flat=True),
        lambda pk: start_reload(organization_id=pk, now=now) is not None,
        lambda pk: log.exception("billing.auto_reload_not_begun", organization_id=pk),
    )


@transaction.atomic
def start_reload(*, organization_id: int, now: datetime) -> Payment | None:
    """Begin to charge the default card if credit runs low and all that limits it allows; else return None.

    One is under way at most, one is begun in an hour, and what it bought in a UTC month stays within the ceiling.
    """
    cap = lock_cap(organization_id=organization_id, now=now)
    rested = AutoReload.objects.of_organization(organization_id).rested(now - REST)
    reload = rested.select_for_update(no_key=True, of=("self",)).select_related("organization").first()
    if reload is None or not _is_due(reload, cap, now):
        return None
    card = PaymentMethod.objects.of_organization(organization_id).usable().first()
    if card is None:
        return None
    BillingAccount.objects.get_or_create(organization_id=organization_id, defaults={"created_at": now})
    payment = Payment.objects.create(
        organization_id=organization_id,
        purpose=Payment.Purpose.RELOAD,
        card=card,
        amount_cents=reload.amount_cents,
        created_at=now,
        look_at=now,
    )
    reload.tried_at = now
    reload.save(update_fields=["tried_at"])
    enqueue("billing.read_payment", payment_id=payment.pk)
    record_event(
        "payment.started",
        organization_id=organization_id,
        target=("payment", payment.public_id),
        changes={"amount": (None, _usd(payment.amount_cents)), "purpose": (None, payment.purpose)},
        actor=PORTAL,
        now=now,
    )
    return payment


def _is_due(reload: AutoReload, cap: SpendCap, now: datetime) -> bool:
    if cap.remaining_nano >= reload.threshold_cents * NANO_PER_CENT or is_disputed(reload.organization):
        return False
    mine = Payment.objects.filter(organization_id=reload.organization_id, purpose=Payment.Purpose.RELOAD)
    if mine.unfinished().exists():
        return False
    bought = mine.filter(created_at__gte=month_of(now).start, state=Payment.State.SUCCEEDED)
    bought_cents = bought.aggregate(Sum("amount_cents"))["amount_cents__sum"] or 0
    return bool(bought_cents + reload.amount_cents <= reload.ceiling_cents)


def _terms_of(reload: AutoReload) -> ReloadTerms:
    return ReloadTerms(reload.is_on, reload.threshold_cents, reload.amount_cents, reload.ceiling_cents)


def _refuse_bad(terms: ReloadTerms) -> None:
    smallest, largest = (display_usd(cents * NANO_PER_CENT) for cents in (SMALLEST_CENTS, LARGEST_CENTS))
    if not SMALLEST_CENTS <= terms.amount_cents <= LARGEST_CENTS:
        raise UnableToReload(
            _("It buys between %(smallest)s and %(largest)s at once.") % {"smallest": smallest, "largest": largest}
        )
    if not 0 < terms.threshold_cents <= LARGEST_CENTS:
        raise UnableToReload(_("Choose a threshold above nothing, and at most %(largest)s.") % {"largest": largest})
    if not terms.amount_cents <= terms.ceiling_cents <= LARGEST_CEILING_CENTS:
        raise UnableToReload(_("What it may buy in a month is at least what it buys at once, and at most $100,000."))


def _usd(cents: int) -> str:
    return decimal_string(cents * NANO_PER_CENT)
