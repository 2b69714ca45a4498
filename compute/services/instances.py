"""Stop, start, restart and end instances: what is asked is written here, and done by reconcilers.

Locks are taken in one order everywhere: the instance, then its pool, then the spend cap.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import ClassVar

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import Organization
from accounts.services.audit import Changes, record_event
from billing.selectors.standing import stopped_organization_ids, terminated_organization_ids
from compute.models import Instance
from compute.reconcile import State, Want
from compute.services.agreed import refuse_beyond_quota
from compute.services.capacity import take_units
from compute.services.funding import fund_anew, release_funds
from compute.services.metering import end_at_request, end_where_confirmed
from compute.services.timeline import enter_state
from portal.lib.crashpoints import crashpoint
from portal.lib.errors import DomainError
from portal.lib.jobs import enqueue

# How long a boot may take before it has failed.
BOOT_PATIENCE = timedelta(minutes=10)
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)


class UnableToChangeInstance(DomainError):
    """The instance is not in a state for this."""

    code: ClassVar[str] = "wrong_state"


class NoSuchInstance(DomainError):
    """The organization has no instance with that id."""

    status: ClassVar[HTTPStatus] = HTTPStatus.NOT_FOUND
    code: ClassVar[str] = "object_does_not_exist"


@transaction.atomic
def stop_instance(*, instance: Instance, now: datetime) -> Instance:
    """Accept a stop: billing ends at `now`, the hold goes back, the disk stays. Stopping twice changes nothing.

    Raises UnableToChangeInstance unless it is active or unhealthy.
    """
    instance = _lock(instance)
    if instance.want == Want.STOPPED:
        return instance
    if not instance.can_stop:
        raise UnableToChangeInstance(_refusal(instance, _("stopped")))
    end_at_request(instance, now=now)
    accept_stop(instance, _("Stop accepted. Billing has ended; the disk is kept."), now=now)
    return instance


def accept_stop(instance: Instance, text: str, *, now: datetime) -> None:
    """Write the stop of a locked instance whose interval has ended, and why."""
    release_funds(instance, now=now)
    instance.want = Want.STOPPED.value
    enter_state(instance, State.STOPPING, text, now=now)
    _save_request(instance, now)
    record_instance_event("instance.stopped", instance, now=now)


@transaction.atomic
def start_instance(*, instance: Instance, now: datetime) -> Instance:
    """Accept the start of a stopped instance: a unit is sold and a lease held, as at launch.

    Raises UnableToChangeInstance unless it is stopped, BeyondTerms, InsufficientCapacity, BudgetExceeded.
    """
    instance = _lock(instance)
    if not instance.can_start:
        raise UnableToChangeInstance(_refusal(instance, _("started")))
    refuse_beyond_quota(instance.organization, instance.instance_type, 1, besides=instance)
    if not instance.holds_unit:
        take_units(region=instance.region, instance_type=instance.instance_type, count=1)
        instance.holds_unit = True
    fund_anew(instance, now=now)
    refuse_beyond_quota(instance.organization, instance.instance_type, 1, besides=instance)
    instance.want = Want.RUNNING.value
    instance.give_up_at = now + BOOT_PATIENCE
    enter_state(instance, State.BOOTING, _("Start accepted. Billing starts when the instance answers."), now=now)
    _save_request(instance, now, boots=True)
    record_instance_event("instance.started", instance, now=now)
    return instance


@transaction.atomic
def restart_instance(*, instance: Instance, now: datetime) -> Instance:
    """Accept a restart: billing pauses until the instance answers again.

    Raises UnableToChangeInstance unless it is active or unhealthy.
    """
    instance = _lock(instance)
    if not instance.can_restart:
        raise UnableToChangeInstance(_refusal(instance, _("restarted")))
    end_at_request(instance, now=now)
    instance.give_up_at = now + BOOT_PATIENCE
    enter_state(instance, State.BOOTING, _("Restart accepted. Billing pauses until the instance answers."), now=now)
    _save_request(instance, now, boots=True)
    record_instance_event("instance.restarted", instance, now=now)
    return instance


@transaction.atomic
def terminate_instance(*, instance: Instance, now: datetime, reason: str = "") -> Instance:
    """Accept the end: billing ends at `now`, the hold goes back, the disk is removed. Safe to repeat.

    reason: a sentence for the timeline when nobody pressed the button.
    """
    instance = _lock(instance)
    if not instance.can_terminate:
        return instance
    end_at_request(instance, now=now)
    release_funds(instance, now=now)
    instance.want = Want.TERMINATED.value
    text = reason or _("Termination accepted. Billing has ended; the disk is removed.")
    enter_state(instance, State.TERMINATING, text, now=now)
    _save_request(instance, now)
    record_instance_event("instance.terminated", instance, now=now)
    return instance


def fail_instance(instance: Instance, reason: str, *, now: datetime) -> None:
    """Write the failure of a locked instance: nothing more is billed and nothing held. The caller saves the row."""
    end_where_confirmed(instance, now=now)
    release_funds(instance, now=now)
    instance.want = Want.TERMINATED.value
    instance.generation += 1
    instance.failure_reason = reason
    instance.ended_at = now
    enter_state(instance, State.FAILED, reason, now=now)


def record_instance_event(action: str, instance: Instance, *, now: datetime, changes: Changes | None = None) -> None:
    """Append to the audit log what was done to an instance: the last statement of a service."""
    record_event(
        action,
        organization_id=instance.organization_id,
        target=("instance", instance.public_id),
        changes=changes,
        now=now,
    )


def expire_instances(*, now: datetime) -> int:
    """End every instance whose time is up and return how many; each is a transaction of its own.

    For the platform role: it works across organizations.
    """
    expired = list(Instance.objects.expired(now).order_by("expires_at", "pk")[:1000])
    for instance in expired:
        terminate_instance(
            instance=instance, now=now, reason=_("Its end date has come. Billing has ended; the disk is removed.")
        )
    return len(expired)


def end_instances_of_closed_organizations(*, now: datetime) -> int:
    """End every instance of an organization that is closed and return how many; each is a transaction of its own.

    For the platform role. Billing and accounts never call us: we ask who is closed.
    """
    closed = Instance.objects.living().exclude(want=Want.TERMINATED.value)
    wanted = list(closed.filter(organization__in=Organization.objects.closed()).order_by("pk")[:1000])
    for instance in wanted:
        terminate_instance(
            instance=instance, now=now, reason=_("Its organization is closed. Billing has ended; the disk is removed.")
        )
    return len(wanted)


def stop_instances_of_suspended_organizations(*, now: datetime) -> int:
    """Stop what runs for who is suspended for a debt, end what is left of who is terminated; return how many.

    For the platform role, each in a transaction of its own. Billing never calls us: we ask who is stopped. Disks are
    kept until the organization is terminated.
    """
    running = Instance.objects.living().filter(want=Want.RUNNING.value)
    meant = list(running.filter(organization_id__in=stopped_organization_ids()).order_by("pk")[:1000])
    stopped = sum(_stop_for_debt(instance, now) for instance in meant)
    left = Instance.objects.living().exclude(want=Want.TERMINATED.value)
    ended = list(left.filter(organization_id__in=terminated_organization_ids()).order_by("pk")[:1000])
    for instance in ended:
        terminate_instance(instance=instance, now=now, reason=_("An invoice was not paid. The disk is removed."))
    return stopped + len(ended)


@transaction.atomic
def _stop_for_debt(instance: Instance, now: datetime) -> bool:
    """Stop an instance as its owner would; one that has not booted yet is stopped when it has."""
    instance = _lock(instance)
    if instance.want != Want.RUNNING or not instance.can_stop:
        return False
    end_at_request(instance, now=now)
    accept_stop(instance, _("Stopped for an unpaid bill. Billing has ended; the disk is kept."), now=now)
    return True


def find_owned(organization: Organization, public_ids: Sequence[str]) -> list[Instance]:
    """Return the organization's instances with these ids, in their order.

    Raises NoSuchInstance naming the first one that is not there.
    """
    found = {one.public_id: one for one in Instance.objects.owned_by(organization).filter(public_id__in=public_ids)}
    for public_id in public_ids:
        if public_id not in found:
            raise NoSuchInstance(_("There is no instance %(id)s.") % {"id": public_id})
    return [found[public_id] for public_id in public_ids]


def lock_owned(organization: Organization, public_ids: Sequence[str]) -> list[Instance]:
    """Return them as find_owned does, locked for the rest of the transaction, in one order.

    Whoever changes several in one transaction locks all of them before the first touches the spend cap; else it
    holds the cap and waits for the next instance while a reconciler holds that one and waits for the cap.
    """
    mine = Instance.objects.owned_by(organization).filter(public_id__in=public_ids)
    list(mine.select_for_update().order_by("pk").values_list("pk", flat=True))
    return find_owned(organization, public_ids)


def _lock(instance: Instance) -> Instance:
    rows = Instance.objects.select_for_update(of=("self",))
    return rows.select_related("region", "instance_type").get(pk=instance.pk)


def _save_request(instance: Instance, now: datetime, *, boots: bool = False) -> None:
    """Save an accepted change of what is wanted: a new generation, which the next look of a reconciler serves."""
    instance.generation += 1
    if boots:
        instance.boot_generation = instance.generation
    instance.next_check_at = now
    instance.save()
    crashpoint("request_before_commit")
    enqueue("compute.reconcile_instance", instance_id=instance.pk)


def _refusal(instance: Instance, verb: str) -> str:
    state = instance.get_state_display().lower()
    return _("%(name)s is %(state)s and cannot be %(verb)s now.") % {
        "name": instance.name,
        "state": state,
        "verb": verb,
    }
