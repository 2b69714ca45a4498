"""Jobs of this app."""

from celery import shared_task
from django.utils import timezone

from accounts.services import (
    audit_anchors,
    audit_delivery,
    closing,
    domains,
    idempotency,
    invitations,
    leaked_keys,
    notices,
)
from portal.lib.jobs import enqueue
from portal.lib.tasks import PortalTask

# A run ends well before a task has to; what is left is the next run's.
MESSAGES_A_RUN = 6


@shared_task(name="accounts.forget_answers", base=PortalTask, platform=True)
def forget_answers(**_future: object) -> None:
    idempotency.forget_answers(now=timezone.now())


@shared_task(name="accounts.anchor_audit_logs", base=PortalTask, platform=True)
def anchor_audit_logs(**_future: object) -> None:
    audit_anchors.anchor_audit_logs(now=timezone.now())


@shared_task(name="accounts.tell_of_leaks", base=PortalTask, platform=True)
def tell_of_leaks(**_future: object) -> None:
    leaked_keys.tell_of_leaks(now=timezone.now())


@shared_task(name="accounts.mail_invitation", base=PortalTask)
def mail_invitation(*, invitation_id: int, **_future: object) -> None:
    invitations.mail_invitation(invitation_id=invitation_id, now=timezone.now())


@shared_task(name="accounts.mail_unmailed_invitations", base=PortalTask, platform=True)
def mail_unmailed_invitations(**_future: object) -> None:
    invitations.enqueue_unmailed_invitations(now=timezone.now())


@shared_task(name="accounts.close_organizations", base=PortalTask, platform=True)
def close_organizations(**_future: object) -> None:
    closing.close_due_organizations(now=timezone.now())


@shared_task(name="accounts.deliver_to_audit_endpoint", base=PortalTask, platform=True)
def deliver_to_audit_endpoint(*, endpoint_id: int, **_future: object) -> None:
    for _ in range(MESSAGES_A_RUN):
        if not audit_delivery.deliver_next(endpoint_id=endpoint_id, now=timezone.now()):
            return
    enqueue("accounts.deliver_to_audit_endpoint", endpoint_id=endpoint_id)


@shared_task(name="accounts.deliver_audit_logs", base=PortalTask, platform=True)
def deliver_audit_logs(**_future: object) -> None:
    audit_delivery.enqueue_deliveries(now=timezone.now())


@shared_task(name="accounts.tell_of_paused_endpoints", base=PortalTask, platform=True)
def tell_of_paused_endpoints(**_future: object) -> None:
    audit_delivery.tell_of_paused_endpoints(now=timezone.now())


@shared_task(name="accounts.check_domain", base=PortalTask)
def check_domain(*, domain_id: int, **_future: object) -> None:
    domains.check_domain(domain_id=domain_id, now=timezone.now())


@shared_task(name="accounts.check_domains", base=PortalTask, platform=True)
def check_domains(**_future: object) -> None:
    domains.enqueue_due_checks(now=timezone.now())


@shared_task(name="accounts.mail_notices", base=PortalTask, platform=True)
def mail_notices(**_future: object) -> None:
    notices.mail_notices(now=timezone.now())


@shared_task(name="accounts.announce_closings", base=PortalTask, platform=True)
def announce_closings(**_future: object) -> None:
    closing.announce_closings()
