"""Forms of sign-up, organizations, projects and members: shape only; services decide what is allowed."""

from collections.abc import Sequence

from django import forms
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.forms.choices import offer
from accounts.models import (
    Membership,
    Organization,
    Project,
    ProjectRole,
    Role,
    ServiceAccount,
    User,
)
from accounts.selectors import LeftKeys
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


class RemovalForm(forms.Form):
    """Who gets the keys that a member leaves behind: a choice for each project in which somebody could."""

    def __init__(self, *args: object, left: Sequence[LeftKeys], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # as above
        self._heirs: dict[str, dict[str, ServiceAccount]] = {}
        for part in left:
            if part.heirs:
                name = f"heir_{part.project.public_id}"
                self._heirs[name] = {account.public_id: account for account in part.heirs}
                self.fields[name] = forms.ChoiceField(
                    label=_("Keys in %(project)s") % {"project": part.project.name},
                    required=False,
                    widget=LongSelect,
                    choices=[
                        ("", _("Leave them with the project")),
                        *((account.public_id, account.name) for account in part.heirs),
                    ],
                )

    def chosen_heirs(self) -> list[ServiceAccount]:
        return [heirs[chosen] for name, heirs in self._heirs.items() if (chosen := self.cleaned_data[name])]


class InviteForm(forms.Form):
    """Whom to invite. `roles`: those that the member who invites may give; `projects`: those of the organization."""

    email = forms.EmailField(label=_("E-mail address"), max_length=254)
    role = forms.ChoiceField(label=_("Role"), initial=Role.DEVELOPER)
    project = forms.ChoiceField(
        label=_("Project"),
        required=False,
        widget=LongSelect,
        help_text=_("They may make keys and launch instances in it, whatever their role."),
    )

    def __init__(self, *args: object, roles: list[Role], projects: list[Project], **kwargs: object) -> None:
        # Django's forms take many arguments, which pass through as they are.
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._projects = {project.public_id: project for project in projects}
        offer(self, "role", [(role.value, str(role.label)) for role in roles])
        offer(self, "project", [("", str(_("None"))), *((one.public_id, one.name) for one in projects)])

    def chosen_role(self) -> Role:
        return Role(self.cleaned_data["role"])

    def chosen_project(self) -> Project | None:
        return self._projects.get(self.cleaned_data["project"])


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
        offer(self, "member", [(member.public_id, member.user.email) for member in members])

    def chosen_member(self) -> Membership:
        return self._members[self.cleaned_data["member"]]


class ProjectRoleForm(forms.Form):
    """Who does what in a project. `members`: those of its organization."""

    member = forms.ChoiceField(label=_("Person"), widget=LongSelect)
    project_role = forms.ChoiceField(label=_("Role"), choices=ProjectRole.choices, initial=ProjectRole.MEMBER)

    def __init__(self, *args: object, members: list[Membership], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # as above
        self._members = {member.public_id: member for member in members}
        offer(self, "member", [(member.public_id, member.user.email) for member in members])

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


class LegalHoldForm(forms.Form):
    """For staff: which organization, what to do, and why."""

    organization = forms.SlugField(label=_("Address of the organization (slug)"), max_length=60)
    action = forms.ChoiceField(label=_("Hold"), choices=[("set", _("Set")), ("clear", _("Clear"))])
    reason = forms.CharField(label=_("Reason"), max_length=500, widget=forms.Textarea(attrs={"rows": 3}))
