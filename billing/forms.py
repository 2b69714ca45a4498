"""What the addresses of billing's pages may say."""

from decimal import Decimal
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from billing.models import SpendCap
from billing.selectors import Grouping, Range
from billing.services.auto_reload import ReloadTerms
from billing.services.contracts import AgreedPrice, ContractTerms
from portal.lib.fields import UtcDateTimeField
from portal.lib.money import usd_to_nano
from portal.lib.tiers import BadTiers, parse_price, parse_tiers


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


class AutoReloadForm(forms.Form):
    """When to buy credit without anybody, and how much."""

    is_on = forms.BooleanField(label=_("Buy credit when it runs low"), required=False)
    threshold = forms.DecimalField(
        label=_("When less than this is left, in US dollars"), max_digits=8, decimal_places=2, min_value=Decimal("0.01")
    )
    reload_amount = forms.DecimalField(
        label=_("Buy so much, in US dollars"), max_digits=8, decimal_places=2, min_value=Decimal(5)
    )
    ceiling = forms.DecimalField(
        label=_("At most in a month, in US dollars"),
        max_digits=9,
        decimal_places=2,
        min_value=Decimal(5),
        help_text=_("Months are UTC. It buys at most once an hour, and is turned off after three failures in a row."),
    )

    def terms(self) -> ReloadTerms:
        given = self.cleaned_data
        return ReloadTerms(
            is_on=given["is_on"],
            threshold_cents=int(given["threshold"] * 100),
            amount_cents=int(given["reload_amount"] * 100),
            ceiling_cents=int(given["ceiling"] * 100),
        )


class RefundForm(forms.Form):
    """For staff: part of a payment to give back."""

    payment = forms.CharField(label=_("Payment (pay_…)"), max_length=32)
    amount = forms.DecimalField(
        label=_("Amount in US dollars"), max_digits=8, decimal_places=2, min_value=Decimal("0.01")
    )
    reason = forms.CharField(label=_("Reason, which the customer reads"), max_length=300)

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


class ContractForm(forms.Form):
    """For staff: a contract to draft."""

    organization = forms.SlugField(label=_("Address of the organization (slug)"), max_length=60)
    name = forms.CharField(label=_("Name of the contract"), max_length=120)
    discount = forms.DecimalField(
        label=_("Discount in percent"),
        min_value=Decimal(0),
        max_value=Decimal(100),
        decimal_places=2,
        help_text=_("Off the list price of every SKU that has no price of its own below."),
    )
    active_from = UtcDateTimeField(label=_("From (UTC)"), help_text=_("A full hour, such as 2027-01-01 00:00."))
    active_to = UtcDateTimeField(label=_("Until (UTC)"), required=False, help_text=_("Empty: without an end."))
    prices = forms.CharField(
        label=_("Prices"),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 6, "cols": 80}),
        help_text=_("One in a line: SKU and dollars per million tokens or hour, such as “model.demo.input 0.10”."),
    )

    def clean_prices(self) -> list[AgreedPrice]:
        lines = [line.split() for line in self.cleaned_data["prices"].splitlines() if line.strip()]
        return [_agreed_price(words) for words in lines]

    def terms(self) -> ContractTerms:
        given = self.cleaned_data
        return ContractTerms(
            name=given["name"],
            discount_basis_points=int(given["discount"] * 100),
            active_from=given["active_from"],
            active_to=given["active_to"],
            prices=given["prices"],
        )


class ContractEndForm(forms.Form):
    """For staff: when a published contract ends."""

    active_to = UtcDateTimeField(label=_("End it at (UTC)"), help_text=_("A full hour that has not begun."))


def _agreed_price(words: list[str]) -> AgreedPrice:
    line = " ".join(words)
    if len(words) == 1:
        raise forms.ValidationError(_("%(line)s: a price is missing.") % {"line": line})
    sku, price, *tiers = words
    try:
        price_nano = parse_price(price)
        agreed = AgreedPrice(sku, price_nano, parse_tiers(tiers, price_nano=price_nano))
    except BadTiers as error:
        raise forms.ValidationError(f"{line}: {error}") from error
    if tiers:
        # Nobody is to be promised what they would not get.
        raise forms.ValidationError(_("%(line)s: tiers are not on invoices yet; agree on one price.") % {"line": line})
    return agreed
