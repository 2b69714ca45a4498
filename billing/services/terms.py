"""Terms of organizations: proposed by one person, approved by another, in force until others are, and never edited.

Whatever puts them in force or ends them moves the organization's credit in the same transaction. All of it for the
platform role. Locks: the organization's credit, its terms, the audit log. Rules: docs/algorithms/terms.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

import structlog
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from accounts.models import AuditEvent, Organization, OrganizationTerms, User
from accounts.models.terms import NET_DAYS
from accounts.services.audit import record_event
from billing.models import BillingDetails
from billing.selectors.terms import organization_ids_with_room_beyond_terms
from billing.services.credits import lock_cap
from billing.services.terms_room import fit_room
from catalog.models import InstanceType, Region
from portal.lib.batches import one_by_one
from portal.lib.context import Actor
from portal.lib.errors import DomainError
from portal.lib.money import NANO_PER_CENT, decimal_string

log = structlog.get_logger(__name__)

PROPOSE = "accounts.propose_terms"
APPROVE = "accounts.approve_terms"
Status = OrganizationTerms.Status
LARGEST_QUOTA = 1_000_000


class UnableToChangeTerms(DomainError):
    code: ClassVar[str] = "unable_to_change_terms"


@dataclass(frozen=True, slots=True)
class ProposedTerms:
    """What terms are to say. Amounts in nano-dollars, whole cents; invoice_above_nano: None for months only.

    quotas: instances at once, by the kind of their type; a kind that is missing is not limited. regions: their names;
    none: all of them.
    """

    credit_limit_nano: int
    net_days: int
    active_from: datetime
    active_to: datetime | None = None
    needs_purchase_order: bool = False
    invoice_above_nano: int | None = None
    quotas: Mapping[str, int] = field(default_factory=dict)
    regions: Sequence[str] = ()


@transaction.atomic
def propose_terms(*, organization: Organization, proposed: ProposedTerms, by: User, now: datetime) -> OrganizationTerms:
    """Write down terms that bind nobody yet, as the organization's next version.

    Raises UnableToChangeTerms for terms that contradict themselves, or if `by` may not.
    """
    if not by.is_staff or not by.has_perm(PROPOSE):
        raise UnableToChangeTerms(_("You may not propose terms."))
    _refuse_bad_terms(proposed, now)
    lock_cap(organization_id=organization.pk, now=now)
    latest = OrganizationTerms.objects.owned_by(organization).aggregate(version=Max("version"))["version"]
    terms = OrganizationTerms.objects.create(
        organization=organization,
        version=(latest or 0) + 1,
        credit_limit_nano=proposed.credit_limit_nano,
        net_days=proposed.net_days,
        needs_purchase_order=proposed.needs_purchase_order,
        invoice_above_nano=proposed.invoice_above_nano,
        gpu_quota=proposed.quotas.get("gpu"),
        tpu_quota=proposed.quotas.get("tpu"),
        cpu_quota=proposed.quotas.get("cpu"),
        regions=sorted(proposed.regions),
        active_from=proposed.active_from,
        active_to=proposed.active_to,
        proposed_by=by,
        proposed_at=now,
    )
    _record("terms.proposed", terms, by, now)
    return terms


@transaction.atomic
def approve_terms(*, terms: OrganizationTerms, by: User, now: datetime) -> OrganizationTerms:
    """Agree as a second person; terms whose time has come are in force at once. Raises UnableToChangeTerms."""
    _refuse_without_right(by)
    terms = _locked(terms, Status.APPROVED, now)
    if terms.proposed_by_id == by.pk:
        raise UnableToChangeTerms(_("Somebody else approves what you have proposed."))
    if terms.active_to is not None and terms.active_to <= now:
        raise UnableToChangeTerms(_("The time of these terms is over."))
    if terms.needs_purchase_order and not _has_purchase_order(terms):
        raise UnableToChangeTerms(_("The organization has given no purchase-order number yet, under Billing details."))
    terms.status = Status.APPROVED
    terms.approved_by, terms.approved_at = by, now
    terms.save(update_fields=["status", "approved_by", "approved_at"])
    if terms.active_from <= now:
        _begin(terms, now)
    _record("terms.approved", terms, by, now)
    return terms


@transaction.atomic
def discard_terms(*, terms: OrganizationTerms, by: User, now: datetime) -> OrganizationTerms:
    """Give up a version that is not in force. Raises UnableToChangeTerms."""
    if not by.is_staff or not (by.has_perm(PROPOSE) or by.has_perm(APPROVE)):
        raise UnableToChangeTerms(_("You may not change terms."))
    terms = _locked(terms, Status.DISCARDED, now)
    _discard(terms)
    _record("terms.discarded", terms, by, now)
    return terms


@transaction.atomic
def end_terms(*, terms: OrganizationTerms, by: User, now: datetime) -> OrganizationTerms:
    """Let an organization owe nothing new from now on; what it owes already it pays as agreed.

    Raises UnableToChangeTerms for a version that is not in force.
    """
    _refuse_without_right(by)
    terms = _locked(terms, Status.ENDED, now)
    _end(terms, now)
    _record("terms.ended", terms, by, now)
    return terms


def work_terms(*, now: datetime) -> int:
    """Begin and end terms whose instant has come, and return how many; take back the room that lower ones left.

    For the platform role, each in a transaction of its own. Safe to repeat.
    """
    worked = one_by_one(
        OrganizationTerms.objects.due(now).values_list("pk", "organization_id"),
        lambda one: _work(*one, now),
        lambda one: log.exception("billing.terms_not_worked", terms_id=one[0]),
    )
    one_by_one(
        organization_ids_with_room_beyond_terms(),
        lambda pk: _fit(pk, now),
        lambda pk: log.exception("billing.room_of_terms_not_fitted", organization_id=pk),
    )
    return worked


@transaction.atomic
def _fit(organization_id: int, now: datetime) -> int:
    lock_cap(organization_id=organization_id, now=now)
    return fit_room(organization_id=organization_id)


@transaction.atomic
def _work(pk: int, organization_id: int, now: datetime) -> int:
    lock_cap(organization_id=organization_id, now=now)
    terms = OrganizationTerms.objects.due(now).select_for_update(no_key=True).filter(pk=pk).first()
    if terms is None:
        return 0
    if terms.status == Status.IN_FORCE:
        _end(terms, now)
        _record("terms.ended", terms, None, now)
    elif terms.active_to is not None and terms.active_to <= now:
        _discard(terms)
        _record("terms.discarded", terms, None, now)
    else:
        _begin(terms, now)
        _record("terms.begun", terms, None, now)
    return 1


def _begin(terms: OrganizationTerms, now: datetime) -> None:
    """Put terms in force, in place of those that are; one step, so that their room is never taken and given again."""
    mine = OrganizationTerms.objects.filter(organization_id=terms.organization_id)
    mine.in_force().update(status=Status.ENDED, ended_at=now)
    terms.status, terms.begun_at = Status.IN_FORCE, now
    terms.save(update_fields=["status", "begun_at"])
    fit_room(organization_id=terms.organization_id)


def _end(terms: OrganizationTerms, now: datetime) -> None:
    terms.status, terms.ended_at = Status.ENDED, now
    terms.save(update_fields=["status", "ended_at"])
    fit_room(organization_id=terms.organization_id)


def _discard(terms: OrganizationTerms) -> None:
    terms.status = Status.DISCARDED
    terms.save(update_fields=["status"])


def _refuse_without_right(by: User) -> None:
    if not by.is_staff or not by.has_perm(APPROVE):
        raise UnableToChangeTerms(_("You may not approve or end terms."))


def _has_purchase_order(terms: OrganizationTerms) -> bool:
    details = BillingDetails.objects.filter(organization_id=terms.organization_id)
    return details.exclude(purchase_order="").exists()


def _locked(terms: OrganizationTerms, status: OrganizationTerms.Status, now: datetime) -> OrganizationTerms:
    """Return the terms, locked after their organization's credit, if they can become that."""
    lock_cap(organization_id=terms.organization_id, now=now)
    terms = OrganizationTerms.objects.select_for_update(no_key=True).get(pk=terms.pk)
    if not terms.can_become(status):
        words = {"version": terms.version, "status": terms.get_status_display().lower()}
        raise UnableToChangeTerms(_("Version %(version)s is %(status)s.") % words)
    return terms


