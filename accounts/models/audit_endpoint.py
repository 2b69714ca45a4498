"""Where an organization has its audit log sent. Rules: docs/audit-stream.md, services/audit_delivery.py."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils.translation import gettext_lazy as _

from accounts.models.audit import AuditEvent
from accounts.models.organization import Organization
from portal.lib.outbound import LONGEST_URL
from portal.lib.public_ids import new_hook_id

LONGEST_PROBLEM = 200


class EndpointState(models.TextChoices):
    ACTIVE = "active", _("Active")
    FAILING = "failing", _("Failing")
    PAUSED = "paused", _("Paused")


class AuditEndpointQuerySet(models.QuerySet["AuditEndpoint"]):
    def owned_by(self, organization: Organization) -> AuditEndpointQuerySet:
        return self.filter(organization=organization)

    def in_order(self) -> AuditEndpointQuerySet:
        return self.order_by("created_at", "pk")

    def unclaimed(self, now: datetime) -> AuditEndpointQuerySet:
        return self.filter(Q(claimed_until=None) | Q(claimed_until__lte=now))

    def waiting(self, now: datetime) -> AuditEndpointQuerySet:
        """Those that have something to be sent to them now: a test, or entries behind their cursor."""
        behind = AuditEvent.objects.filter(
            organization=OuterRef("organization"), sequence__gt=OuterRef("delivered_sequence")
        )
        may_be_tried = Q(paused_at=None) & (Q(next_try_at=None) | Q(next_try_at__lte=now))
        return self.unclaimed(now).filter(Q(test_requested_at__isnull=False) | (may_be_tried & Q(Exists(behind))))

    def untold(self) -> AuditEndpointQuerySet:
        """Those that the portal paused and no owner was told of."""
        return self.filter(paused_at__isnull=False, pause_reason=AuditEndpoint.Pause.FAILING, told_at=None)


class AuditEndpoint(models.Model):
    """An address that gets every entry of the log in order, at least once each; the cursor is the last one it took.

    active -> failing (an answer was not 2xx) -> paused (too often, or a person paused it) -> active from the cursor on.
    """

    class Pause(models.TextChoices):
        ASKED = "asked", _("A member paused it")
        FAILING = "failing", _("Too many tries failed")

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="audit_endpoints")
    public_id = models.CharField(max_length=32, unique=True, default=new_hook_id, editable=False)
    url = models.CharField(max_length=LONGEST_URL)
    secret = models.BinaryField()  # sealed
    # The secret before the last rotation signs beside the present one until then.
    former_secret = models.BinaryField(null=True)  # sealed
    former_secret_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    delivered_sequence = models.BigIntegerField()  # the cursor: every entry up to this one was taken
    delivered_at = models.DateTimeField(null=True)
    # The last entry of the message that is being tried, so that a repetition is the same message.
    batch_end = models.BigIntegerField(null=True)
    # Who is sending right now, and until when nobody else does.
    claim = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)

    failure_count = models.PositiveSmallIntegerField(default=0)  # in a row
    failing_since = models.DateTimeField(null=True)
    next_try_at = models.DateTimeField(null=True)
    last_tried_at = models.DateTimeField(null=True)
    last_was_test = models.BooleanField(default=False)
    last_status = models.PositiveSmallIntegerField(null=True)  # of HTTP; none when nothing answered
    last_problem = models.CharField(max_length=LONGEST_PROBLEM, blank=True)

    paused_at = models.DateTimeField(null=True)
    pause_reason = models.CharField(max_length=8, choices=Pause, blank=True)
    told_at = models.DateTimeField(null=True)  # when owners were mailed that the portal paused it
    test_requested_at = models.DateTimeField(null=True)

    objects = AuditEndpointQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="audit_endpoint_organization_id"),
            models.CheckConstraint(
                condition=Q(former_secret=None, former_secret_until=None)
                | Q(former_secret__isnull=False, former_secret_until__isnull=False),
                name="audit_endpoint_former_secret_ends",
            ),
            models.CheckConstraint(
                condition=Q(paused_at=None, pause_reason="") | Q(paused_at__isnull=False, pause_reason__gt=""),
                name="audit_endpoint_paused_for_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(claim=None, claimed_until=None) | Q(claim__isnull=False, claimed_until__isnull=False),
                name="audit_endpoint_claim_ends",
            ),
            models.CheckConstraint(
                condition=Q(batch_end=None) | Q(batch_end__gt=F("delivered_sequence")),
                name="audit_endpoint_batch_behind_cursor",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} of {self.organization_id}"

    @property
    def state(self) -> EndpointState:
        if self.paused_at is not None:
            return EndpointState.PAUSED
        return EndpointState.FAILING if self.failure_count else EndpointState.ACTIVE
