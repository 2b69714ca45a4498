"""The REST API of the audit log: /api/v1/audit-events."""

from typing import Any

from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from accounts.access import KeyAPIView
from accounts.models import Scope
from accounts.selectors import AuditEventView, AuditFilters, audit_events
from portal.lib.api import DEFAULT_LIMIT, MAXIMUM_LIMIT, CursorList, JsonResponse, query_of
from portal.lib.openapi import described

LARGEST_SEQUENCE = 2**62


class AuditQuery(serializers.Serializer[Any]):
    """What of the log is asked for. after: the sequence of the last entry seen."""

    limit = serializers.IntegerField(min_value=1, max_value=MAXIMUM_LIMIT, default=DEFAULT_LIMIT)
    after = serializers.IntegerField(min_value=0, max_value=LARGEST_SEQUENCE, default=0)
    action = serializers.CharField(max_length=48, default="")
    actor = serializers.CharField(max_length=32, default="")
    target = serializers.CharField(max_length=64, default="")
    start = serializers.DateTimeField(default=None)
    end = serializers.DateTimeField(default=None)


class AuditEventList(KeyAPIView):
    """Who did what, oldest first, so that a program can go on where it stopped."""

    scope = Scope.AUDIT_READ

    @described(CursorList[AuditEventView], query=AuditQuery)
    def get(self, request: Request) -> HttpResponse:
        given = AuditQuery(data=query_of(request))
        given.is_valid(raise_exception=True)
        asked = given.validated_data
        filters = AuditFilters(asked["action"], asked["actor"], asked["target"], asked["start"], asked["end"])
        rows, has_more = audit_events(self.request.organization, filters, after=asked["after"], limit=asked["limit"])
        return JsonResponse(CursorList(rows, has_more, str(rows[-1].sequence) if has_more else None))