def _refuse_bad_terms(proposed: ProposedTerms, now: datetime) -> None:
    amounts = [proposed.credit_limit_nano]
    if proposed.invoice_above_nano is not None:
        amounts.append(proposed.invoice_above_nano)
    if min(amounts) < 0 or any(amount % NANO_PER_CENT for amount in amounts):
        raise UnableToChangeTerms(_("Amounts are whole cents and not negative."))
    if proposed.net_days not in NET_DAYS:
        raise UnableToChangeTerms(_("An invoice is due after 0, 15, 30 or 60 days."))
    if proposed.invoice_above_nano is not None and not 0 < proposed.invoice_above_nano <= proposed.credit_limit_nano:
        raise UnableToChangeTerms(_("The threshold for an invoice is above nothing and within the credit limit."))
    _refuse_bad_limits(proposed)
    if proposed.active_to is not None and proposed.active_to <= max(proposed.active_from, now):
        raise UnableToChangeTerms(_("Terms end after they begin, and in the future."))


def _refuse_bad_limits(proposed: ProposedTerms) -> None:
    if any(quota not in range(LARGEST_QUOTA + 1) for quota in proposed.quotas.values()):
        raise UnableToChangeTerms(
            _("A quota is a number of instances, %(most)s at the most.") % {"most": LARGEST_QUOTA}
        )
    if unknown := set(proposed.quotas) - set(InstanceType.Kind):
        raise UnableToChangeTerms(_("There are no instances of the kind %(kind)s.") % {"kind": min(unknown)})
    known = set(Region.objects.filter(name__in=proposed.regions).values_list("name", flat=True))
    if unknown := set(proposed.regions) - known:
        raise UnableToChangeTerms(_("There is no region %(name)s.") % {"name": min(unknown)})


def _record(action: str, terms: OrganizationTerms, by: User | None, now: datetime) -> None:
    record_event(
        action,
        organization_id=terms.organization_id,
        target=("terms", terms.public_id),
        changes={
            "version": (None, terms.version),
            "credit_limit": (None, decimal_string(terms.credit_limit_nano)),
            "net_days": (None, terms.net_days),
            **{f"{kind}_quota": (None, quota) for kind, quota in terms.quotas.items()},
            **({"regions": (None, terms.regions)} if terms.regions else {}),
            "status": (None, terms.status),
        },
        actor=None if by is None else staff_actor(by),
        now=now,
    )


def staff_actor(by: User) -> Actor:
    """Return the actor that a member of staff is in an organization's log."""
    return Actor(kind=AuditEvent.ActorKind.USER.value, public_id=by.public_id, via=AuditEvent.Via.STAFF.value)
