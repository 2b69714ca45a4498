"""What the addresses of billing's pages may say."""

from decimal import Decimal
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from billing.models import SpendCap
from billing.selectors import Grouping, Range
from portal.lib.money import usd_to_nano


class SpendForm(forms.Form):
    """The span and the grouping of the spend page; what is missing has a default."""

    range = forms.ChoiceField(label=_("Range"), choices=Range.choices)
    by = forms.ChoiceField(label=_("By"), choices=Grouping.choices)

    def __init__(self, query: QueryDict) -> None:
        super().__init__({"range": Range.THIRTY_DAYS.value, "by": Grouping.PRODUCT.value} | query.dict())

    def chosen_range(self) -> Range:
        return Range(self.cleaned_data.get("range", Range.THIRTY_DAYS))

    def chosen_grouping(self) -> Grouping:
        return Grouping(self.cleaned_data.get("by", Grouping.PRODUCT))


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


class TopUpForm(forms.Form):
    """How much credit to buy."""

    amount = forms.DecimalField(
        label=_("Amount in US dollars"),
        max_digits=8,
        decimal_places=2,
        min_value=Decimal(5),
        max_value=Decimal(10_000),
        help_text=_("From 5 to 10,000. You pay by card on the page of our payment provider; we never see the card."),
    )

    def amount_cents(self) -> int:
        return int(self.cleaned_data["amount"] * 100)


class FateSearchForm(forms.Form):
    """For staff: which event they ask about."""

    event_id = forms.UUIDField(label=_("Event id"))
    day = forms.DateField(
        label=_("UTC day of the event"),
        required=False,
        help_text=_("Needed for what the portal measured itself; receipts and exports say it."),
        widget=forms.DateInput(attrs={"type": "date"}),
    )


class UsageDecisionForm(forms.Form):
    """For staff: what to make of an event that waits for a person, and why."""

    event_id = forms.UUIDField(label=_("Event id"))
    verdict = forms.ChoiceField(
        label=_("Decision"), choices=[("accept", _("Count it")), ("refuse", _("Leave it rejected"))]
    )
    reason = forms.CharField(label=_("Reason"), max_length=500, widget=forms.Textarea(attrs={"rows": 3}))
