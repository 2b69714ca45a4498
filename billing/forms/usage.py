"""Usage events that wait for a person."""

from django import forms
from django.utils.translation import gettext_lazy as _


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
