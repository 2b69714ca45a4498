"""Move organizations between good standing and the end, when bills are not paid. Rules: docs/algorithms/dunning.md.

Locks: the organization's credit, its row, how it stands, the audit log.
"""

from datetime import datetime, timedelta
from typing import ClassVar

import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import AuditEvent, Organization, User
from accounts.services.audit import record_event
from billing.invoicing.dunning import (
    NOTHING_NEW,
    SCHEDULE,
    STOPPED,
    Event,
    Letter,
    State,
    UnknownTransition,
    next_action_at,
    transition,
)
from billing.models import SpendCap, Standing, StandingLetter
from billing.selectors.standing import is_on_terms, is_told_enough, organization_ids_overdue, overdue_cents
from billing.services.credits import lock_account
from portal.lib.batches import one_by_one
from portal.lib.context import Actor
from portal.lib.errors import DomainError

log = structlog.get_logger(__name__)

APPROVE = "billing.approve_suspension"
# What waits for mails that were not sent is looked at again after so long.
WAIT_FOR_MAILS = timedelta(days=1)


class UnableToSuspend(DomainError):
    code: ClassVar[str] = "unable_to_suspend"


class UnableToDispute(DomainError):
    code: ClassVar[str] = "unable_to_dispute"


def work_standings(*, now: datetime) -> int:
    """Begin with who has become overdue, take every action that is due, and return how many there were.

    For the platform role, each action in a transaction of its own: a worker that dies between two leaves the rest for
    the next, and none is taken twice. One action of an organization in a look, so that none is hurried past.
    """
    begun = one_by_one(organization_ids_overdue(now), lambda pk: _begin(pk, now), _tell_of_trouble)
    due = Standing.objects.due(now).values_list("organization_id", flat=True)
    return begun + one_by_one(due, lambda pk: _act(pk, now), _tell_of_trouble)


def _tell_of_trouble(organization_id: int) -> None:
    log.exception("billing.standing_not_worked", organization_id=organization_id)


@transaction.atomic
def relieve(*, organization_id: int, now: datetime) -> Standing | None:
    """Let an organization stand good again if nothing of it is overdue any more, whatever it had come to.

    Whoever makes a debt go away calls it, and holds the organization's locks (`lock_account`).
    """
    standing = Standing.objects.of_organization(organization_id).select_for_update(no_key=True).first()
    if standing is None or standing.state in (State.GOOD, State.DISPUTED) or overdue_cents(organization_id, now):
        return None
    _enter(standing, transition(State(standing.state), Event.PAID), now)
    _record("good", standing, now, None)
    return standing


@transaction.atomic
def approve_suspension(*, organization: Organization, by: User, now: datetime) -> Standing:
    """Suspend an organization on terms as the person who is waited for. For the platform role.

    Raises UnableToSuspend where nobody is waited for any more, or if `by` may not.
    """
    if not by.is_staff or not by.has_perm(APPROVE):
        raise UnableToSuspend(_("You may not approve suspensions."))
    lock_account(organization_id=organization.pk, now=now)
    standing = Standing.objects.waiting().of_organization(organization.pk).select_for_update(no_key=True).first()
    if standing is None or not overdue_cents(organization.pk, now):
        raise UnableToSuspend(_("It does not wait to be suspended."))
    standing.approved_by = by.public_id
    _enter(standing, transition(State.GRACE, Event.TIME), now)
    _record("suspended", standing, now, by)
    return standing


@transaction.atomic
def open_dispute(*, organization_id: int, now: datetime) -> Standing:
    """Let nothing new begin while a bank decides whether a payment is taken back. One that is disputed stays so.

    Raises UnableToDispute where it is suspended already: then it stays so.
    """
    lock_account(organization_id=organization_id, now=now)
    standing = _standing_of(organization_id, now)
    if standing.state == State.DISPUTED:
        return standing
    before = standing.state
    try:
        state = transition(State(before), Event.DISPUTED)
    except UnknownTransition as error:
        raise UnableToDispute(_("It is suspended already.")) from error
    standing.before_dispute = before
    _enter(standing, state, now)
    _record("disputed", standing, now, None)
    return standing


