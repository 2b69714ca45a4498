"""How fast models may be called: by the minute, and how much at once. Law: docs/algorithms/limits.md."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models.api_key import ApiKey
from accounts.models.organization import Organization, Project
from portal.lib.public_ids import new_rate_id

# Larger than any gateway can serve, and small enough for every sum.
LARGEST = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rates:
    """What one of organization, project and key may do; None where nothing limits it."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None

    def or_else(self, other: Rates) -> Rates:
        """Return these rates, with the other's where these say nothing."""

        def first(own: int | None, theirs: int | None) -> int | None:
            return theirs if own is None else own

        return Rates(
            first(self.requests_per_minute, other.requests_per_minute),
            first(self.tokens_per_minute, other.tokens_per_minute),
            first(self.concurrent_requests, other.concurrent_requests),
        )


# What holds where nobody said otherwise. A person in the console counts like a key.
RATES_OF_KEY = Rates(requests_per_minute=6_000, tokens_per_minute=4_000_000, concurrent_requests=500)
RATES_OF_PROJECT = Rates()
RATES_OF_ORGANIZATION = Rates(requests_per_minute=30_000, tokens_per_minute=20_000_000, concurrent_requests=2_000)


class RateLimitQuerySet(models.QuerySet["RateLimit"]):
    def owned_by(self, organization: Organization) -> RateLimitQuerySet:
        return self.filter(organization=organization)

    def over_organizations(self) -> RateLimitQuerySet:
        """Those over organizations as a whole."""
        return self.filter(project=None, api_key=None)

    def of_customers(self) -> RateLimitQuerySet:
        """Those that customers set themselves: over their projects and keys."""
        return self.exclude(project=None, api_key=None)


class RateLimit(models.Model):
    """Rates over one organization (set by us), or over one of its projects or keys (set by its people).

    Where a rate is empty, what holds for everybody holds.
    """

    class Scope(models.TextChoices):
        ORGANIZATION = "organization", _("Organization")
        PROJECT = "project", _("Project")
        KEY = "key", _("API key")

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="rate_limits")
    project = models.ForeignKey(Project, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    api_key = models.ForeignKey(ApiKey, null=True, blank=True, on_delete=models.CASCADE, related_name="+")
    public_id = models.CharField(max_length=32, unique=True, default=new_rate_id, editable=False)
    requests_per_minute = models.PositiveIntegerField(_("requests per minute"), null=True, blank=True)
    tokens_per_minute = models.PositiveIntegerField(_("tokens per minute"), null=True, blank=True)
    concurrent_requests = models.PositiveIntegerField(_("requests at once"), null=True, blank=True)
    changed_at = models.DateTimeField()

    objects = RateLimitQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("rate limit"), _("rate limits")
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="rate_limit_organization_id"),
            models.UniqueConstraint(
                fields=["organization", "project", "api_key"], name="rate_limit_once", nulls_distinct=False
            ),
            models.CheckConstraint(condition=Q(project=None) | Q(api_key=None), name="rate_limit_over_one"),
            models.CheckConstraint(
                condition=Q(requests_per_minute=None) | Q(requests_per_minute__range=(1, LARGEST)),
                name="rate_limit_requests",
            ),
            models.CheckConstraint(
                condition=Q(tokens_per_minute=None) | Q(tokens_per_minute__range=(1, LARGEST)),
                name="rate_limit_tokens",
            ),
            models.CheckConstraint(
                condition=Q(concurrent_requests=None) | Q(concurrent_requests__range=(1, LARGEST)),
                name="rate_limit_at_once",
            ),
        ]

    def __str__(self) -> str:
        return f"rate limit of {self.scope} {self.api_key_id or self.project_id or self.organization_id}"

    @property
    def scope(self) -> Scope:
        if self.api_key_id is not None:
            return self.Scope.KEY
        return self.Scope.PROJECT if self.project_id is not None else self.Scope.ORGANIZATION

    @property
    def rates(self) -> Rates:
        return Rates(self.requests_per_minute, self.tokens_per_minute, self.concurrent_requests)
