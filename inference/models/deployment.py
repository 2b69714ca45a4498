"""Upstreams: any OpenAI-compatible server that serves a model of the catalog."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from catalog.models import Region, ServedModel
from portal.lib.public_ids import new_dep_id


class DeploymentQuerySet(models.QuerySet["Deployment"]):
    def enabled(self) -> DeploymentQuerySet:
        return self.filter(is_enabled=True, served_model__is_listed=True)


class Deployment(models.Model):
    """One upstream that serves one model in one region. It belongs to the owner, not to an organization."""

    public_id = models.CharField(max_length=32, unique=True, default=new_dep_id, editable=False)
    served_model = models.ForeignKey(ServedModel, on_delete=models.PROTECT, related_name="deployments")
    region = models.ForeignKey(Region, on_delete=models.PROTECT, related_name="+")
    base_url = models.URLField(_("address"), max_length=300)  # without /v1
    upstream_model = models.CharField(
        _("name upstream"), max_length=160, blank=True, help_text=_("Empty when the upstream uses our name.")
    )
    weight = models.PositiveSmallIntegerField(_("weight"), default=1)  # its share beside the model's others
    is_enabled = models.BooleanField(_("enabled"), default=True)
    # Whether it understands stream_options.continuous_usage_stats, so that a cut stream is counted exactly.
    has_continuous_usage = models.BooleanField(_("counts while it streams"), default=False)
    # How many requests it works on at once, over all gateways; empty: as many as come.
    concurrent_requests = models.PositiveIntegerField(_("requests at once"), null=True, blank=True)
    # How much of it customers may have now; the owner's own work has the rest, and at 0 all of it.
    offered_percent = models.PositiveSmallIntegerField(_("offered, percent"), default=100, db_default=100)
    # Finishes what it works on, and gets nothing new.
    is_draining = models.BooleanField(_("draining"), default=False, db_default=False)
    # Moves with every change that gateways must hear of within a second.
    changed_at = models.DateTimeField(db_default=Now(), db_index=True)
    # What the last probe found. The gateway keeps its own faster view and asks an unhealthy one last.
    is_healthy = models.BooleanField(default=True)
    probed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()

    objects = DeploymentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["served_model", "base_url", "upstream_model"], name="deployment_once_per_address"
            ),
            models.CheckConstraint(condition=Q(weight__gte=1), name="deployment_weight_positive"),
            models.CheckConstraint(
                condition=Q(concurrent_requests=None) | Q(concurrent_requests__gte=1),
                name="deployment_requests_positive",
            ),
            models.CheckConstraint(condition=Q(offered_percent__lte=100), name="deployment_offered_at_most_whole"),
        ]

    def __str__(self) -> str:
        return self.public_id

    @property
    def is_serving(self) -> bool:
        """Whether it gets new requests, being enabled."""
        return not self.is_draining and self.offered_percent > 0
