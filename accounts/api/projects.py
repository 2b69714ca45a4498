"""The REST API of projects: /api/v1/projects."""

from dataclasses import dataclass
from datetime import datetime

from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from accounts.access import KeyAPIView
from accounts.models import Project
from portal.lib.api import CursorList, JsonResponse, PageInput, cut, query_of
from portal.lib.openapi import described


@dataclass(frozen=True, slots=True)
class ProjectView:
    id: str
    name: str
    created_at: datetime


class ProjectList(KeyAPIView):
    """The projects of the organization."""

    scope = None

    @described(CursorList[ProjectView], query=PageInput)
    def get(self, request: Request) -> HttpResponse:
        page = cut(Project.objects.owned_by(self.request.organization), query_of(request))
        rows = [ProjectView(project.public_id, project.name, project.created_at) for project in page.objects]
        return JsonResponse(page.of(rows))


def project_of(view: KeyAPIView, public_id: str | None) -> Project:
    """Return the project that was asked for, or that of the key which asks."""
    if public_id is None:
        return view.request.api_key.project
    project = Project.objects.owned_by(view.request.organization).filter(public_id=public_id).first()
    if project is None:
        raise serializers.ValidationError({"project": "There is no such project."})
    return project