@transaction.atomic
def end_dispute(*, organization_id: int, is_won: bool, now: datetime) -> Standing:
    """Go back to where the dispute began, or to past due where it is lost and owed again; good if nothing is overdue.

    What has become due meanwhile is found by the next look. Raises UnableToDispute where none is open.
    """
    lock_account(organization_id=organization_id, now=now)
    standing = _standing_of(organization_id, now)
    if standing.state != State.DISPUTED:
        raise UnableToDispute(_("There is no dispute."))
    event = Event.DISPUTE_WON if is_won else Event.DISPUTE_LOST
    state = transition(State.DISPUTED, event, before=State(standing.before_dispute))
    if state is not State.GOOD and not overdue_cents(organization_id, now):
        state = transition(state, Event.PAID)
    _enter(standing, state, now)
    _record("dispute_ended", standing, now, None)
    return standing


@transaction.atomic
def _begin(organization_id: int, now: datetime) -> bool:
    lock_account(organization_id=organization_id, now=now)
    standing = _standing_of(organization_id, now)
    if standing.state != State.GOOD or not overdue_cents(organization_id, now):
        return False
    _enter(standing, transition(State.GOOD, Event.OVERDUE), now)
    _record("past_due", standing, now, None)
    return True


@transaction.atomic
def _act(organization_id: int, now: datetime) -> bool:
    lock_account(organization_id=organization_id, now=now)
    due = Standing.objects.due(now).of_organization(organization_id)
    standing = due.select_for_update(no_key=True).first()
    if standing is None or standing.next_action_at is None:
        return False
    if standing.state != State.DISPUTED and not overdue_cents(organization_id, now):
        return relieve(organization_id=organization_id, now=now) is not None
    state = State(standing.state)
    action = SCHEDULE[state][standing.done]
    if action.letter is not None:
        _write(standing, action.letter, now)
        scheduled = standing.next_action_at
        standing.done += 1
        standing.next_action_at = next_action_at(state, standing.done, scheduled, now)
        standing.save(update_fields=["done", "next_action_at"])
        return True
    return _step(standing, state, now)


def _step(standing: Standing, state: State, now: datetime) -> bool:
    """Go to the next state, unless a person or a mail is waited for."""
    if state is State.GRACE and is_on_terms(standing.organization_id):
        standing.waits_since, standing.next_action_at = now, None
        standing.save(update_fields=["waits_since", "next_action_at"])
        return True
    if state is State.SUSPENDED and not is_told_enough(standing):
        log.warning("billing.standing_waits_for_mails", organization_id=standing.organization_id)
        standing.next_action_at = now + WAIT_FOR_MAILS
        standing.save(update_fields=["next_action_at"])
        return False
    _enter(standing, transition(state, Event.TIME), now)
    _record(standing.state, standing, now, None)
    return True


def _enter(standing: Standing, state: State, now: datetime) -> None:
    """Begin a state: its first letter is noted, and copies are written where they are read."""
    was_good = standing.state == State.GOOD
    standing.state, standing.since, standing.done, standing.waits_since = state.value, now, 0, None
    standing.next_action_at = None
    if state is State.GOOD:
        _write(standing, Letter.GOOD, now)
        standing.began_at, standing.approved_by = None, ""
    else:
        standing.began_at = now if was_good or standing.began_at is None else standing.began_at
        standing.save()
        _write(standing, SCHEDULE[state][0].letter, now)
        standing.done = 1
        standing.next_action_at = next_action_at(state, 1, now, now)
    standing.save()
    Organization.objects.filter(pk=standing.organization_id).update(payment_state=state.value)
    SpendCap.objects.of_organization(standing.organization_id).update(is_suspended=state in STOPPED)


def _write(standing: Standing, letter: Letter | None, now: datetime) -> None:
    if letter is None:
        return
    StandingLetter.objects.create(
        organization_id=standing.organization_id,
        standing=standing,
        letter=letter.value,
        owed_cents=overdue_cents(standing.organization_id, now),
        noted_at=now,
    )


def _standing_of(organization_id: int, now: datetime) -> Standing:
    """Return how an organization stands, locked; the first time it does not pay, the row is made."""
    mine = Standing.objects.of_organization(organization_id).select_for_update(no_key=True)
    return mine.first() or Standing.objects.create(organization_id=organization_id, state=State.GOOD.value, since=now)


def _record(word: str, standing: Standing, now: datetime, by: User | None) -> None:
    actor = None
    if by is not None:
        actor = Actor(kind=AuditEvent.ActorKind.USER.value, public_id=by.public_id, via=AuditEvent.Via.STAFF.value)
    organization = Organization.objects.get(pk=standing.organization_id)
    record_event(
        f"standing.{word}",
        organization_id=standing.organization_id,
        target=("organization", organization.public_id),
        changes={"state": (None, standing.state), "nothing_new": (None, State(standing.state) in NOTHING_NEW)},
        actor=actor,
        now=now,
    )
