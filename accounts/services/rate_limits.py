"""Say how fast models may be called: people over their projects and keys, staff over an organization."""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from accounts.models import ApiKey, AuditEvent, Organization, Project, RateLimit, Rates, User
from accounts.models.rate_limit import LARGEST
from accounts.services.audit import changed, record_event
from accounts.services.members import lock_organization
from portal.lib.context import Actor
from portal.lib.errors import DomainError

PERMISSION = "accounts.change_ratelimit"


class UnableToSetRates(DomainError):
    code = "unable_to_set_rates"


@dataclass(frozen=True, slots=True)
class RateTarget:
    """What rates hold over: an organization, or one of its projects or keys."""

    organization: Organization
    project: Project | None = None
    api_key: ApiKey | None = None

    @property
    def name(self) -> tuple[str, str]:
        """The target's kind and public id, as the audit log has them."""
        if self.api_key is not None:
            return "key", self.api_key.public_id
        if self.project is not None:
            return "project", self.project.public_id
        return "organization", self.organization.public_id


def set_rates(*, target: RateTarget, rates: Rates, now: datetime) -> None:
    """Let these rates hold over a project or key, on every gateway within a second; where one is None nobody's do.

    Setting what holds already changes nothing. Raises UnableToSetRates for rates that are no positive numbers.
    """
    _set(target, rates, now, None)


def set_rates_of_organization(*, organization: Organization, rates: Rates, by: User, now: datetime) -> None:
    """Let these rates hold over a whole organization; where one is None, what holds for everybody does.

    For the platform role.
    Raises UnableToSetRates if `by` may not, or for rates that are no positive numbers.
    """
    if not by.is_staff or not by.has_perm(PERMISSION):
        raise UnableToSetRates("You may not change rate limits.")
    actor = Actor(kind=AuditEvent.ActorKind.USER.value, public_id=by.public_id, via=AuditEvent.Via.STAFF.value)
    _set(RateTarget(organization), rates, now, actor)


@transaction.atomic
def _set(target: RateTarget, rates: Rates, now: datetime, actor: Actor | None) -> None:
    given = (rates.requests_per_minute, rates.tokens_per_minute, rates.concurrent_requests)
    if not all(rate is None or 1 <= rate <= LARGEST for rate in given):
        raise UnableToSetRates(f"A rate is a whole number from 1 to {LARGEST:,}, or empty.")
    organization = lock_organization(target.organization.pk)
    of_target = RateLimit.objects.filter(
        organization=organization, project=target.project, api_key=target.api_key
    ).first()
    before = of_target.rates if of_target is not None else Rates()
    changes = changed(
        requests_per_minute=(before.requests_per_minute, rates.requests_per_minute),
        tokens_per_minute=(before.tokens_per_minute, rates.tokens_per_minute),
        concurrent_requests=(before.concurrent_requests, rates.concurrent_requests),
    )
    if not changes:
        return
    if rates == Rates():
        RateLimit.objects.filter(organization=organization, project=target.project, api_key=target.api_key).delete()
    else:
        limit = of_target or RateLimit(organization=organization, project=target.project, api_key=target.api_key)
        limit.requests_per_minute, limit.tokens_per_minute, limit.concurrent_requests = given
        limit.changed_at = now
        limit.save()
    _wake_gateways(target, now)
    record_event(
        "rate_limit.changed",
        organization_id=organization.pk,
        target=target.name,
        changes=changes,
        actor=actor,
        now=now,
    )


def _wake_gateways(target: RateTarget, now: datetime) -> None:
    """Make gateways look again at every key that the rates hold over."""
    keys = ApiKey.objects.owned_by(target.organization).unrevoked()
    if target.api_key is not None:
        keys = keys.filter(pk=target.api_key.pk)
    elif target.project is not None:
        keys = keys.filter(project=target.project)
    keys.update(changed_at=now)
