"""Say how much of a deployment customers may have: staff in the admin, the owner's own systems at once by their API."""

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

import structlog
from django.db import transaction

from accounts.models import User
from accounts.services.staff_log import note_change
from inference.models import Deployment
from portal.lib.errors import DomainError

PERMISSION = "inference.change_deployment"
LARGEST = 1_000_000
HEAVIEST = 1_000
WHOLE = 100  # percent

log = structlog.get_logger(__name__)


class UnableToChangeDeployment(DomainError):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "unable_to_change_deployment"


@dataclass(frozen=True, slots=True)
class Offering:
    """How a deployment works for customers.

    weight: its share beside the model's others. concurrent_requests: at once, None for as many as come.
    offered_percent: of both, what customers may have now. is_draining: finishes what it has and gets nothing new.
    """

    weight: int
    concurrent_requests: int | None
    offered_percent: int
    is_draining: bool
    is_enabled: bool

    @classmethod
    def of(cls, deployment: Deployment) -> "Offering":
        return cls(
            deployment.weight,
            deployment.concurrent_requests,
            deployment.offered_percent,
            deployment.is_draining,
            deployment.is_enabled,
        )


@transaction.atomic
def change_deployment(*, public_id: str, offering: Offering, by: User, now: datetime) -> Deployment:
    """Let a deployment work like this, at every gateway within a second. For the platform role.

    Raises UnableToChangeDeployment if `by` may not, for an unknown deployment, or numbers out of their ranges.
    """
    if not by.is_staff or not by.has_perm(PERMISSION):
        raise UnableToChangeDeployment("You may not change deployments.")
    at_once = offering.concurrent_requests
    if not 1 <= offering.weight <= HEAVIEST or not (at_once is None or 1 <= at_once <= LARGEST):
        raise UnableToChangeDeployment(f"Weights go from 1 to {HEAVIEST:,}, requests at once from 1 to {LARGEST:,}.")
    _check_percent(offering.offered_percent)
    deployment = _locked(public_id)
    before = Offering.of(deployment)
    if before == offering:
        return deployment
    deployment.weight = offering.weight
    deployment.concurrent_requests = at_once
    deployment.offered_percent = offering.offered_percent
    deployment.is_draining, deployment.is_enabled = offering.is_draining, offering.is_enabled
    deployment.changed_at = now
    deployment.save()
    note_change(deployment, words=f"From {_words(before)} to {_words(offering)}.", by=by, now=now)
    return deployment


@transaction.atomic
def offer_deployment(*, public_id: str, percent: int, now: datetime) -> Deployment:
    """Let customers have so much of a deployment, 0 to 100 percent, at every gateway within a second.

    What it works on it finishes. For the platform role. Raises UnableToChangeDeployment as above.
    """
    _check_percent(percent)
    deployment = _locked(public_id)
    if deployment.offered_percent != percent:
        log.info(
            "inference.deployment_offered", deployment=public_id, before=deployment.offered_percent, percent=percent
        )
        deployment.offered_percent, deployment.changed_at = percent, now
        deployment.save(update_fields=["offered_percent", "changed_at"])
    return deployment


def _check_percent(percent: int) -> None:
    if not 0 <= percent <= WHOLE:
        raise UnableToChangeDeployment("Offer from 0 to 100 percent.")


def _locked(public_id: str) -> Deployment:
    deployments = Deployment.objects.select_for_update(no_key=True, of=("self",)).select_related("served_model")
    deployment = deployments.filter(public_id=public_id).first()
    if deployment is None:
        raise UnableToChangeDeployment("There is no such deployment.")
    return deployment


def _words(offering: Offering) -> str:
    at_once = "any number" if offering.concurrent_requests is None else offering.concurrent_requests
    state = "disabled" if not offering.is_enabled else "draining" if offering.is_draining else "serving"
    return f"{state}, weight {offering.weight}, {at_once} at once, {offering.offered_percent} % offered"
