"""Mail how an organization stands: rows first, mails after, so that each letter is sent and none is sent again."""

from datetime import datetime

import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.services.mails import mail_each, page_address
from billing.invoicing.dunning import Letter
from billing.models import StandingLetter
from billing.selectors.debts import debts_of
from billing.services.details import billing_addresses
from portal.lib.batches import one_by_one
from portal.lib.money import NANO_PER_CENT

log = structlog.get_logger(__name__)

BATCH = 500


def mail_letters(*, now: datetime) -> int:
    """Mail every letter that was noted and not mailed yet; return how many. For the platform role.

    A crash between mail and commit mails twice.
    """
    return one_by_one(
        list(StandingLetter.objects.unmailed(now).values_list("pk", flat=True)[:BATCH]),
        lambda pk: _mail(pk, now),
        lambda pk: log.exception("billing.letter_not_mailed", letter_id=pk),
    )


@transaction.atomic
def _mail(pk: int, now: datetime) -> int:
    letters = StandingLetter.objects.select_for_update(skip_locked=True, of=("self",)).select_related("organization")
    letter = letters.filter(pk=pk, mailed_at=None).first()
    if letter is None:
        return 0
    title, text = words_of(Letter(letter.letter))
    has_debt = debts_of(letter.organization_id).payable_cents > 0
    mail_each(
        "standing",
        billing_addresses(letter.organization),
        title=title,
        text=text,
        owed_nano=letter.owed_cents * NANO_PER_CENT,
        organization=letter.organization.name,
        address=page_address("billing:invoice-list", letter.organization.slug),
        debt_address=page_address("billing:credit", letter.organization.slug) if has_debt else "",
    )
    letter.mailed_at = now
    letter.save(update_fields=["mailed_at"])
    return 1


def words_of(letter: Letter) -> tuple[str, str]:
    """Return what a letter is about, and what follows from it."""
    return {
        Letter.PAST_DUE: (
            _("A bill is past due"),
            _("Everything works as before. Please pay within seven days; after that nothing new can be started."),
        ),
        Letter.REMINDER: (
            _("A bill is still past due"),
            _("Everything works as before for four days more. After that nothing new can be started."),
        ),
        Letter.GRACE: (
            _("Nothing new can be started until a bill is paid"),
            _("What runs goes on, and models answer. In seven days all of it stops."),
        ),
        Letter.LAST_DAYS: (
            _("Your work stops in three days unless a bill is paid"),
            _("Instances are stopped then and models no longer answer. Volumes are kept."),
        ),
        Letter.SUSPENDED: (
            _("Your work is stopped for an unpaid bill"),
            _("Instances are stopped and models do not answer. Volumes are kept for 30 days. Paying ends it at once."),
        ),
        Letter.FIRST_WARNING: (
            _("Your volumes are deleted in 20 days unless a bill is paid"),
            _("Your work is stopped. Paying ends it at once, and everything that is kept is there."),
        ),
        Letter.SECOND_WARNING: (
            _("Your volumes are deleted in ten days unless a bill is paid"),
            _("Your work is stopped. Paying ends it at once, and everything that is kept is there."),
        ),
        Letter.LAST_WARNING: (
            _("Your volumes are deleted in three days unless a bill is paid"),
            _("This is the last message before. Paying ends it at once, and everything that is kept is there."),
        ),
        Letter.TERMINATED: (
            _("Your instances and volumes are deleted for an unpaid bill"),
            _("Invoices and the audit log stay, and what is owed is still owed. Paying lets you begin again."),
        ),
        Letter.DISPUTED: (
            _("A payment is disputed"),
            _("A bank was asked to take a payment back. Nothing new can be started until that is decided."),
        ),
        Letter.GOOD: (
            _("Nothing is overdue any more"),
            _("Thank you. Everything can be used again; instances that were stopped are started by you."),
        ),
    }[letter]
