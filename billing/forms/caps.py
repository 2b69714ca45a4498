"""Spend caps as people set them."""

from decimal import Decimal
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from billing.models import SpendCap
from portal.lib.money import usd_to_nano


class CapForm(forms.Form):
    """A spend cap as a person sets it. The organization as a whole has no cap for all time but its credit."""

    period = forms.ChoiceField(label=_("How often it begins anew"), choices=SpendCap.Period.choices)
    limit = forms.DecimalField(
        label=_("Limit in US dollars"),
        min_value=Decimal(0),
        max_digits=12,
        decimal_places=2,
        help_text=_("Tokens and machine time together. Days, weeks from Monday on and months are UTC."),
    )
    stops = forms.BooleanField(
        label=_("Stop work at the limit"),
        required=False,
        help_text=_(
            "Calls to models are refused with status 402 and the code budget_exceeded, and instances stop; volumes and"
            " data are kept. Without it, people are mailed at 50, 80 and 100 % and nothing is refused."
        ),
    )

    def __init__(self, data: QueryDict | None, *, scope: SpendCap.Scope, period: str = "", **more: Any) -> None:
        super().__init__(data, **more)
        field = self.fields["period"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  # for the type checker
        if period:
            # A cap keeps its period: another one is another cap.
            del self.fields["period"]
        elif scope is SpendCap.Scope.ORGANIZATION:
            lifetime = SpendCap.Period.LIFETIME.value
            field.choices = [choice for choice in SpendCap.Period.choices if choice[0] != lifetime]

    def chosen_period(self) -> SpendCap.Period:
        return SpendCap.Period(self.cleaned_data["period"])

    def limit_nano(self) -> int:
        return usd_to_nano(self.cleaned_data["limit"])
