"""What the addresses of billing's pages may say."""

from decimal import Decimal
from typing import Any

from django import forms
from django.core.validators import validate_email
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.models.terms import NET_DAYS
from billing.invoicing.matching import Match
from billing.models import BillingDetails, SpendCap
from billing.selectors import Grouping, Range
from billing.selectors.staff_invoices import Search
from billing.services.auto_reload import ReloadTerms
from billing.services.contracts import AgreedCommitment, AgreedPrice, ContractTerms
from billing.services.details import StatedDetails
from billing.services.terms import ProposedTerms
from billing.services.transfers import ArrivedTransfer
from portal.lib.countries import BY_NAME
from portal.lib.fields import UtcDateTimeField
from portal.lib.money import usd_to_nano
from portal.lib.tiers import BadTiers, parse_price, parse_tiers

MOST_INVOICE_EMAILS = 10
MOST_CENTS = 10**12


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


class DetailsForm(forms.Form):
    """Who an organization is on its invoices."""

    legal_name = forms.CharField(label=_("Legal name"), max_length=160)
    billing_address = forms.CharField(
        label=_("Address"),
        max_length=400,
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "street-address"}),
        help_text=_("Street, city and postal code."),
    )
    country = forms.ChoiceField(label=_("Country"), choices=[("", _("Choose one")), *BY_NAME])
    tax_id = forms.CharField(
        label=_("Tax id"),
        max_length=32,
        required=False,
        help_text=_("The number of value-added or sales tax, such as DE136695976."),
    )
    purchase_order = forms.CharField(
        label=_("Purchase-order number"), max_length=60, required=False, help_text=_("It is on every invoice.")
    )
    invoice_emails = forms.CharField(
        label=_("Who else gets invoices by e-mail"),
        max_length=800,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("One address in a line, ten at the most. Members who may manage billing get them anyway."),
    )

    @staticmethod
    def initial_of(details: BillingDetails | None) -> dict[str, str]:
        if details is None:
            return {}
        return {
            "legal_name": details.legal_name,
            "billing_address": details.address,
            "country": details.country,
            "tax_id": details.tax_id,
            "purchase_order": details.purchase_order,
            "invoice_emails": "\n".join(details.invoice_emails),
        }

    def clean_invoice_emails(self) -> list[str]:
        addresses: list[str] = self.cleaned_data["invoice_emails"].split()
        if len(addresses) > MOST_INVOICE_EMAILS:
            raise forms.ValidationError(_("Ten addresses at the most."))
        for address in addresses:
            validate_email(address)
        return addresses

    def stated(self) -> StatedDetails:
        given = self.cleaned_data
        return StatedDetails(
            legal_name=given["legal_name"],
            address=given["billing_address"],
            country=given["country"],
            tax_id=given["tax_id"],
            purchase_order=given["purchase_order"],
            invoice_emails=given["invoice_emails"],
        )


class TaxConfirmationForm(forms.Form):
    """For staff: what was found out about an organization's tax id."""

    organization = forms.SlugField(label=_("Address of the organization (slug)"), max_length=60)
    tax_id = forms.CharField(label=_("The tax id that was asked about"), max_length=32, required=False)
    is_confirmed = forms.BooleanField(label=_("Its tax office knows it"), required=False)
    exemption = forms.CharField(label=_("Number of a certificate of exemption"), max_length=60, required=False)


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


class SuspensionForm(forms.Form):
    """For staff: whose suspension is approved."""

    organization = forms.SlugField(label=_("Address of the organization (slug)"), max_length=60)


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


class GoodwillForm(forms.Form):
    """For staff: credit to propose."""

    organization = forms.SlugField(label=_("Address of the organization (slug)"), max_length=60)
    amount = forms.DecimalField(
        label=_("Amount in US dollars"), max_digits=8, decimal_places=2, min_value=Decimal("0.01")
    )
    reason = forms.CharField(label=_("Reason"), max_length=300, widget=forms.Textarea(attrs={"rows": 3}))

    def amount_cents(self) -> int:
        return int(self.cleaned_data["amount"] * 100)


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
    needs_purchase_order = forms.BooleanField(label=_("Invoices need a purchase-order number"), required=False)
    active_from = UtcDateTimeField(label=_("From (UTC)"), help_text=_("Such as 2027-01-01 00:00. The past is at once."))
    active_to = UtcDateTimeField(label=_("Until (UTC)"), required=False, help_text=_("Empty: without an end."))

    def proposed(self) -> ProposedTerms:
        given = self.cleaned_data
        return ProposedTerms(
            credit_limit_nano=usd_to_nano(given["credit_limit"]),
            net_days=given["net_days"],
            active_from=given["active_from"],
            active_to=given["active_to"],
            needs_purchase_order=given["needs_purchase_order"],
            invoice_above_nano=None if given["threshold"] is None else usd_to_nano(given["threshold"]),
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
