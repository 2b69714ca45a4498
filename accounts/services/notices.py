"""Mail owners about what they should know of: noted in the transaction in which it happens, mailed after it."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urljoin

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse

from accounts.models import Domain, Membership, Notice, Role
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
    mailed = 0
    for notice_id in list(Notice.objects.unmailed(now).values_list("pk", flat=True)[:500]):
        try:
            mailed += _mail(notice_id, now)
        except Exception:
            # A batch boundary: one mail server's trouble with one address must not keep the others uninformed.
            log.exception("accounts.notice_not_mailed", notice_id=notice_id)
    return mailed


@transaction.atomic
def _mail(notice_id: int, now: datetime) -> int:
    notices = Notice.objects.select_for_update(skip_locked=True, of=("self",)).select_related("organization")
    notice = notices.filter(pk=notice_id, mailed_at=None).first()
    if notice is None:
        return 0
    page = reverse(PAGES[Notice.Kind(notice.kind)], args=[notice.organization.slug])
    context = {
        "notice": notice,
        "organization": notice.organization.name,
        "address": urljoin(settings.PORTAL_URL, page),
        "brand": settings.PORTAL_BRAND,
        "member": _member(notice),
        "domain": Domain.objects.owned_by(notice.organization).filter(public_id=notice.subject_id).first(),
    }
    subject = " ".join(render_to_string(f"emails/notice_{notice.kind}.subject.txt", context).split())
    body = render_to_string(f"emails/notice_{notice.kind}.txt", context).strip()
    for email in _owners_of(notice):
        EmailMessage(subject, body, to=[email]).send()
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


def _owners_of(notice: Notice) -> Sequence[str]:
    owners = Membership.objects.owned_by(notice.organization).filter(role=Role.OWNER, user__is_active=True)
    return list(owners.order_by("pk").values_list("user__email", flat=True))
