"""Mails of the portal to the people who answer for an organization."""

from urllib.parse import urljoin

from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.urls import reverse

from accounts.models import Membership, Organization, Role


def mail_owners(name: str, *, organization: Organization, **context: object) -> int:
    """Send emails/<name> to every owner who may sign in; return to how many. context: what the template needs more."""
    owners = Membership.objects.owned_by(organization).filter(role=Role.OWNER, user__is_active=True)
    addresses = list(owners.order_by("pk").values_list("user__email", flat=True))
    for email in addresses:
        mail_person(name, email=email, organization=organization, **context)
    return len(addresses)


def mail_person(name: str, *, email: str, **context: object) -> None:
    """Send emails/<name> to one address."""
    words = {"brand": settings.PORTAL_BRAND, **context}
    subject = " ".join(render_to_string(f"emails/{name}.subject.txt", words).split())
    EmailMessage(subject, render_to_string(f"emails/{name}.txt", words).strip(), to=[email]).send()


def page_address(url_name: str, *args: str) -> str:
    """Return the whole address of a page, for a mail."""
    return urljoin(settings.PORTAL_URL, reverse(url_name, args=args))
