"""What a payment means for the auto-reload that began it. Callers hold the cap's lock."""

from datetime import datetime

from accounts.services.audit import record_event
from billing.models import AutoReload, Payment
from portal.lib.context import PORTAL

# So many payments in a row may fail.
MOST_FAILURES = 3


def note_reload(payment: Payment, now: datetime) -> None:
    """Count a failure, or forget those before a success; the third in a row turns the auto-reload off."""
    if payment.purpose != Payment.Purpose.RELOAD:
        return
    reload = AutoReload.objects.select_for_update(no_key=True).filter(organization_id=payment.organization_id).first()
    if reload is None:
        return
    has_failed = payment.state == Payment.State.FAILED
    reload.failure_count = reload.failure_count + 1 if has_failed else 0
    is_over = reload.is_on and reload.failure_count >= MOST_FAILURES
    if is_over:
        reload.is_on, reload.off_because = False, AutoReload.Why.FAILURES
    reload.save(update_fields=["failure_count", "is_on", "off_because"])
    if is_over:
        record_event(
            "auto_reload.turned_off",
            organization_id=payment.organization_id,
            target=("payment", payment.public_id),
            changes={"is_on": (True, False)},
            actor=PORTAL,
            now=now,
        )


def has_given_up(organization_id: int) -> bool:
    return AutoReload.objects.of_organization(organization_id).filter(off_because=AutoReload.Why.FAILURES).exists()
