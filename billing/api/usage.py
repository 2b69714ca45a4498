"""/api/v1/usage: every usage event."""

from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from accounts.access import KeyAPIView
from accounts.models import Scope
from billing import selectors
from billing.api.reading import SpanInput, valid
from portal.lib.api import DEFAULT_LIMIT, MAXIMUM_LIMIT, CursorList, JsonResponse, query_of
from portal.lib.openapi import described


class UsageInput(SpanInput):
    limit = serializers.IntegerField(min_value=1, max_value=MAXIMUM_LIMIT, default=DEFAULT_LIMIT)
    after = serializers.CharField(required=False)

    def validate_after(self, cursor: str) -> selectors.Position:
        try:
            return selectors.position_in(cursor)
        except ValueError as error:
            raise serializers.ValidationError("This is no `next_cursor` of this list.") from error


class UsageList(KeyAPIView):
    """Every usage event of a span, oldest first."""

    scope = Scope.USAGE_READ

    @described(CursorList[selectors.EventRow], query=UsageInput)
    def get(self, request: Request) -> HttpResponse:
        given = valid(UsageInput(data=query_of(request)))
        limit = given["limit"]
        rows = selectors.event_page(self.request.organization, given["span"], after=given.get("after"), limit=limit + 1)
        has_more = len(rows) > limit
        rows = rows[:limit]
        return JsonResponse(CursorList(rows, has_more, selectors.cursor_of(rows[-1]) if has_more else None))
