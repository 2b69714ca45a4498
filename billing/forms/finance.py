"""What finance asks for and decides."""

from decimal import Decimal
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from billing.selectors.staff_invoices import Search


class StaffSearchForm(forms.Form):
    """For staff: invoices or payments by number or id, organization and state; all of them without."""

    name = forms.CharField(label=_("Number or id"), max_length=64, required=False)
    organization = forms.SlugField(label=_("Address of the organization (slug)"), max_length=60, required=False)
    state = forms.ChoiceField(label=_("State"), required=False)
    before = forms.IntegerField(widget=forms.HiddenInput, min_value=1, max_value=2**62, required=False)

    def __init__(self, query: QueryDict, *, states: list[tuple[str, Any]]) -> None:
        super().__init__(query)
        field = self.fields["state"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  # for the type checker
        field.choices = [("", _("Any")), *states]

    def search(self) -> Search:
        """Raises KeyError for a form that is not valid."""
        given = self.cleaned_data
        return Search(given["name"], given["organization"], given["state"], given["before"])


class CreditNoteForm(forms.Form):
    """For staff: which lines of an invoice to take back, and why."""

    positions = forms.CharField(
        label=_("Lines"), max_length=500, help_text=_("Their numbers, such as “1, 3”: whole lines are taken back.")
    )
    reason = forms.CharField(
        label=_("Reason"),
        max_length=300,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("The customer reads it on the note: name no person."),
    )

    def clean_positions(self) -> list[int]:
        words = self.cleaned_data["positions"].replace(",", " ").split()
        if not words or not all(word.isascii() and word.isdigit() and len(word) <= 9 for word in words):  # noqa: PLR2004  # what the database's numbers hold
            raise forms.ValidationError(_("Give numbers of lines, such as “1, 3”."))
        return [int(word) for word in words]


class RefundForm(forms.Form):
    """For staff: part of a payment to give back."""

    payment = forms.CharField(label=_("Payment (pay_…)"), max_length=32)
    amount = forms.DecimalField(
        label=_("Amount in US dollars"), max_digits=8, decimal_places=2, min_value=Decimal("0.01")
    )
    reason = forms.CharField(label=_("Reason, which the customer reads"), max_length=300)

    def amount_cents(self) -> int:
        return int(self.cleaned_data["amount"] * 100)


class GoodwillForm(forms.Form):
    """For staff: credit to propose."""

    organization = forms.SlugField(label=_("Address of the organization (slug)"), max_length=60)
    amount = forms.DecimalField(
        label=_("Amount in US dollars"), max_digits=8, decimal_places=2, min_value=Decimal("0.01")
    )
    reason = forms.CharField(label=_("Reason"), max_length=300, widget=forms.Textarea(attrs={"rows": 3}))

    def amount_cents(self) -> int:
        return int(self.cleaned_data["amount"] * 100)


class GivenUpDebtForm(forms.Form):
    """For staff: whose debt to give up, and why."""

    organization = forms.SlugField(label=_("Address of the organization (slug)"), max_length=60)
    reason = forms.CharField(label=_("Reason"), max_length=300, widget=forms.Textarea(attrs={"rows": 3}))


class SkuCostForm(forms.Form):
    """For staff: what a SKU costs ourselves from a month on."""

    sku = forms.CharField(label=_("SKU"), max_length=160)
    cost = forms.DecimalField(
        label=_("Cost in US dollars"),
        min_value=Decimal(0),
        max_digits=15,
        decimal_places=9,
        help_text=_("For as many units as its price is for: a million tokens, an hour."),
    )
    from_month = forms.DateField(
        label=_("From the month of this day (UTC)"), widget=forms.DateInput(attrs={"type": "date"})
    )


class ExplanationForm(forms.Form):
    """For staff: why two sides of the books differ."""

    difference = forms.CharField(label=_("Id of the difference"), max_length=32)
    explanation = forms.CharField(
        label=_("What it was, and what was done about it"), max_length=500, widget=forms.Textarea(attrs={"rows": 3})
    )


class SuspensionForm(forms.Form):
    """For staff: whose suspension is approved."""

    organization = forms.SlugField(label=_("Address of the organization (slug)"), max_length=60)
