"""Rate limits as people set them."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models import Rates
from accounts.models.rate_limit import LARGEST


def _rate(label: Any, help_text: Any = "") -> forms.IntegerField:
    return forms.IntegerField(label=label, help_text=help_text, min_value=1, max_value=LARGEST, required=False)


class RatesForm(forms.Form):
    """How fast models may be called; what is empty limits nothing of its own."""

    requests_per_minute = _rate(_("Requests per minute"))
    tokens_per_minute = _rate(_("Tokens per minute"), _("Of prompts and answers together."))
    concurrent_requests = _rate(_("Requests at once"), _("An answer that streams counts until it ends."))

    def rates(self) -> Rates:
        given = self.cleaned_data
        return Rates(given["requests_per_minute"], given["tokens_per_minute"], given["concurrent_requests"])


class OrganizationRatesForm(RatesForm):
    """For staff: the same over a whole organization."""

    organization = forms.SlugField(label=_("Address of the organization (slug)"), max_length=60)

    field_order = ("organization", "requests_per_minute", "tokens_per_minute", "concurrent_requests")
