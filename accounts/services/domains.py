"""Claim domains, prove them by a record in their DNS, and look daily whether the record is still there.

Name servers are asked before anything is locked; then each change locks the organization first, as members.py does.
"""

from datetime import datetime
from functools import cache
from pathlib import Path

from django.db import IntegrityError, transaction

from accounts.gateways.nameservers import NameserversSilent, text_records
from accounts.models import Domain, Membership, Notice, Permission, Role
from accounts.models.domain import GRACE, JOINABLE_ROLES
from accounts.selectors import organization_id_of_domain
from accounts.services.audit import changed, record_event
from accounts.services.members import allowed, lock_organization
from accounts.services.notices import notify_owners
from portal.lib.context import remember_organization
from portal.lib.domain_names import UnreadableDomain, canonical_domain
from portal.lib.errors import DomainError
from portal.lib.jobs import enqueue
from portal.lib.tenancy import set_organization


class UnableToAddDomain(DomainError):
    code = "unable_to_add_domain"


class UnableToVerifyDomain(DomainError):
    code = "unable_to_verify_domain"


class UnableToChangeDomain(DomainError):
    code = "unable_to_change_domain"


MAXIMUM_DOMAINS = 20
_GONE = "This domain was taken out of the list meanwhile."
_TAKEN = "Another organization has verified {domain}. If it is yours, take its record out of the DNS and write to us."
_PUBLIC_MAIL = Path(__file__).resolve().parent.parent / "data" / "public_mail_domains.txt"


@cache
def public_mail_domains() -> frozenset[str]:
    """Return the domains at which anybody may have an address."""
    lines = _PUBLIC_MAIL.read_text().splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


@transaction.atomic
def add_domain(*, name: str, by: Membership, now: datetime) -> Domain:
    """Claim a domain, which proves nothing yet.

    Raises UnableToAddDomain for what is no domain, one of a public mail provider, one that is listed already or that
    another organization has verified, and for too many.
    """
    try:
        domain = canonical_domain(name)
    except UnreadableDomain as error:
        raise UnableToAddDomain(str(error)) from error
    if domain in public_mail_domains():
        raise UnableToAddDomain(f"Anybody may have an address at {domain}, so nobody can have the domain.")
    organization = lock_organization(by.organization_id)
    allowed(by, Permission.MANAGE_ORGANIZATION, UnableToAddDomain)
    domains = Domain.objects.owned_by(organization)
    if domains.filter(name=domain).exists():
        raise UnableToAddDomain(f"{domain} is in the list already.")
    if domains.count() >= MAXIMUM_DOMAINS:
        raise UnableToAddDomain(f"An organization has at most {MAXIMUM_DOMAINS} domains.")
    if organization_id_of_domain(domain) is not None:
        raise UnableToAddDomain(_TAKEN.format(domain=domain))
    added = Domain.objects.create(organization=organization, name=domain, created_at=now)
    record_event(
        "domain.added",
        organization_id=organization.pk,
        target=("domain", added.public_id),
        changes={"name": (None, domain)},
        now=now,
    )
    return added


@transaction.atomic
def verify_domain(*, domain: Domain, by: Membership, now: datetime) -> Domain:
    """Look for the domain's record and make it verified; safe to repeat.

    Raises UnableToVerifyDomain when the record is not there, the name servers do not answer, or another organization
    has verified it.
    """
    found = _look(domain)
    organization = lock_organization(by.organization_id)
    allowed(by, Permission.MANAGE_ORGANIZATION, UnableToVerifyDomain)
    domain = _current(domain, UnableToVerifyDomain)
    if domain.is_verified and found and domain.failing_since is None:
        return domain
    if found is None:
        raise UnableToVerifyDomain(f"The name servers of {domain.shown} do not answer. Try again in a few minutes.")
    if not found:
        raise UnableToVerifyDomain(
            f"The record is not there: nothing at {domain.record_name} says “{domain.record_value}”."
            " A new record may take an hour to be seen everywhere."
        )
    was_verified = domain.is_verified
    domain.verified_at = domain.verified_at or now
    domain.checked_at = now
    domain.failing_since = None
    try:
        with transaction.atomic():
            domain.save(update_fields=["verified_at", "checked_at", "failing_since"])
    except IntegrityError as error:
        raise UnableToVerifyDomain(_TAKEN.format(domain=domain.shown)) from error
    record_event(
        "domain.seen_again" if was_verified else "domain.verified",
        organization_id=organization.pk,
        target=("domain", domain.public_id),
        changes={"name": (domain.name, domain.name)},
        now=now,
    )
    return domain


