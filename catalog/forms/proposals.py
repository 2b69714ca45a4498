"""What staff write to change a price."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portal.lib.fields import UtcDateTimeField
from portal.lib.tiers import NO_TIERS, BadTiers, Tiers, parse_price, parse_tiers


class PriceProposalForm(forms.Form):
    """A new version of a SKU's price, or, without a price, its end."""

    price_nano: int | None = None
    tiers: Tiers = NO_TIERS

    sku = forms.CharField(label=_("SKU"), max_length=160)
    price = forms.CharField(
        label=_("Dollars per million tokens or hour"),
        required=False,
        max_length=20,
        help_text=_("Empty: it is no longer sold."),
    )
    tier_words = forms.CharField(
        label=_("Tiers"),
        required=False,
        max_length=500,
        help_text=_("Such as “graduated 10000000:0.08 20000000:0.06”: above so many units of a month, dollars."),
    )
    active_from = UtcDateTimeField(
        label=_("From (UTC)"), help_text=_("A full hour; for a higher price at least 30 days ahead.")
    )
    reason = forms.CharField(label=_("Reason"), max_length=500, widget=forms.Textarea(attrs={"rows": 3}))

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        price, words = given.get("price", ""), given.get("tier_words", "").split()
        if not price and words:
            self.add_error("tier_words", _("What is no longer sold has no tiers."))
        try:
            if price:
                self.price_nano = parse_price(price)
                self.tiers = parse_tiers(words, price_nano=self.price_nano)
        except BadTiers as error:
            self.add_error("price", str(error))
        return given
