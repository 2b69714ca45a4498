"""Jobs of this app."""

from celery import shared_task
from django.utils import timezone

from accounts.services import idempotency
from portal.lib.tasks import PortalTask


@shared_task(name="accounts.forget_answers", base=PortalTask, platform=True)
def forget_answers(**_future: object) -> None:
    idempotency.forget_answers(now=timezone.now())
