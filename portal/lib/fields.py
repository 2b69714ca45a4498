"""Fields of forms that more than one app has."""

from datetime import UTC
from typing import Any

from django import forms
from django.utils import timezone


class UtcDateTimeField(forms.DateTimeField):
    """An instant that is written in UTC, whatever time zone the reader has chosen."""

    def to_python(self, value: Any) -> Any:
        with timezone.override(UTC):
            return super().to_python(value)
