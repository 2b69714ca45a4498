"""Mail owners about what they should know of: noted in the transaction in which it happens, mailed after it."""

from datetime import datetime

import structlog
from django.db import transaction

from accounts.models import Domain, Membership, Notice
from accounts.services.mails import mail_each, owner_addresses, page_address
from portal.lib.batches import one_by_one
from portal.lib.jobs import enqueue

log = structlog.get_logger(__name__)


def notify_owners(*, organization_id: int, kind: Notice.Kind, subject_id: str, now: datetime) -> None:
    """Let every owner be mailed about something, when the caller's transaction commits.

    subject_id: public id of the domain or member that it is about; who that is, is looked up when the mail is written.
    """
    Notice.objects.create(organization_id=organization_id, kind=kind, subject_id=subject_id, created_at=now)
    enqueue("accounts.mail_notices")


def mail_notices(*, now: datetime) -> int:
    """Mail every notice that was not mailed yet; return how many. For the platform role.

    Each in a transaction of its own. A crash between mail and commit mails twice.
    """
    return one_by_one(
        list(Notice.objects.unmailed(now).values_list("pk", flat=True)[:500]),
        lambda pk: _mail(pk, now),
        lambda pk: log.exception("accounts.notice_not_mailed", notice_id=pk),
    )


@transaction.atomic
def _mail(notice_id: int, now: datetime) -> int:
    notices = Notice.objects.select_for_update(skip_locked=True, of=("self",)).select_related("organization")
    notice = notices.filter(pk=notice_id, mailed_at=None).first()
    if notice is None:
        return 0
    mail_each(
        f"notice_{notice.kind}",
        owner_addresses(notice.organization),
        notice=notice,
        organization=notice.organization.name,
        address=page_address(PAGES[Notice.Kind(notice.kind)], notice.organization.slug),
        member=_member(notice),
        domain=Domain.objects.owned_by(notice.organization).filter(public_id=notice.subject_id).first(),
    )
    notice.mailed_at = now
    notice.save(update_fields=["mailed_at"])
    return 1


# What the mail leads to.
PAGES = {
    Notice.Kind.DOMAIN_FAILING: "accounts:domain-list",
    Notice.Kind.DOMAIN_LOST: "accounts:domain-list",
    Notice.Kind.MEMBER_JOINED: "accounts:member-list",
    Notice.Kind.SSO_REQUIRED: "accounts:sso-settings",
    Notice.Kind.SSO_OPTIONAL: "accounts:sso-settings",
    Notice.Kind.BREAK_GLASS: "accounts:audit-log",
}


def _member(notice: Notice) -> Membership | None:
    members = Membership.objects.owned_by(notice.organization).select_related("user")
    return members.filter(public_id=notice.subject_id).first()
