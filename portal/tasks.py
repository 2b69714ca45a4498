"""Jobs that concern every app."""

from celery import shared_task
from django.utils import timezone

from portal import retention
from portal.lib.jobs import enqueue
from portal.lib.tasks import PortalTask


@shared_task(name="portal.delete_past", base=PortalTask, platform=True)
def delete_past(**_future: object) -> None:
    if not retention.delete_past(now=timezone.now()):
        enqueue("portal.delete_past")
