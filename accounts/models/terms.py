"""On what terms an organization buys: what it may owe and run, and when it pays. Rules: docs/algorithms/terms.md."""

from __future__ import annotations

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models.organization import Organization
from accounts.models.user import User
from portal.lib.public_ids import new_terms_id

NET_DAYS = (0, 15, 30, 60)


class OrganizationTermsQuerySet(models.QuerySet["OrganizationTerms"]):
    def owned_by(self, organization: Organization) -> OrganizationTermsQuerySet:
        return self.filter(organization=organization)

    def in_force(self) -> OrganizationTermsQuerySet:
        return self.filter(status=OrganizationTerms.Status.IN_FORCE)

    def due(self, now: datetime) -> OrganizationTermsQuerySet:
        """Those that are to begin or to end by now, in the order of when."""
        begin = Q(status=OrganizationTerms.Status.APPROVED, active_from__lte=now)
        end = Q(status=OrganizationTerms.Status.IN_FORCE, active_to__lte=now)
        return self.filter(begin | end).order_by("active_from", "pk")


class OrganizationTerms(models.Model):
    """A version of what an organization may owe and run and when it pays, in force during [active_from, active_to).

    proposed → approved (by another person) → in force → ended; proposed, approved → discarded. A change is a new
    version, which ends the one before where it begins. An organization without any pays from credit.
    """

    class Status(models.TextChoices):
        PROPOSED = "proposed", _("Proposed")
        APPROVED = "approved", _("Approved")
        IN_FORCE = "in_force", _("In force")
        ENDED = "ended", _("Ended")
        DISCARDED = "discarded", _("Discarded")

    TRANSITIONS = {
        Status.PROPOSED: {Status.APPROVED, Status.DISCARDED},
        Status.APPROVED: {Status.IN_FORCE, Status.DISCARDED},
        Status.IN_FORCE: {Status.ENDED},
        Status.ENDED: set[Status](),
        Status.DISCARDED: set[Status](),
    }

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="terms")
    public_id = models.CharField(max_length=32, unique=True, default=new_terms_id, editable=False)
    version = models.PositiveIntegerField()
    status = models.CharField(max_length=10, choices=Status, default=Status.PROPOSED)
    credit_limit_nano = models.BigIntegerField()  # nano-dollars, whole cents
    net_days = models.PositiveSmallIntegerField(choices=[(days, str(days)) for days in NET_DAYS])
    needs_purchase_order = models.BooleanField(default=False)
    # Unbilled usage beyond this is invoiced in the middle of the month; empty: at its end only.
    invoice_above_nano = models.BigIntegerField(null=True, blank=True)
    # How many instances of a kind may hold capacity at once; empty: as many as there are.
    gpu_quota = models.PositiveIntegerField(null=True, blank=True)
    tpu_quota = models.PositiveIntegerField(null=True, blank=True)
    cpu_quota = models.PositiveIntegerField(null=True, blank=True)
    # Names of the only regions where they may be launched; none: everywhere.
    regions = ArrayField(models.CharField(max_length=40), default=list, db_default=[], blank=True)
    active_from = models.DateTimeField()
    active_to = models.DateTimeField(null=True, blank=True)
    proposed_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField()
    approved_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    # When it really was in force: an end before `active_to` is another version's beginning, or somebody's decision.
    begun_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = OrganizationTermsQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("terms"), _("terms")
        permissions = [
            ("propose_terms", "Can propose terms of organizations"),
            ("approve_terms", "Can approve and end terms of organizations"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="terms_organization_id"),
            models.UniqueConstraint(fields=["organization", "version"], name="terms_version_once"),
            models.UniqueConstraint(
                fields=["organization"], condition=Q(status="in_force"), name="terms_one_version_in_force"
            ),
            models.CheckConstraint(condition=Q(credit_limit_nano__gte=0), name="terms_limit_not_negative"),
            models.CheckConstraint(condition=Q(net_days__in=NET_DAYS), name="terms_known_net_days"),
            models.CheckConstraint(
                condition=Q(invoice_above_nano=None) | Q(invoice_above_nano__gt=0), name="terms_threshold_positive"
            ),
            models.CheckConstraint(
                condition=Q(active_to=None) | Q(active_to__gt=F("active_from")), name="terms_period_not_empty"
            ),
            models.CheckConstraint(
                condition=Q(approved_by=None) | ~Q(approved_by=F("proposed_by")), name="terms_by_two_persons"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["proposed", "discarded"])
                | Q(approved_by__isnull=False, approved_at__isnull=False),
                name="terms_in_force_are_approved",
            ),
        ]

    def __str__(self) -> str:
        return f"terms {self.version} of organization {self.organization_id}"

    @property
    def quotas(self) -> dict[str, int]:
        """Return how many instances may hold capacity at once, by the kind of their type, where that is limited."""
        stated = {"gpu": self.gpu_quota, "tpu": self.tpu_quota, "cpu": self.cpu_quota}
        return {kind: quota for kind, quota in stated.items() if quota is not None}

    def can_become(self, status: Status) -> bool:
        return status in self.TRANSITIONS[self.Status(self.status)]
