"""What owners are mailed about: one row for each, so that a lost job or a mail server's bad hour loses none."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models.organization import Organization

# A mail that cannot be sent for so long is given up; the audit log has said it all the while.
TRIED_FOR = timedelta(days=3)


class NoticeQuerySet(models.QuerySet["Notice"]):
    def unmailed(self, now: datetime) -> NoticeQuerySet:
        return self.filter(mailed_at=None, created_at__gt=now - TRIED_FOR).order_by("created_at", "pk")


class Notice(models.Model):
    """Something happened that every owner of the organization is to read."""

    class Kind(models.TextChoices):
        DOMAIN_FAILING = "domain_failing", _("The record of a verified domain is gone")
        DOMAIN_LOST = "domain_lost", _("A domain is no longer verified")
        MEMBER_JOINED = "member_joined", _("Somebody joined by their address")
        SSO_REQUIRED = "sso_required", _("Single sign-on is required")
        SSO_OPTIONAL = "sso_optional", _("Single sign-on is not required any more")
        BREAK_GLASS = "break_glass", _("An owner entered without single sign-on")

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=32, choices=Kind)
    subject_id = models.CharField(max_length=32)  # public id of the domain or member that it is about
    created_at = models.DateTimeField()
    mailed_at = models.DateTimeField(null=True, blank=True)

    objects = NoticeQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "id"], name="notice_organization_id")]
        indexes = [
            models.Index(fields=["created_at"], condition=models.Q(mailed_at=None), name="notice_unmailed"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} about {self.subject_id}"