@transaction.atomic
def set_join_role(*, domain: Domain, role: Role | None, by: Membership, now: datetime) -> Domain:
    """Let people with a verified address of the domain join by themselves as `role`, or with None nobody.

    Raises UnableToChangeDomain while the domain is not verified, and for a role above developer.
    """
    organization = lock_organization(by.organization_id)
    allowed(by, Permission.MANAGE_ORGANIZATION, UnableToChangeDomain)
    domain = _current(domain, UnableToChangeDomain)
    if not domain.is_verified:
        raise UnableToChangeDomain(f"Verify {domain.shown} first.")
    if role is not None and role not in JOINABLE_ROLES:
        raise UnableToChangeDomain("People may join by themselves as viewers or developers only.")
    changes = changed(join_role=(domain.join_role, role.value if role else ""))
    if changes:
        domain.join_role = role.value if role else ""
        domain.save(update_fields=["join_role"])
        record_event(
            "domain.join_changed",
            organization_id=organization.pk,
            target=("domain", domain.public_id),
            changes=changes,
            now=now,
        )
    return domain


@transaction.atomic
def remove_domain(*, domain: Domain, by: Membership, now: datetime) -> None:
    """Take a domain out of the list: from then on it opens nothing.

    Raises UnableToChangeDomain if it is gone, and for the last verified one while single sign-on is required, whose
    provider could speak for nobody then.
    """
    organization = lock_organization(by.organization_id)
    allowed(by, Permission.MANAGE_ORGANIZATION, UnableToChangeDomain)
    domain = _current(domain, UnableToChangeDomain)
    others = Domain.objects.owned_by(organization).verified().exclude(pk=domain.pk)
    if domain.is_verified and organization.sso_required_at is not None and not others.exists():
        raise UnableToChangeDomain(
            "Stop requiring single sign-on first: nobody could come in by it without this domain."
        )
    public_id, name = domain.public_id, domain.name
    domain.delete()
    record_event(
        "domain.removed",
        organization_id=organization.pk,
        target=("domain", public_id),
        changes={"name": (name, None)},
        now=now,
    )


def enqueue_due_checks(*, now: datetime) -> int:
    """Name the job for every verified domain not looked at for a day; return how many. For the platform role."""
    due = list(Domain.objects.due(now).order_by("checked_at", "pk").values_list("organization_id", "pk")[:1000])
    for organization_id, domain_id in due:
        with transaction.atomic():
            set_organization(organization_id)
            enqueue("accounts.check_domain", domain_id=domain_id)
    remember_organization(None)
    return len(due)


@transaction.atomic
def check_domain(*, domain_id: int, now: datetime) -> Domain | None:
    """Look whether a verified domain's record is still there; after seven days without it the domain is lost.

    Silent name servers say nothing, so nothing changes. Returns the domain, or None where nothing is to be checked.
    """
    domain = Domain.objects.due(now).filter(pk=domain_id).first()
    if domain is None:
        return None
    found = _look(domain)
    lock_organization(domain.organization_id)
    domain = Domain.objects.due(now).filter(pk=domain_id).first()
    if domain is None or found is None:
        return domain
    domain.checked_at = now
    if found:
        domain.failing_since = None
        domain.save(update_fields=["checked_at", "failing_since"])
    elif domain.failing_since is None:
        domain.failing_since = now
        domain.save(update_fields=["checked_at", "failing_since"])
        _tell(domain, "domain.record_missing", Notice.Kind.DOMAIN_FAILING, now)
    elif now - domain.failing_since < GRACE:
        domain.save(update_fields=["checked_at"])
    else:
        domain.verified_at = domain.failing_since = None
        domain.join_role = ""
        domain.save(update_fields=["verified_at", "checked_at", "failing_since", "join_role"])
        _tell(domain, "domain.lost", Notice.Kind.DOMAIN_LOST, now)
    return domain


def _tell(domain: Domain, action: str, kind: Notice.Kind, now: datetime) -> None:
    notify_owners(organization_id=domain.organization_id, kind=kind, subject_id=domain.public_id, now=now)
    target = ("domain", domain.public_id)
    record_event(action, organization_id=domain.organization_id, target=target, now=now)


def _look(domain: Domain) -> bool | None:
    """Return whether the record is there, or None when nobody can say."""
    try:
        return domain.record_value in text_records(domain.record_name)
    except NameserversSilent:
        return None


def _current(domain: Domain, refusal: type[DomainError]) -> Domain:
    """Return the domain as it is under the organization's lock."""
    found = Domain.objects.filter(pk=domain.pk).first()
    if found is None:
        raise refusal(_GONE)
    return found
