"""Bank transfers as finance records them."""

from decimal import Decimal

from django import forms
from django.utils.translation import gettext_lazy as _

from billing.invoicing.matching import Match
from billing.services.transfers import ArrivedTransfer

MOST_CENTS = 10**12


class TransferForm(forms.Form):
    """For staff: a line of a bank statement."""

    organization = forms.SlugField(
        label=_("Address of the organization (slug)"),
        max_length=60,
        required=False,
        help_text=_("Empty: the one whose invoice the reference names."),
    )
    statement_line = forms.CharField(
        label=_("Statement and line"), max_length=80, help_text=_("As the bank names it. A line is recorded once.")
    )
    amount = forms.DecimalField(
        label=_("Amount in US dollars"), min_value=Decimal("0.01"), max_digits=12, decimal_places=2
    )
    value_date = forms.DateField(label=_("Value date"), widget=forms.DateInput(attrs={"type": "date"}))
    payer = forms.CharField(label=_("Who sent it"), max_length=160)
    reference = forms.CharField(label=_("Reference"), max_length=200, required=False)
    invoices = forms.CharField(
        label=_("Invoices that it pays"),
        max_length=2_000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("One in a line: number and dollars, such as “HR-000012 1190.00”. Empty: by the reference."),
    )

    debt = forms.DecimalField(
        label=_("Of it for what payments that were taken back left owed, in US dollars"),
        min_value=Decimal("0.01"),
        max_digits=12,
        decimal_places=2,
        required=False,
        help_text=_("Empty: nothing."),
    )

    def clean_invoices(self) -> list[Match]:
        lines = [line.split() for line in self.cleaned_data["invoices"].splitlines() if line.strip()]
        return [_match(words) for words in lines]

    def arrived(self) -> ArrivedTransfer:
        given = self.cleaned_data
        return ArrivedTransfer(
            statement_line=given["statement_line"],
            amount_cents=int(given["amount"] * 100),
            value_date=given["value_date"],
            payer=given["payer"],
            reference=given["reference"],
            debt_cents=int((given["debt"] or 0) * 100),
        )


class TransferDisputeForm(forms.Form):
    """For staff: what is wrong with a confirmed transfer."""

    because = forms.CharField(label=_("What is wrong with it"), max_length=300)


def _match(words: list[str]) -> Match:
    try:
        number, dollars = words
        cents = Decimal(dollars.replace(",", "")).scaleb(2)
        if not cents.is_finite() or cents != cents.to_integral_value() or not 0 < cents < MOST_CENTS:
            raise ValueError(dollars)
    except (ArithmeticError, ValueError) as error:
        line = " ".join(words)
        raise forms.ValidationError(_("%(line)s: a number and an amount, please.") % {"line": line}) from error
    return Match(number, int(cents))
