"""Mails of the portal to the people who answer for an organization."""

from collections.abc import Iterable
from http import HTTPStatus
from smtplib import SMTPRecipientsRefused
from urllib.parse import urljoin

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.urls import reverse

from accounts.models import PERMISSIONS_OF_ROLE, Membership, Organization, Permission, Role

log = structlog.get_logger(__name__)
# SMTP and HTTP agree that from here on it is for good.
FOR_GOOD = HTTPStatus.INTERNAL_SERVER_ERROR


def mail_owners(name: str, *, organization: Organization, **context: object) -> int:
    """Send emails/<name> to every owner who may sign in; return to how many. context: what the template needs more."""
    return mail_each(name, owner_addresses(organization), organization=organization, **context)


def owner_addresses(organization: Organization) -> list[str]:
    owners = Membership.objects.owned_by(organization).filter(role=Role.OWNER, user__is_active=True)
    return list(owners.order_by("pk").values_list("user__email", flat=True))


def addresses_with(organization: Organization, permission: Permission) -> list[str]:
    """Return the addresses of those who may sign in and whose role has the permission."""
    roles = [role for role, permissions in PERMISSIONS_OF_ROLE.items() if permission in permissions]
    members = Membership.objects.owned_by(organization).filter(role__in=roles, user__is_active=True)
    return list(members.order_by("pk").values_list("user__email", flat=True))


def mail_each(name: str, addresses: Iterable[str], **context: object) -> int:
    """Send emails/<name> to each address; return to how many.

    An address that a mail server refuses for good is left out: whoever tries again would mail the others again, for
    ever. Whatever else is wrong is raised.
    """
    mailed = 0
    for email in addresses:
        try:
            mail_person(name, email=email, **context)
        except SMTPRecipientsRefused as error:
            if any(code < FOR_GOOD for code, _words in error.recipients.values()):
                raise
            log.warning("accounts.address_refused", mail=name, codes=[code for code, _ in error.recipients.values()])
        else:
            mailed += 1
    return mailed


def mail_person(name: str, *, email: str, **context: object) -> None:
    """Send emails/<name> to one address."""
    words = {"brand": settings.PORTAL_BRAND, **context}
    subject = " ".join(render_to_string(f"emails/{name}.subject.txt", words).split())
    EmailMessage(subject, render_to_string(f"emails/{name}.txt", words).strip(), to=[email]).send()


def page_address(url_name: str, *args: str) -> str:
    """Return the whole address of a page, for a mail."""
    return urljoin(settings.PORTAL_URL, reverse(url_name, args=args))
