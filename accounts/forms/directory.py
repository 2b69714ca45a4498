"""Forms of directories that provision people."""

from datetime import timedelta

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models import Role
from accounts.models.directory import GIVEN_ROLES


class DirectoryTokenForm(forms.Form):
    """A token of a directory."""

    name = forms.CharField(
        label=_("Name"), max_length=80, help_text=_("What will use it, for example your identity provider.")
    )
    life = forms.TypedChoiceField(
        label=_("Works for"),
        choices=[(365, _("1 year")), (180, _("180 days")), (90, _("90 days")), (30, _("30 days"))],
        coerce=int,
        initial=365,
    )

    def chosen_life(self) -> timedelta:
        return timedelta(days=self.cleaned_data["life"])


class GroupRoleForm(forms.Form):
    given_role = forms.ChoiceField(
        choices=[("", _("none")), *((role.value, role.label) for role in GIVEN_ROLES)], required=False
    )

    def chosen_role(self) -> Role | None:
        chosen = self.cleaned_data["given_role"]
        return Role(chosen) if chosen else None
