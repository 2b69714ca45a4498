"""Jobs of compute. All work across organizations, as the platform: they look at machines, not at people's requests."""

from datetime import timedelta

import structlog
from celery import shared_task
from django.conf import settings
from django.utils import timezone

from compute.backends import TryAgain, load_backend
from compute.models import Pool
from compute.services.agreement import reconcile_hours
from compute.services.instances import (
    end_instances_of_closed_organizations,
    expire_instances,
    stop_instances_of_suspended_organizations,
)
from compute.services.reconciliation import WHILE_WAITING, enqueue_due_instances, reconcile_instance, sweep_engine
from portal.lib.jobs import enqueue
from portal.lib.tasks import PortalTask

log = structlog.get_logger(__name__)

# Launch, look, confirm: more steps than this in a row mean that something is odd, and the sweep comes by.
STEPS_AT_ONCE = 6


@shared_task(name="compute.reconcile_instance", base=PortalTask, platform=True)
def reconcile(*, instance_id: int, **_future: object) -> None:
    for _ in range(STEPS_AT_ONCE):
        next_look = reconcile_instance(instance_id=instance_id, clock=timezone.now)
        if next_look is None:
            return
        wait = next_look - timezone.now()
        if wait > WHILE_WAITING:
            return
        if wait > timedelta(0):
            enqueue("compute.reconcile_instance", after=wait, instance_id=instance_id)
            return


@shared_task(name="compute.reconcile_due_instances", base=PortalTask, platform=True)
def reconcile_due(**_future: object) -> None:
    enqueue_due_instances(now=timezone.now())


@shared_task(name="compute.expire_instances", base=PortalTask, platform=True)
def expire(**_future: object) -> None:
    expire_instances(now=timezone.now())


@shared_task(name="compute.end_closed", base=PortalTask, platform=True)
def end_closed(**_future: object) -> None:
    end_instances_of_closed_organizations(now=timezone.now())


@shared_task(name="compute.stop_suspended", base=PortalTask, platform=True)
def stop_suspended(**_future: object) -> None:
    stop_instances_of_suspended_organizations(now=timezone.now())


@shared_task(name="compute.sweep_orphans", base=PortalTask, platform=True)
def sweep_orphans(**_future: object) -> None:
    for name in Pool.objects.order_by("backend").values_list("backend", flat=True).distinct():
        try:
            swept = sweep_engine(backend=load_backend(settings.PROVISIONING_BACKENDS[name]), clock=timezone.now)
        except TryAgain as error:
            log.warning("compute.engine.unreachable", engine=name, error=str(error))
        else:
            log.info("compute.engine.swept", engine=name, ended=swept.ended, woken=swept.woken, foreign=swept.foreign)


@shared_task(name="compute.compare_hours", base=PortalTask, platform=True)
def compare_hours(**_future: object) -> None:
    reconcile_hours(now=timezone.now())
