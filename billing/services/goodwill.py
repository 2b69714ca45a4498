"""Give credit as a goodwill: one of staff proposes it, another gives it. For the platform role.

Locks: the organization's credit, the proposal, ledger accounts, the audit log.
"""

from datetime import datetime
from typing import ClassVar

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import AuditEvent, Organization, User
from accounts.services.audit import record_event
from billing.models import CreditGrant, Goodwill, SpendCap
from billing.services.credits import Award, add_credit, lock_cap
from portal.lib.context import Actor
from portal.lib.errors import DomainError
from portal.lib.money import NANO_PER_CENT, decimal_string, display_usd

PROPOSE, DECIDE = "billing.add_goodwill", "billing.change_goodwill"
SHORTEST_REASON = 10
LONGEST_REASON = 300
LARGEST_CENTS = 10_000_00

Status = Goodwill.Status


class UnableToGive(DomainError):
    code: ClassVar[str] = "unable_to_give"


@transaction.atomic
def propose_goodwill(
    *, organization: Organization, amount_cents: int, reason: str, by: User, now: datetime
) -> Goodwill:
    """Propose to give an organization credit of at most $10,000; nothing is given yet.

    Raises UnableToGive if `by` may not, for an amount out of range, and without a reason of 10 to 300 characters.
    """
    if not by.is_staff or not by.has_perm(PROPOSE):
        raise UnableToGive(_("You may not propose credit."))
    if not 0 < amount_cents <= LARGEST_CENTS:
        most = display_usd(LARGEST_CENTS * NANO_PER_CENT)
        raise UnableToGive(_("Propose more than nothing, and %(most)s at the most.") % {"most": most})
    words = " ".join(reason.split())
    if not SHORTEST_REASON <= len(words) <= LONGEST_REASON:
        raise UnableToGive(
            _("Say why, in %(least)s to %(most)s characters.") % {"least": SHORTEST_REASON, "most": LONGEST_REASON}
        )
    lock_cap(organization_id=organization.pk, now=now)
    goodwill = Goodwill.objects.create(
        organization=organization, amount_cents=amount_cents, reason=words, proposed_by=by.public_id, proposed_at=now
    )
    _record("goodwill.proposed", goodwill, by, now)
    return goodwill


@transaction.atomic
def give_goodwill(*, goodwill: Goodwill, by: User, now: datetime) -> Goodwill:
    """Give what somebody else proposed: a grant of promotional credit, in the ledger and as room in the cap.

    One that is given stays as it is. Raises UnableToGive for who proposed it, who may not, and one that was declined.
    """
    goodwill, credit = _locked(goodwill, by, now)
    if goodwill.status == Status.GIVEN:
        return goodwill
    _refuse_decided(goodwill)
    if goodwill.proposed_by == by.public_id:
        raise UnableToGive(_("Somebody else than who proposed it gives it."))
    amount_nano = goodwill.amount_cents * NANO_PER_CENT
    award = Award(CreditGrant.Kind.PROMOTIONAL, amount_nano, f"goodwill:{goodwill.public_id}")
    add_credit(cap=credit, given=award, now=now)
    _decide(goodwill, Status.GIVEN, by, now)
    _record("goodwill.given", goodwill, by, now)
    return goodwill


@transaction.atomic
def decline_goodwill(*, goodwill: Goodwill, by: User, now: datetime) -> Goodwill:
    """Decline a proposal; whoever made it may take it back so. Raises UnableToGive as `give_goodwill`."""
    goodwill, _credit = _locked(goodwill, by, now)
    _refuse_decided(goodwill)
    _decide(goodwill, Status.DECLINED, by, now)
    _record("goodwill.declined", goodwill, by, now)
    return goodwill


def _locked(goodwill: Goodwill, by: User, now: datetime) -> tuple[Goodwill, SpendCap]:
    if not by.is_staff or not by.has_perm(DECIDE):
        raise UnableToGive(_("You may not decide about credit."))
    credit = lock_cap(organization_id=goodwill.organization_id, now=now)
    return Goodwill.objects.select_for_update(no_key=True).get(pk=goodwill.pk), credit


def _refuse_decided(goodwill: Goodwill) -> None:
    if goodwill.status != Status.PROPOSED:
        raise UnableToGive(_("This proposal is decided already."))


def _decide(goodwill: Goodwill, status: Goodwill.Status, by: User, now: datetime) -> None:
    goodwill.status, goodwill.decided_by, goodwill.decided_at = status, by.public_id, now
    goodwill.save(update_fields=["status", "decided_by", "decided_at"])


def _record(action: str, goodwill: Goodwill, by: User, now: datetime) -> None:
    record_event(
        action,
        organization_id=goodwill.organization_id,
        target=("goodwill", goodwill.public_id),
        changes={"amount": (None, decimal_string(goodwill.amount_cents * NANO_PER_CENT))},
        actor=Actor(AuditEvent.ActorKind.USER.value, by.public_id, AuditEvent.Via.STAFF.value),
        now=now,
    )
