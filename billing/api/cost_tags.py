"""/api/v1/project-tags: the cost centers and other tags of projects."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request

from accounts.access import KeyAPIView
from accounts.models import Project, Scope
from billing.models import CostTags
from billing.selectors.cost_tags import TagHistory, Version, tag_history
from portal.lib.api import CursorList, JsonResponse, PageInput, cut, query_of
from portal.lib.openapi import described


@dataclass(frozen=True, slots=True)
class TagsVersion:
    """Tags from a UTC day on, until the next version. tags: those beside the cost center."""

    from_day: datetime
    cost_center: str | None
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProjectTags:
    """A project, its cost center and other tags of today, and every version that it had or will have, newest first."""

    project: str
    name: str
    cost_center: str | None
    tags: Mapping[str, str]
    versions: list[TagsVersion]


class ProjectTagsList(KeyAPIView):
    """The tags of the organization's projects."""

    scope = Scope.BILLING_READ

    @described(CursorList[ProjectTags], query=PageInput)
    def get(self, request: Request) -> HttpResponse:
        page = cut(Project.objects.owned_by(self.request.organization), query_of(request))
        history, now = tag_history(self.request.organization.pk), timezone.now()
        return JsonResponse(page.of([_tags(project, history, now) for project in page.objects]))


def _tags(project: Project, history: TagHistory, now: datetime) -> ProjectTags:
    today = _version((now, history.on(project.pk, now)))
    return ProjectTags(
        project=project.public_id,
        name=project.name,
        cost_center=today.cost_center,
        tags=today.tags,
        versions=[_version(version) for version in history.versions.get(project.pk, ())],
    )


def _version(version: Version) -> TagsVersion:
    from_day, tags = version
    rest = {key: value for key, value in tags.items() if key != CostTags.COST_CENTER}
    return TagsVersion(from_day, tags.get(CostTags.COST_CENTER), rest)
