"""Credit that is bought, by hand and by itself."""

from decimal import Decimal

from django import forms
from django.utils.translation import gettext_lazy as _

from billing.services.auto_reload import ReloadTerms


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
