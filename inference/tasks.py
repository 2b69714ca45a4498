"""Jobs of inference."""

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from inference.services.deployments import probe_deployments
from portal.lib.tasks import PortalTask


@shared_task(name="inference.probe_deployments", base=PortalTask, platform=True)
def probe(**_future: object) -> None:
    probe_deployments(upstream_key=settings.MODEL_UPSTREAM_KEY, now=timezone.now())
