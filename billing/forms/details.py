"""Who an organization is on its invoices, and what staff found out about it."""

from django import forms
from django.core.validators import validate_email
from django.utils.translation import gettext_lazy as _

from billing.models import BillingDetails
from billing.services.details import StatedDetails
from portal.lib.countries import BY_NAME

MOST_INVOICE_EMAILS = 10


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
