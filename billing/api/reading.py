"""What the calls of this API share: spans of time, and what a serializer made of a query."""

from datetime import UTC, timedelta
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from portal.lib.periods import Period

CURRENCY = "USD"
LONGEST = timedelta(days=366)
USUAL = timedelta(days=30)


class SpanInput(serializers.Serializer[Any]):
    """A half-open span [start, end); the 30 days that end now when nothing is said."""

    start = serializers.DateTimeField(required=False)
    end = serializers.DateTimeField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        end = attrs.get("end", timezone.now()).astimezone(UTC)
        start = attrs.get("start", end - USUAL).astimezone(UTC)
        if start >= end:
            raise serializers.ValidationError({"start": "It must be before `end`."})
        if end - start > LONGEST:
            raise serializers.ValidationError({"start": f"A span has at most {LONGEST.days} days."})
        return attrs | {"span": Period(start, end)}


def valid(given: serializers.Serializer[Any]) -> dict[str, Any]:
    given.is_valid(raise_exception=True)
    # What a serializer made of a query; its keys are the fields above.
    validated: dict[str, Any] = given.validated_data
    return validated
