"""Forms of the audit log and of the endpoints that it is sent to."""

from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.forms.keys import RotationForm
from accounts.selectors import AuditFilters


class EndpointForm(forms.Form):
    """Where the audit log is sent; whether we go there, the service decides."""

    url = forms.CharField(
        label=_("Address"),
        max_length=500,
        widget=forms.URLInput(attrs={"autocapitalize": "none", "spellcheck": "false", "autocomplete": "off"}),
        help_text=_("https:// and a public host. Put no secret into it: every message is signed."),
    )


class NewEndpointForm(EndpointForm):
    from_start = forms.BooleanField(label=_("Send what is in the log already, too"), required=False)


class EndpointRotationForm(RotationForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["overlap"].label = _("The secret that the receiver has now")


class AuditFilterForm(forms.Form):
    """What the audit log is narrowed to; `before` is the place in it."""

    action = forms.CharField(
        label=_("Action"), required=False, max_length=48, help_text=_("Such as key or key.revoked")
    )
    actor = forms.CharField(label=_("By (id)"), required=False, max_length=32)
    target = forms.CharField(label=_("To (id)"), required=False, max_length=64)
    before = forms.IntegerField(required=False, min_value=1, max_value=2**62, widget=forms.HiddenInput)

    def filters(self) -> AuditFilters:
        values = self.cleaned_data
        return AuditFilters(values.get("action", ""), values.get("actor", ""), values.get("target", ""))

    def address_query(self, before: str) -> str:
        """Return the query of the next page's address."""
        query = QueryDict(mutable=True)
        for name in ("action", "actor", "target"):
            if value := self.cleaned_data.get(name):
                query[name] = value
        query["before"] = before
        return query.urlencode()
