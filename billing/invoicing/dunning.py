"""What happens when an invoice is not paid: states, what leads from one to another, and when. Pure.

Rules and worked dates: docs/algorithms/dunning.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class State(StrEnum):
    GOOD = "good"
    PAST_DUE = "past_due"
    GRACE = "grace"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"
    DISPUTED = "disputed"


class Event(StrEnum):
    OVERDUE = "overdue"  # an invoice is not paid when it is due
    TIME = "time"  # the days of a state are over
    PAID = "paid"  # nothing is overdue any more
    DISPUTED = "disputed"  # a bank was asked to take a payment back
    DISPUTE_WON = "dispute_won"
    DISPUTE_LOST = "dispute_lost"


class Letter(StrEnum):
    """What people are mailed."""

    PAST_DUE = "past_due"
    REMINDER = "reminder"
    GRACE = "grace"
    LAST_DAYS = "last_days"
    SUSPENDED = "suspended"
    FIRST_WARNING = "first_warning"
    SECOND_WARNING = "second_warning"
    LAST_WARNING = "last_warning"
    TERMINATED = "terminated"
    DISPUTED = "disputed"
    GOOD = "good"


class UnknownTransition(ValueError):
    """The event means nothing in that state."""


_NEXT: Mapping[tuple[State, Event], State] = {
    (State.GOOD, Event.OVERDUE): State.PAST_DUE,
    (State.PAST_DUE, Event.TIME): State.GRACE,
    (State.GRACE, Event.TIME): State.SUSPENDED,
    (State.SUSPENDED, Event.TIME): State.TERMINATED,
    (State.PAST_DUE, Event.PAID): State.GOOD,
    (State.GRACE, Event.PAID): State.GOOD,
    (State.SUSPENDED, Event.PAID): State.GOOD,
    (State.TERMINATED, Event.PAID): State.GOOD,
    (State.GOOD, Event.DISPUTED): State.DISPUTED,
    (State.PAST_DUE, Event.DISPUTED): State.DISPUTED,
    (State.GRACE, Event.DISPUTED): State.DISPUTED,
    (State.DISPUTED, Event.DISPUTE_LOST): State.PAST_DUE,
}


def transition(state: State, event: Event, *, before: State = State.GOOD) -> State:
    """Return the state that an event leads to. before: where a dispute found it, which winning leads back to.

    Raises UnknownTransition: who is suspended, for one, stays so whatever a bank says.
    """
    if (state, event) == (State.DISPUTED, Event.DISPUTE_WON):
        return before
    try:
        return _NEXT[state, event]
    except KeyError as error:
        raise UnknownTransition(f"{event} in {state}") from error


@dataclass(frozen=True, slots=True)
class Action:
    """What is done so long after a state began: a letter, or with none the step to the next state."""

    after: timedelta
    letter: Letter | None = None


def _days(days: int, letter: Letter | None = None) -> Action:
    return Action(timedelta(days=days), letter)


SCHEDULE: Mapping[State, Sequence[Action]] = {
    State.GOOD: (),
    State.DISPUTED: (_days(0, Letter.DISPUTED),),
    State.PAST_DUE: (_days(0, Letter.PAST_DUE), _days(3, Letter.REMINDER), _days(7)),
    State.GRACE: (_days(0, Letter.GRACE), _days(4, Letter.LAST_DAYS), _days(7)),
    State.SUSPENDED: (
        _days(0, Letter.SUSPENDED),
        _days(10, Letter.FIRST_WARNING),
        _days(20, Letter.SECOND_WARNING),
        _days(27, Letter.LAST_WARNING),
        _days(30),
    ),
    State.TERMINATED: (_days(0, Letter.TERMINATED),),
}
# Nothing is deleted before these were sent.
BEFORE_THE_END = (Letter.SUSPENDED, Letter.FIRST_WARNING, Letter.SECOND_WARNING, Letter.LAST_WARNING)
# A look that is late by less than this moves nothing; by more, all that follows, so that nobody's days are cut short.
PUNCTUAL = timedelta(hours=1)

STOPPED = frozenset({State.SUSPENDED, State.TERMINATED})
# Nothing new: no instances, no keys, no higher caps.
NOTHING_NEW = frozenset({State.GRACE, State.DISPUTED, *STOPPED})


def next_action_at(state: State, done: int, scheduled: datetime, now: datetime) -> datetime | None:
    """Return when the action after the first `done` ones of a state is due; None when there is none.

    scheduled: for when the last one was meant; now: when it was done.
    """
    actions = SCHEDULE[state]
    if done >= len(actions):
        return None
    from_when = scheduled if now - scheduled < PUNCTUAL else now
    return from_when + (actions[done].after - actions[done - 1].after)


# So long after its first charge for an invoice, when that is due, a kept card is charged again.
CHARGES = tuple(timedelta(days=days) for days in (0, 1, 3, 5, 7))
# What a bank says to no card again, or only to its holder; another try would be the same no.
FINAL_REFUSALS = frozenset(
    {
        "authentication_required",
        "expired_card",
        "fraudulent",
        "invalid_account",
        "lost_card",
        "pickup_card",
        "restricted_card",
        "stolen_card",
    }
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A charge that failed: the provider's word for why, and when it was begun."""

    word: str
    begun_at: datetime


def next_charge_at(due_at: datetime, refusals: Sequence[Refusal]) -> datetime | None:
    """Return when a kept card is charged next for an invoice; None when it is not any more.

    refusals: of the card that is kept now, in their order. Days count from its first charge, and between two lies one
    at the least, so that neither a card that is added late nor a portal that was away makes them come at once.
    """
    if len(refusals) >= len(CHARGES) or any(one.word in FINAL_REFUSALS for one in refusals):
        return None
    if not refusals:
        return due_at
    return max(refusals[0].begun_at + CHARGES[len(refusals)], refusals[-1].begun_at + timedelta(days=1))
