"""What speaks for a disputed payment, put together when it is looked at and kept nowhere. For the platform role."""

from datetime import datetime, timedelta

from accounts.models import AuditEvent, AuditOrigin, Membership
from billing.gateways.payment_provider import Evidence
from billing.models import Dispute, Invoice, Payment, SpendByDay
from portal.lib.money import NANO_PER_CENT, decimal_string, display_usd

# The provider takes no longer texts than 20,000 characters each, and people who decide read no long ones.
LONGEST = 18_000
MOST_LINES = 200
BEFORE = timedelta(days=90)


def evidence_for(dispute: Dispute, *, now: datetime) -> Evidence:
    """Return the evidence for a dispute as of now, each text at most 18,000 characters.

    What was bought, whether it was refunded, what was used by day and SKU since 90 days before the payment, which
    invoices it paid, and who acted in the organization from which addresses.
    """
    payment = Payment.objects.select_related("organization", "created_by").get(pk=dispute.payment_id)
    since = payment.created_at - BEFORE
    buyer = payment.created_by
    return Evidence(
        product_description=f"{_bought(payment)} Payment {payment.public_id} of {_usd(payment.amount_cents)}.",
        customer_name=payment.organization.name,
        customer_email=buyer.email if buyer else "",
        service_date=f"{payment.ended_at or payment.created_at:%Y-%m-%d}",
        access_log=_cut(_access_log(payment, since)),
        text=_cut([*_story(payment), "", *_usage(payment, since), "", *_invoices(payment, since)]),
    )


def evidence_text(dispute: Dispute, *, now: datetime) -> str:
    """Return the evidence as one text that people read and keep."""
    found = evidence_for(dispute, now=now)
    parts = {
        "Dispute": f"{dispute.public_id} ({dispute.stripe_dispute_id}), {dispute.reason}, {_usd(dispute.amount_cents)}",
        "Customer": f"{found.customer_name} {found.customer_email}".strip(),
        "Service": f"{found.product_description} First available {found.service_date}.",
        "Account": found.text,
        "Access": found.access_log,
    }
    return "\n\n".join(f"{name}\n{'-' * len(name)}\n{text}" for name, text in parts.items()) + "\n"


def _bought(payment: Payment) -> str:
    if payment.purpose == Payment.Purpose.DEBT:
        return (
            "Cloud computing (calls to language models and machine time) that was used, paid by a person on a page of"
            " the payment provider after the bank of an earlier payment for it had taken that back."
        )
    return (
        "Credit for cloud computing (calls to language models and machine time), bought in advance on a page of the"
        " payment provider and used as it runs."
    )


def _story(payment: Payment) -> list[str]:
    events = AuditEvent.objects.filter(organization_id=payment.organization_id, target_id=payment.public_id)
    lines = [f"{event.at:%Y-%m-%d %H:%M:%S} UTC {event.action}" for event in events.order_by("sequence")[:MOST_LINES]]
    refunded = f"Refunded of it: {_usd(payment.refunded_cents)}."
    return ["The payment in the audit log of the customer:", *lines, refunded]


def _usage(payment: Payment, since: datetime) -> list[str]:
    days = SpendByDay.objects.filter(organization_id=payment.organization_id, day__gte=since)
    rows = days.order_by("-day", "sku", "price_id").values_list("day", "sku", "quantity", "amount_nano")[:MOST_LINES]
    lines = [f"{day:%Y-%m-%d} {sku}: {quantity} units, ${decimal_string(nano)}" for day, sku, quantity, nano in rows]
    return ["Usage by UTC day, newest first:", *(lines or ["None."])]


def _invoices(payment: Payment, since: datetime) -> list[str]:
    invoices = Invoice.objects.of_organization(payment.organization_id).issued().filter(issued_at__gte=since)
    lines = [
        f"{invoice.number} of {invoice.period_start:%Y-%m}: {_usd(invoice.total_cents)}, {invoice.get_status_display()}"
        for invoice in invoices.order_by("-period_start", "-pk")[:MOST_LINES]
    ]
    return ["Invoices:", *(lines or ["None."])]


def _access_log(payment: Payment, since: datetime) -> list[str]:
    origins = {
        origin.public_id: origin
        for origin in AuditOrigin.objects.filter(organization_id=payment.organization_id).order_by("pk")
    }
    members = Membership.objects.filter(organization_id=payment.organization_id).values_list("user__public_id", "role")
    roles = dict(members)
    events = AuditEvent.objects.filter(organization_id=payment.organization_id, at__gte=since).exclude(origin_id="")
    lines = []
    for event in events.order_by("-sequence")[:MOST_LINES]:
        origin = origins.get(event.origin_id)
        place = f"{origin.address} {origin.browser}" if origin else "an address that was erased"
        who = f"{event.actor_id} ({roles.get(event.actor_id, event.actor_kind)})"
        lines.append(f"{event.at:%Y-%m-%d %H:%M:%S} UTC {who} {event.action} from {place}")
    return ["Who acted from where, newest first:", *(lines or ["Nobody."])]


def _usd(cents: int) -> str:
    return display_usd(cents * NANO_PER_CENT)


def _cut(lines: list[str]) -> str:
    text = "\n".join(lines)
    return text if len(text) <= LONGEST else text[: LONGEST - 20] + "\n(there is more)"
