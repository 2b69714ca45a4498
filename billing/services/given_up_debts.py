"""Give up what lost disputes left owed: one of staff proposes it, another does it. For the platform role.

Locks: the organization's account, the proposal, ledger accounts, the audit log. Rules: docs/algorithms/payments.md.
"""

from datetime import datetime
from typing import ClassVar

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import Organization, User
from accounts.services.audit import record_event, staff_actor
from billing.models import AccountKind, GivenUpDebt, LedgerEntry, Route
from billing.selectors.debts import debts_of
from billing.services.credits import lock_account
from billing.services.ledger import Journal, Line, post
from billing.services.standing import relieve
from portal.lib.errors import DomainError
from portal.lib.money import NANO_PER_CENT, decimal_string

PROPOSE, DECIDE = "billing.add_givenupdebt", "billing.change_givenupdebt"
LONGEST_REASON = 300

Status = GivenUpDebt.Status


class UnableToGiveUp(DomainError):
    code: ClassVar[str] = "unable_to_give_up"


@transaction.atomic
def propose_giving_up(*, organization: Organization, reason: str, by: User, now: datetime) -> GivenUpDebt:
    """Propose to give up all that lost disputes leave owed; nothing is given up yet.

    Raises UnableToGiveUp if `by` may not, without a reason, where nothing is owed, and while another proposal waits.
    """
    _refuse_without(by, PROPOSE)
    words = " ".join(reason.split())
    if not words or len(words) > LONGEST_REASON:
        raise UnableToGiveUp(_("Say why, in at most 300 characters."))
    lock_account(organization_id=organization.pk, now=now)
    cents = debts_of(organization.pk).cents
    if not cents:
        raise UnableToGiveUp(_("Nothing is owed of payments that were taken back."))
    if GivenUpDebt.objects.owned_by(organization).filter(status=Status.PROPOSED).exists():
        raise UnableToGiveUp(_("Another proposal for this organization waits: decide that first."))
    debt = GivenUpDebt.objects.create(
        organization=organization, amount_cents=cents, reason=words, proposed_by=by.public_id, proposed_at=now
    )
    _record("debt.giving_up_proposed", debt, by, now)
    return debt


@transaction.atomic
def give_up_debt(*, debt: GivenUpDebt, by: User, now: datetime) -> GivenUpDebt:
    """Give up what somebody else proposed: it is written off, owed no more, and stops nobody's work any more.

    One that is given up stays so. Raises UnableToGiveUp for who proposed it, who may not, one that was declined, and
    where less is owed by now.
    """
    debt = _locked(debt, by, now)
    if debt.status == Status.GIVEN_UP:
        return debt
    _refuse_decided(debt)
    if debt.proposed_by == by.public_id:
        raise UnableToGiveUp(_("Somebody else than who proposed it gives it up."))
    if debts_of(debt.organization_id).cents < debt.amount_cents:
        raise UnableToGiveUp(_("Less is owed by now: decline it, and propose it anew."))
    line = Line(
        LedgerEntry.Code.WRITE_OFF,
        Route(AccountKind.WRITE_OFF),
        Route(AccountKind.RECEIVABLE),
        debt.amount_cents * NANO_PER_CENT,
    )
    post(Journal(debt.organization_id, f"debt-given-up:{debt.public_id}", now, (line,)), now=now)
    _decide(debt, Status.GIVEN_UP, by, now)
    relieve(organization_id=debt.organization_id, now=now)
    _record("debt.given_up", debt, by, now)
    return debt


@transaction.atomic
def keep_debt(*, debt: GivenUpDebt, by: User, now: datetime) -> GivenUpDebt:
    """Decline a proposal; whoever made it may take it back so. Raises UnableToGiveUp as `give_up_debt`."""
    debt = _locked(debt, by, now)
    _refuse_decided(debt)
    _decide(debt, Status.DECLINED, by, now)
    _record("debt.kept", debt, by, now)
    return debt


def _locked(debt: GivenUpDebt, by: User, now: datetime) -> GivenUpDebt:
    _refuse_without(by, DECIDE)
    lock_account(organization_id=debt.organization_id, now=now)
    return GivenUpDebt.objects.select_for_update(no_key=True).get(pk=debt.pk)


def _refuse_without(by: User, permission: str) -> None:
    if not by.is_staff or not by.has_perm(permission):
        raise UnableToGiveUp(_("You may not do this with debts."))


def _refuse_decided(debt: GivenUpDebt) -> None:
    if debt.status != Status.PROPOSED:
        raise UnableToGiveUp(_("This proposal is decided already."))


def _decide(debt: GivenUpDebt, status: GivenUpDebt.Status, by: User, now: datetime) -> None:
    debt.status, debt.decided_by, debt.decided_at = status, by.public_id, now
    debt.save(update_fields=["status", "decided_by", "decided_at"])


def _record(action: str, debt: GivenUpDebt, by: User, now: datetime) -> None:
    record_event(
        action,
        organization_id=debt.organization_id,
        target=("debt", debt.public_id),
        changes={"amount": (None, decimal_string(debt.amount_cents * NANO_PER_CENT))},
        actor=staff_actor(by),
        now=now,
    )
