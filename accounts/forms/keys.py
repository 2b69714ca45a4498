"""Forms of API keys and of the service accounts that own them."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.forms.choices import offer
from accounts.models import ApiKey, Membership, Overlap, Project, Scope, ServiceAccount
from accounts.models.service_account import LONGEST_DESCRIPTION
from accounts.services.api_keys import KeyLimits
from portal.lib.addresses import canonical_ranges
from portal.lib.model_names import canonical_names
from portal.lib.widgets import LongSelect


class LinesField(forms.CharField):
    """Several values, one per line. read: returns them in the one form that is kept, raises ValueError otherwise."""

    def __init__(self, *, read: Callable[[Iterable[str]], tuple[str, ...]], **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "autocapitalize": "none"})
        super().__init__(required=False, max_length=20_000, widget=widget, **kwargs)
        self._read = read

    # A field of text that is cleaned to more than a text.
    def clean(self, value: object) -> tuple[str, ...]:
        text = super().clean(value)
        try:
            return self._read(line for line in text.replace(",", "\n").splitlines() if line.strip())
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error


class KeyLimitsForm(forms.Form):
    """What a key is narrowed to, and what it is called."""

    name = forms.CharField(
        label=_("Name"), max_length=80, help_text=_("What will use it, for example “nightly evaluation”.")
    )
    # Names and no list to choose from: this app does not know the catalog, and a key may be made for a model that
    # is not sold yet. A name that no model has opens nothing.
    allowed_models = LinesField(
        label=_("Only these models"),
        read=canonical_names,
        help_text=_("Names as in the catalog, one per line. Empty: all models."),
    )
    allowed_addresses = LinesField(
        label=_("Only from these addresses"),
        read=canonical_ranges,
        help_text=_("Ranges such as 203.0.113.0/24 or 2001:db8::/32, one per line. Empty: from anywhere."),
    )

    def limits(self) -> KeyLimits:
        return KeyLimits(self.cleaned_data["allowed_models"], self.cleaned_data["allowed_addresses"])


def limits_of(key: ApiKey) -> dict[str, str]:
    """Return what KeyLimitsForm starts with for a key."""
    return {
        "name": key.name,
        "allowed_models": "\n".join(key.allowed_models),
        "allowed_addresses": "\n".join(key.allowed_addresses),
    }


class RotationForm(forms.Form):
    overlap = forms.TypedChoiceField(
        label=_("The secret that programs have now"),
        choices=Overlap.choices,
        coerce=int,
        initial=Overlap.DAY.value,
        widget=forms.RadioSelect,
    )

    def chosen_overlap(self) -> Overlap:
        return Overlap(self.cleaned_data["overlap"])


def _givable(membership: Membership, projects: Iterable[Project]) -> list[tuple[str, str]]:
    """Return the scopes that a member may give to a key in one of the projects at least."""
    return [
        (scope.value, str(scope.label))
        for scope in Scope
        if any(membership.may_give([scope], project.pk) for project in projects)
    ]


def _check_scopes(form: forms.Form, membership: Membership, projects: dict[str, Project]) -> None:
    project = projects.get(form.cleaned_data.get("project", ""))
    if project and not membership.may_give(form.cleaned_data.get("scopes", []), project.pk):
        form.add_error("scopes", _("In this project you may not let a key do all of that."))


class KeyForm(KeyLimitsForm):
    """A new API key, by `membership`. `projects`: those that may get it; `accounts`: those whose it may be."""

    LIVES = [("30", _("30 days")), ("90", _("90 days")), ("365", _("1 year"))]

    project = forms.ChoiceField(label=_("Project"), widget=LongSelect)
    scopes = forms.MultipleChoiceField(
        label=_("What it may do"),
        choices=Scope.choices,
        initial=[Scope.INFERENCE, Scope.INSTANCES_READ, Scope.INSTANCES_WRITE, Scope.USAGE_READ],
        widget=forms.CheckboxSelectMultiple,
        help_text=_("A key that creates and revokes keys cannot call models: make a separate one for that."),
    )
    expires_in = forms.ChoiceField(label=_("Ends after"), choices=LIVES, initial="90")
    is_personal = forms.BooleanField(
        label=_("Only I use it"),
        required=False,
        help_text=_("It ends when I leave the organization; otherwise it belongs to the project and stays."),
    )
    service_account = forms.ChoiceField(
        label=_("Service account"),
        required=False,
        widget=LongSelect,
        help_text=_(
            "The program whose key it is. It works in the project above and sets the most that the key may do."
        ),
    )

    def __init__(
        self,
        *args: object,
        membership: Membership,
        projects: list[Project],
        accounts: Sequence[ServiceAccount],
        **kwargs: object,
    ) -> None:
        # Django's forms take many arguments, which pass through as they are.
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._membership = membership
        offer(self, "scopes", _givable(membership, projects))
        self._projects = {project.public_id: project for project in projects}
        self._accounts = {account.public_id: account for account in accounts}
        offer(self, "project", [(project.public_id, project.name) for project in projects])
        named = [(account.public_id, f"{account.name} · {account.project.name}") for account in accounts]
        offer(self, "service_account", [("", str(_("None"))), *named])

    def clean(self) -> None:
        _check_scopes(self, self._membership, self._projects)

    def chosen_service_account(self) -> ServiceAccount | None:
        return self._accounts.get(self.cleaned_data["service_account"])

    def chosen_project(self) -> Project:
        return self._projects[self.cleaned_data["project"]]

    def chosen_scopes(self) -> list[Scope]:
        return [Scope(scope) for scope in self.cleaned_data["scopes"]]

    def expires_at(self, now: datetime) -> datetime:
        return now + timedelta(days=int(self.cleaned_data["expires_in"]))


class ServiceAccountForm(forms.Form):
    """A new service account, by `membership`. `projects`: those in which it may work."""

    name = forms.CharField(label=_("Name"), max_length=80, help_text=_("The program, for example “nightly training”."))
    project = forms.ChoiceField(label=_("Project"), widget=LongSelect)
    description = forms.CharField(
        label=_("What it does"),
        required=False,
        max_length=LONGEST_DESCRIPTION,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    scopes = forms.MultipleChoiceField(
        label=_("What its keys may do at the most"),
        choices=Scope.choices,
        initial=[Scope.INFERENCE],
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, *args: object, membership: Membership, projects: list[Project], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # as above
        self._membership = membership
        self._projects = {project.public_id: project for project in projects}
        offer(self, "scopes", _givable(membership, projects))
        offer(self, "project", [(project.public_id, project.name) for project in projects])

    def clean(self) -> None:
        _check_scopes(self, self._membership, self._projects)

    def chosen_project(self) -> Project:
        return self._projects[self.cleaned_data["project"]]

    def chosen_scopes(self) -> list[Scope]:
        return [Scope(scope) for scope in self.cleaned_data["scopes"]]
