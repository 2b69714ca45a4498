"""The REST API of keys and projects: /api/v1/keys, /api/v1/projects."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request

from accounts.access import KeyAPIView, idempotent
from accounts.models import ApiKey, Project, Scope
from accounts.selectors import KeyView, key_view
from accounts.services.api_keys import CUSTOMER_SCOPES, issue_key, revoke_key
from portal.lib.api import JsonResponse, cut


@dataclass(frozen=True, slots=True)
class ProjectView:
    id: str
    name: str
    created_at: datetime


class ProjectList(KeyAPIView):
    scope = None

    def get(self, request: Request) -> HttpResponse:
        page = cut(Project.objects.owned_by(self.request.organization), request.query_params)
        rows = [ProjectView(project.public_id, project.name, project.created_at) for project in page.objects]
        return JsonResponse(page.of(rows))


class NewKey(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80)
    project = serializers.CharField(required=False)
    # A key never makes a key that could make keys: that takes a person.
    scopes = serializers.MultipleChoiceField(
        choices=[scope.value for scope in CUSTOMER_SCOPES],
        allow_empty=False,
        error_messages={
            "invalid_choice": "“{input}” is no scope a key may give: "
            + ", ".join(scope.value for scope in CUSTOMER_SCOPES)
            + "."
        },
    )
    expires_at = serializers.DateTimeField(required=False)


@dataclass(frozen=True, slots=True)
class NewKeyView:
    """A new key with its secret, in this one answer."""

    key: KeyView
    secret: str


class KeyList(KeyAPIView):
    scope = Scope.KEYS_WRITE

    def get(self, request: Request) -> HttpResponse:
        now = timezone.now()
        keys = ApiKey.objects.owned_by(self.request.organization).with_projects()
        page = cut(keys, request.query_params)
        return JsonResponse(page.of([key_view(key, now) for key in page.objects]))

    @idempotent
    def post(self, request: Request) -> HttpResponse:
        given = NewKey(data=request.data)
        given.is_valid(raise_exception=True)
        now = timezone.now()
        issued = issue_key(
            project=self._project(given.validated_data.get("project")),
            name=given.validated_data["name"],
            scopes=sorted(Scope(scope) for scope in given.validated_data["scopes"]),
            created_by=None,
            now=now,
            expires_at=given.validated_data.get("expires_at"),
        )
        return JsonResponse(NewKeyView(key_view(issued.api_key, now), issued.secret), status=201)

    def _project(self, public_id: str | None) -> Project:
        if public_id is None:
            return self.request.api_key.project
        project = Project.objects.owned_by(self.request.organization).filter(public_id=public_id).first()
        if project is None:
            raise serializers.ValidationError({"project": "There is no such project."})
        return project


class KeyDetail(KeyAPIView):
    scope = Scope.KEYS_WRITE

    def get(self, request: Request, public_id: str) -> HttpResponse:
        return JsonResponse(key_view(self._key(public_id), timezone.now()))

    def delete(self, request: Request, public_id: str) -> HttpResponse:
        now = timezone.now()
        key = self._key(public_id)
        revoked = revoke_key(api_key=key, now=now)
        revoked.project = key.project
        return JsonResponse(key_view(revoked, now))

    def _key(self, public_id: str) -> ApiKey:
        keys = ApiKey.objects.owned_by(self.request.organization).with_projects()
        return get_object_or_404(keys, public_id=public_id)
