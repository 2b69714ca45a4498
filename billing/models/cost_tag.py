"""Tags of projects, by which an organization divides its costs. Rules: docs/how-to/tag-costs.md."""

from __future__ import annotations

from django.db import models

from accounts.models import Organization, Project


class CostTagsQuerySet(models.QuerySet["CostTags"]):
    def owned_by(self, organization: Organization) -> CostTagsQuerySet:
        return self.filter(organization=organization)

    def of_project(self, project: Project) -> CostTagsQuerySet:
        return self.filter(organization_id=project.organization_id, project=project)


class CostTags(models.Model):
    """The tags of one project from a UTC day on, until its next row. A day on which usage was counted keeps its tags.

    One foreign key over organization and project together takes the place of Django's two, as in UsageByHour.
    """

    # The tag that reports are divided by; pages ask for it in a field of its own.
    COST_CENTER = "cost-center"

    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    project = models.ForeignKey(
        Project, on_delete=models.PROTECT, related_name="+", db_index=False, db_constraint=False
    )
    from_day = models.DateTimeField()  # where it begins
    tags = models.JSONField(default=dict)  # key -> value
    changed_at = models.DateTimeField()

    objects = CostTagsQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="cost_tags_organization_id"),
            models.UniqueConstraint(
                fields=["organization", "project", "from_day"], name="cost_tags_of_project_once_per_day"
            ),
            models.CheckConstraint(
                condition=models.Q(from_day__hour=0, from_day__minute=0, from_day__second=0),
                name="cost_tags_begin_with_a_day",
            ),
        ]

    def __str__(self) -> str:
        return f"tags of project {self.project_id} from {self.from_day:%Y-%m-%d}"
