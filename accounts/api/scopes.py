"""What a program may let another program do."""

from typing import Any

from rest_framework import serializers

from accounts.services.api_keys import CUSTOMER_SCOPES


class GivenScopes(serializers.MultipleChoiceField):
    """Scopes that a key may give. A key never makes a key that could make keys: that takes a person."""

    def __init__(self, **kwargs: Any) -> None:
        names = [scope.value for scope in CUSTOMER_SCOPES]
        wrong = "“{input}” is no scope a key may give: " + ", ".join(names) + "."
        super().__init__(choices=names, allow_empty=False, error_messages={"invalid_choice": wrong}, **kwargs)
