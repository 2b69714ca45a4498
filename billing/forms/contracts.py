"""Contracts and terms as staff write them."""

from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models.terms import NET_DAYS
from billing.services.contracts import AgreedCommitment, AgreedPrice, ContractTerms
from billing.services.terms import LARGEST_QUOTA, ProposedTerms
from portal.lib.fields import UtcDateTimeField
from portal.lib.money import usd_to_nano
from portal.lib.tiers import BadTiers, parse_price, parse_tiers


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
    committed = forms.DecimalField(
        label=_("Committed to, in US dollars"),
        required=False,
        min_value=Decimal("0.01"),
        max_digits=12,
        decimal_places=2,
        help_text=_("To be used at these prices within the months below; what was not is billed when they are over."),
    )
    committed_from = UtcDateTimeField(
        label=_("Committed from (UTC)"), required=False, help_text=_("The first of a month, 00:00.")
    )
    committed_until = UtcDateTimeField(
        label=_("Committed until (UTC)"), required=False, help_text=_("The first of the month after the last, 00:00.")
    )
    prices = forms.CharField(
        label=_("Prices"),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 6, "cols": 80}),
        help_text=_(
            "One in a line: SKU and dollars per million tokens or hour, such as “model.demo.input 0.10”; then tiers,"
            " such as “graduated 10000000:0.08 20000000:0.06”: above so many units of a month, dollars."
        ),
    )

    def clean_prices(self) -> list[AgreedPrice]:
        lines = [line.split() for line in self.cleaned_data["prices"].splitlines() if line.strip()]
        return [_agreed_price(words) for words in lines]

    def clean(self) -> dict[str, Any]:
        given = super().clean() or {}
        parts = [given.get(name) for name in ("committed", "committed_from", "committed_until")]
        if any(parts) and not all(parts):
            self.add_error("committed", _("A commitment needs an amount, a first month and an end."))
        return given

    def _commitment(self) -> AgreedCommitment | None:
        given = self.cleaned_data
        if not given["committed"]:
            return None
        return AgreedCommitment(int(given["committed"] * 100), given["committed_from"], given["committed_until"])

    def terms(self) -> ContractTerms:
        given = self.cleaned_data
        return ContractTerms(
            name=given["name"],
            discount_basis_points=int(given["discount"] * 100),
            active_from=given["active_from"],
            active_to=given["active_to"],
            prices=given["prices"],
            commitment=self._commitment(),
        )


class ContractEndForm(forms.Form):
    """For staff: when a published contract ends."""

    active_to = UtcDateTimeField(label=_("End it at (UTC)"), help_text=_("A full hour that has not begun."))


KINDS = ("gpu", "tpu", "cpu")


class TermsForm(forms.Form):
    """For staff: terms to propose. Amounts in US dollars."""

    organization = forms.SlugField(label=_("Address of the organization (slug)"), max_length=60)
    credit_limit = forms.DecimalField(
        label=_("Credit limit in US dollars"),
        min_value=Decimal(0),
        max_digits=11,
        decimal_places=2,
        help_text=_("How much it may owe at once."),
    )
    net_days = forms.TypedChoiceField(
        label=_("Days to pay"), choices=[(days, str(days)) for days in NET_DAYS], coerce=int, initial=30
    )
    threshold = forms.DecimalField(
        label=_("Invoice above, in US dollars"),
        required=False,
        min_value=Decimal("0.01"),
        max_digits=11,
        decimal_places=2,
        help_text=_("Usage beyond this is invoiced before the month ends. Empty: at its end only."),
    )
    gpu_quota = forms.IntegerField(
        label=_("GPU instances at once"),
        required=False,
        min_value=0,
        max_value=LARGEST_QUOTA,
        help_text=_("Empty: as many as there are."),
    )
    tpu_quota = forms.IntegerField(
        label=_("TPU instances at once"), required=False, min_value=0, max_value=LARGEST_QUOTA
    )
    cpu_quota = forms.IntegerField(
        label=_("CPU instances at once"), required=False, min_value=0, max_value=LARGEST_QUOTA
    )
    regions = forms.CharField(
        label=_("Only in these regions"),
        required=False,
        max_length=2_000,
        help_text=_("Names with commas between them, such as “us-west-1, us-east-1”. Empty: in all of them."),
    )
    needs_purchase_order = forms.BooleanField(label=_("Invoices need a purchase-order number"), required=False)
    active_from = UtcDateTimeField(label=_("From (UTC)"), help_text=_("Such as 2027-01-01 00:00. The past is at once."))
    active_to = UtcDateTimeField(label=_("Until (UTC)"), required=False, help_text=_("Empty: without an end."))

    def clean_regions(self) -> list[str]:
        return sorted({name for word in self.cleaned_data["regions"].split(",") if (name := word.strip())})

    def proposed(self) -> ProposedTerms:
        given = self.cleaned_data
        return ProposedTerms(
            credit_limit_nano=usd_to_nano(given["credit_limit"]),
            net_days=given["net_days"],
            active_from=given["active_from"],
            active_to=given["active_to"],
            needs_purchase_order=given["needs_purchase_order"],
            invoice_above_nano=None if given["threshold"] is None else usd_to_nano(given["threshold"]),
            quotas={kind: quota for kind in KINDS if (quota := given[f"{kind}_quota"]) is not None},
            regions=given["regions"],
        )


def _agreed_price(words: list[str]) -> AgreedPrice:
    line = " ".join(words)
    if len(words) == 1:
        raise forms.ValidationError(_("%(line)s: a price is missing.") % {"line": line})
    sku, price, *tiers = words
    try:
        price_nano = parse_price(price)
        return AgreedPrice(sku, price_nano, parse_tiers(tiers, price_nano=price_nano))
    except BadTiers as error:
        raise forms.ValidationError(f"{line}: {error}") from error
