"""Forms of sign-up, organizations, projects and API keys: shape only; services decide what is allowed."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey, Membership, Organization, Overlap, Project, ProjectRole, Role, Scope, User
from accounts.models.directory import GIVEN_ROLES
from accounts.models.domain import JOINABLE_ROLES
from accounts.selectors import AuditFilters
from accounts.services.api_keys import KeyLimits
from portal.lib.addresses import canonical_ranges
from portal.lib.model_names import canonical_names
from portal.lib.widgets import LongSelect

KIND_SESSION_KEY = "organization_kind"


class SignupForm(forms.Form):
    """What sign-up asks beside the e-mail address; the answer waits in the session until the code is confirmed."""

    kind = forms.ChoiceField(
        label=_("I sign up for a"),
        choices=Organization.Kind.choices,
        initial=Organization.Kind.STARTUP,
        required=False,
        widget=forms.RadioSelect,
    )

    def signup(self, request: HttpRequest, user: User) -> None:
        request.session[KIND_SESSION_KEY] = self.cleaned_data["kind"] or Organization.Kind.STARTUP.value


def chosen_kind(request: HttpRequest) -> Organization.Kind:
    """Return the kind of organization chosen at sign-up; a startup without one."""
    return Organization.Kind(request.session.pop(KIND_SESSION_KEY, Organization.Kind.STARTUP.value))


def _offer(form: forms.Form, name: str, choices: list[tuple[str, str]]) -> None:
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)  # noqa: S101  # for the type checker
    field.choices = choices


class OrganizationForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=120)
    kind = forms.ChoiceField(
        label=_("Kind"),
        choices=Organization.Kind.choices,
        initial=Organization.Kind.STARTUP,
        help_text=_("Research institutions can apply for grants; enterprises for contract terms."),
    )


class ProjectForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=120)


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


class KeyForm(KeyLimitsForm):
    """A new API key. `projects`: those of the organization that may get it."""

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

    def __init__(self, *args: object, projects: list[Project], **kwargs: object) -> None:
        # Django's forms take many arguments, which pass through as they are.
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._projects = {project.public_id: project for project in projects}
        _offer(self, "project", [(project.public_id, project.name) for project in projects])

    def chosen_project(self) -> Project:
        return self._projects[self.cleaned_data["project"]]

    def chosen_scopes(self) -> list[Scope]:
        return [Scope(scope) for scope in self.cleaned_data["scopes"]]

    def expires_at(self, now: datetime) -> datetime:
        return now + timedelta(days=int(self.cleaned_data["expires_in"]))


class InviteForm(forms.Form):
    """Whom to invite. `roles`: those that the member who invites may give; `projects`: those of the organization."""

    email = forms.EmailField(label=_("E-mail address"), max_length=254)
    role = forms.ChoiceField(label=_("Role"), initial=Role.DEVELOPER)
    project = forms.ChoiceField(
        label=_("Project"), required=False, widget=LongSelect, help_text=_("Where they will work, so that others know.")
    )

    def __init__(self, *args: object, roles: list[Role], projects: list[Project], **kwargs: object) -> None:
        # Django's forms take many arguments, which pass through as they are.
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._projects = {project.public_id: project for project in projects}
        _offer(self, "role", [(role.value, str(role.label)) for role in roles])
        _offer(self, "project", [("", str(_("None"))), *((one.public_id, one.name) for one in projects)])

    def chosen_role(self) -> Role:
        return Role(self.cleaned_data["role"])

    def chosen_project(self) -> Project | None:
        return self._projects.get(self.cleaned_data["project"])


class DomainForm(forms.Form):
    name = forms.CharField(
        label=_("Domain"),
        max_length=253,
        help_text=_("The part of your e-mail addresses after the @, such as example.com."),
        widget=forms.TextInput(attrs={"autocapitalize": "none", "spellcheck": "false", "inputmode": "url"}),
    )


class JoinRoleForm(forms.Form):
    """What people with an address of a domain may join as; empty: nobody joins by themselves."""

    join_role = forms.ChoiceField(
        label=_("People with a verified address of this domain"),
        choices=[
            ("", _("Cannot join by themselves")),
            *((role.value, _("May join as %(role)s") % {"role": role.label.lower()}) for role in JOINABLE_ROLES),
        ],
        required=False,
        widget=forms.RadioSelect,
    )

    def chosen_role(self) -> Role | None:
        chosen = self.cleaned_data["join_role"]
        return Role(chosen) if chosen else None


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


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)

    def chosen_role(self) -> Role:
        return Role(self.cleaned_data["role"])


class TransferForm(forms.Form):
    """Who shall be the owner. `members`: those who may be chosen."""

    member = forms.ChoiceField(label=_("New owner"), widget=LongSelect)

    def __init__(self, *args: object, members: list[Membership], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # as above
        self._members = {member.public_id: member for member in members}
        _offer(self, "member", [(member.public_id, member.user.email) for member in members])

    def chosen_member(self) -> Membership:
        return self._members[self.cleaned_data["member"]]


class ProjectRoleForm(forms.Form):
    """Who does what in a project. `members`: those of its organization."""

    member = forms.ChoiceField(label=_("Person"), widget=LongSelect)
    project_role = forms.ChoiceField(label=_("Role"), choices=ProjectRole.choices, initial=ProjectRole.MEMBER)

    def __init__(self, *args: object, members: list[Membership], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # as above
        self._members = {member.public_id: member for member in members}
        _offer(self, "member", [(member.public_id, member.user.email) for member in members])

    def chosen_member(self) -> Membership:
        return self._members[self.cleaned_data["member"]]

    def chosen_role(self) -> ProjectRole:
        return ProjectRole(self.cleaned_data["project_role"])


class CodeForm(forms.Form):
    code = forms.CharField(
        label=_("Code"),
        max_length=12,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )


class EraseForm(forms.Form):
    """Erasing an account, which takes typing its address."""

    email = forms.CharField(
        label=_("Your e-mail address"),
        max_length=254,
        help_text=_("Type it to show that you mean this account."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "email", "spellcheck": "false"}),
    )

    def __init__(self, *args: object, email: str, **kwargs: object) -> None:
        # Django's forms take many arguments, which pass through as they are.
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._email = email

    def clean_email(self) -> str:
        typed: str = self.cleaned_data["email"]
        if typed.casefold() != self._email.casefold():
            raise forms.ValidationError(_("That is not the address of this account."))
        return typed


class DeleteOrganizationForm(forms.Form):
    """Deleting an organization, which takes typing its name."""

    name = forms.CharField(
        label=_("Name of the organization"),
        max_length=120,
        help_text=_("Type it to show that you mean this one."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: object, organization: Organization, **kwargs: object) -> None:
        # As above.
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._organization = organization

    def clean_name(self) -> str:
        typed: str = self.cleaned_data["name"]
        if typed != self._organization.name:
            raise forms.ValidationError(_("That is not the name of this organization."))
        return typed


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
