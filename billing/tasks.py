"""What billing does by itself. All of it works across organizations; when: portal/schedule.py."""

from celery import shared_task
from django.utils import timezone

from billing import selectors
from billing.services import (
    anomalies,
    auto_reload,
    cap_warnings,
    cards,
    collecting,
    credit_expiry,
    disputes,
    invoice_files,
    invoice_mails,
    ledger_proof,
    month_closing,
    nightly,
    partitions,
    payments,
    price_notices,
    refunding,
    reservations,
    standing,
    standing_mails,
    stripe_events,
    terms,
    transfers,
)
from billing.services import credits as credit_services
from portal.lib.tasks import PortalTask


@shared_task(name="billing.expire_reservations", base=PortalTask, platform=True)
def expire_reservations(**_future: object) -> None:
    reservations.expire_reservations(now=timezone.now())


@shared_task(name="billing.make_partitions", base=PortalTask, platform=True)
def make_partitions(**_future: object) -> None:
    partitions.prepare_partitions(now=timezone.now())


@shared_task(name="billing.open_accounts", base=PortalTask, platform=True)
def open_accounts(**_future: object) -> None:
    for organization_id in selectors.organization_ids_without_cap():
        credit_services.lock_cap(organization_id=organization_id, now=timezone.now())


@shared_task(name="billing.warn_of_caps", base=PortalTask, platform=True)
def warn_of_caps(**_future: object) -> None:
    cap_warnings.warn_of_caps(now=timezone.now())
    cap_warnings.mail_warnings(now=timezone.now())


@shared_task(name="billing.find_anomalies", base=PortalTask, platform=True)
def find_anomalies(**_future: object) -> None:
    anomalies.find_anomalies(now=timezone.now())
    anomalies.mail_anomalies(now=timezone.now())


@shared_task(name="billing.close_months", base=PortalTask, platform=True)
def close_months(**_future: object) -> None:
    month_closing.close_due_months(now=timezone.now())
    month_closing.invoice_above_thresholds(now=timezone.now())
    invoice_mails.mail_invoices(now=timezone.now())


@shared_task(name="billing.mail_invoices", base=PortalTask, platform=True)
def mail_invoices(**_future: object) -> None:
    invoice_mails.mail_invoices(now=timezone.now())
    transfers.mail_transfers(now=timezone.now())


@shared_task(name="billing.keep_invoice_files", base=PortalTask, platform=True)
def keep_invoice_files(**_future: object) -> None:
    invoice_files.keep_invoice_files(now=timezone.now())


@shared_task(name="billing.expire_credits", base=PortalTask, platform=True)
def expire_credits(**_future: object) -> None:
    credit_expiry.expire_credits(now=timezone.now())


@shared_task(name="billing.prove_ledger", base=PortalTask, platform=True)
def prove_ledger(**_future: object) -> None:
    ledger_proof.report_ledger()


@shared_task(name="billing.read_payment", base=PortalTask, platform=True)
def read_payment(payment_id: int, **_future: object) -> None:
    payments.read_payment(payment_id=payment_id, now=timezone.now())


@shared_task(name="billing.look_after_payments", base=PortalTask, platform=True)
def look_after_payments(**_future: object) -> None:
    payments.look_after_payments(now=timezone.now())


@shared_task(name="billing.mail_payments", base=PortalTask, platform=True)
def mail_payments(**_future: object) -> None:
    payments.mail_payments(now=timezone.now())


@shared_task(name="billing.look_after_refunds", base=PortalTask, platform=True)
def look_after_refunds(**_future: object) -> None:
    refunding.look_after_refunds(now=timezone.now())


@shared_task(name="billing.mail_refunds", base=PortalTask, platform=True)
def mail_refunds(**_future: object) -> None:
    refunding.mail_refunds(now=timezone.now())


@shared_task(name="billing.look_after_disputes", base=PortalTask, platform=True)
def look_after_disputes(**_future: object) -> None:
    disputes.look_after_disputes(now=timezone.now())


@shared_task(name="billing.mail_disputes", base=PortalTask, platform=True)
def mail_disputes(**_future: object) -> None:
    disputes.mail_disputes(now=timezone.now())


@shared_task(name="billing.read_cards", base=PortalTask, platform=True)
def read_cards(organization_id: int, **_future: object) -> None:
    cards.read_cards(organization_id=organization_id, now=timezone.now())


@shared_task(name="billing.let_cards_go", base=PortalTask, platform=True)
def let_cards_go(**_future: object) -> None:
    cards.let_cards_go(now=timezone.now())


@shared_task(name="billing.start_reloads", base=PortalTask, platform=True)
def start_reloads(**_future: object) -> None:
    auto_reload.start_reloads(now=timezone.now())


@shared_task(name="billing.work_stripe_events", base=PortalTask, platform=True)
def work_stripe_events(**_future: object) -> None:
    stripe_events.work_events(now=timezone.now())


@shared_task(name="billing.fetch_stripe_events", base=PortalTask, platform=True)
def fetch_stripe_events(**_future: object) -> None:
    stripe_events.fetch_messages(now=timezone.now())


@shared_task(name="billing.tell_of_prices", base=PortalTask, platform=True)
def tell_of_prices(**_future: object) -> None:
    price_notices.note_price_changes(now=timezone.now())
    price_notices.mail_price_notices(now=timezone.now())


@shared_task(name="billing.reconcile", base=PortalTask, platform=True)
def reconcile(**_future: object) -> None:
    # Here and not where they are made: this is asked when that has stopped.
    partitions.watch_partitions(now=timezone.now())
    nightly.reconcile(now=timezone.now())


@shared_task(name="billing.work_terms", base=PortalTask, platform=True)
def work_terms(**_future: object) -> None:
    terms.work_terms(now=timezone.now())


@shared_task(name="billing.work_standings", base=PortalTask, platform=True)
def work_standings(**_future: object) -> None:
    # First, so that who has a card that pays is not told of an unpaid bill.
    collecting.collect_due_invoices(now=timezone.now())
    standing.work_standings(now=timezone.now())
    standing_mails.mail_letters(now=timezone.now())
