"""For staff: operator keys."""

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models import OperatorScope, Overlap


class NewOperatorKeyForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=80)
    scopes = forms.MultipleChoiceField(
        label=_("It may"), choices=OperatorScope.choices, widget=forms.CheckboxSelectMultiple
    )


class OperatorKeyForm(forms.Form):
    """Which key, and what to do with it. overlap: how long its present secret works on after a rotation."""

    key = forms.CharField(label=_("Id of the key"), max_length=32)
    action = forms.ChoiceField(label=_("Do"), choices=[("rotate", _("Rotate it")), ("revoke", _("Revoke it"))])
    overlap = forms.ChoiceField(label=_("After a rotation its present secret"), choices=Overlap.choices, initial=0)

    def clean_overlap(self) -> int:
        return int(self.cleaned_data["overlap"])
