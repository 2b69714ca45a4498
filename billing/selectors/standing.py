"""What is overdue, and who is stopped for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, Q

from accounts.models import Organization
from billing.invoicing.dunning import BEFORE_THE_END, STOPPED, State
from billing.models import Invoice, Payment, Standing, StandingLetter
from billing.selectors.debts import debts_by_organization, debts_of
from billing.selectors.owed import still_due_cents
from billing.selectors.terms import OWING, terms_in_force
from portal.lib.money import NANO_PER_CENT, decimal_string


@dataclass(frozen=True, slots=True)
class StandingRow:
    """How an organization stands, as pages of staff print it; overdue in dollars."""

    slug: str
    organization: str
    state: str
    since: datetime
    next_action_at: datetime | None
    waits_since: datetime | None
    overdue: str


def overdue_cents(organization_id: int, now: datetime) -> int:
    """Return what is left to be paid of invoices that are due by now, and of what lost disputes leave owed."""
    due = Invoice.objects.of_organization(organization_id).filter(status__in=OWING, due_at__lte=now)
    return sum(max(still_due_cents(invoice), 0) for invoice in due) + debts_of(organization_id).payable_cents


def organization_ids_overdue(now: datetime) -> Sequence[int]:
    """Return the organizations that stand good and owe an invoice that is due, or a payment that was taken back.

    For the platform role. Not for an invoice that a kept card is being charged for: what its bank says comes first.
    """
    charged = Payment.objects.unfinished().filter(invoice=OuterRef("pk"), card__isnull=False)
    open_ones = Invoice.objects.filter(~Exists(charged), status__in=OWING, due_at__lte=now)
    due = open_ones.values_list("organization_id", flat=True)
    owing = [organization_id for organization_id, debts in debts_by_organization().items() if debts.payable_cents]
    good = Organization.objects.filter(Q(pk__in=due) | Q(pk__in=owing), payment_state=State.GOOD.value)
    return list(good.order_by("pk").values_list("pk", flat=True))


def is_on_terms(organization_id: int) -> bool:
    """Whether a person has to agree before the organization is suspended: it has days to pay by its terms."""
    terms = terms_in_force(organization_id)
    return terms is not None and terms.net_days > 0


def is_told_enough(standing: Standing) -> bool:
    """Whether everything was really mailed that comes before the end."""
    sent = StandingLetter.objects.of_episode(standing).filter(mailed_at__isnull=False)
    return set(BEFORE_THE_END) <= set(sent.values_list("letter", flat=True))


def stopped_organization_ids() -> Sequence[int]:
    """Return the organizations for which nothing runs: they are suspended or terminated for a debt."""
    stopped = Organization.objects.filter(payment_state__in=[state.value for state in STOPPED])
    return list(stopped.order_by("pk").values_list("pk", flat=True))


def terminated_organization_ids() -> Sequence[int]:
    """Return the organizations whose things are deleted for a debt."""
    ended = Organization.objects.filter(payment_state=State.TERMINATED.value)
    return list(ended.order_by("pk").values_list("pk", flat=True))


def standing_rows(now: datetime) -> Sequence[StandingRow]:
    """Return who does not stand good, those first who wait for a person. For staff."""
    found = Standing.objects.exclude(state=State.GOOD.value).select_related("organization")
    rows = [
        StandingRow(
            slug=one.organization.slug,
            organization=one.organization.name,
            state=one.organization.get_payment_state_display(),
            since=one.since,
            next_action_at=one.next_action_at,
            waits_since=one.waits_since,
            overdue=decimal_string(overdue_cents(one.organization_id, now) * NANO_PER_CENT),
        )
        for one in found.order_by("since", "pk")[:500]
    ]
    return sorted(rows, key=lambda row: row.waits_since is None)
