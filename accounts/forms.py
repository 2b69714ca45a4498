"""Forms of sign-up, organizations, projects and API keys: shape only; services decide what is allowed."""

from datetime import datetime, timedelta

from django import forms
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, Project, Scope, User
from accounts.selectors import AuditFilters
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


class KeyForm(forms.Form):
    """A new API key. `projects`: those of the organization that may get it."""

    LIVES = [("30", _("30 days")), ("90", _("90 days")), ("365", _("1 year"))]

    name = forms.CharField(
        label=_("Name"), max_length=80, help_text=_("What will use it, for example “nightly evaluation”.")
    )
    project = forms.ChoiceField(label=_("Project"), widget=LongSelect)
    scopes = forms.MultipleChoiceField(
        label=_("What it may do"),
        choices=Scope.choices,
        initial=[Scope.INFERENCE, Scope.INSTANCES_READ, Scope.INSTANCES_WRITE, Scope.USAGE_READ],
        widget=forms.CheckboxSelectMultiple,
        help_text=_("A key that creates and revokes keys cannot call models: make a separate one for that."),
    )
    expires_in = forms.ChoiceField(label=_("Ends after"), choices=LIVES, initial="90")

    def __init__(self, *args: object, projects: list[Project], **kwargs: object) -> None:
        # Django's forms take many arguments, which pass through as they are.
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._projects = {project.public_id: project for project in projects}
        field = self.fields["project"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101  # for the type checker
        field.choices = [(project.public_id, project.name) for project in projects]

    def chosen_project(self) -> Project:
        return self._projects[self.cleaned_data["project"]]

    def chosen_scopes(self) -> list[Scope]:
        return [Scope(scope) for scope in self.cleaned_data["scopes"]]

    def expires_at(self, now: datetime) -> datetime:
        return now + timedelta(days=int(self.cleaned_data["expires_in"]))


class CodeForm(forms.Form):
    code = forms.CharField(
        label=_("Code"),
        max_length=12,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code", "inputmode": "numeric"}),
    )


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
