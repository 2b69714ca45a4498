"""Forms of domains and single sign-on."""

from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.gateways import ProviderError
from accounts.gateways.saml_provider import read_metadata
from accounts.gateways.saml_xml import LONGEST_DOCUMENT
from accounts.models import Role
from accounts.models.domain import JOINABLE_ROLES
from accounts.models.sso import LONGEST_CLIENT_ID
from portal.lib.outbound import LONGEST_URL


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


class SsoEntryForm(forms.Form):
    email = forms.EmailField(
        label=_("E-mail address at work"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )


class SsoForm(forms.Form):
    """An organization's OpenID Connect provider. has_secret: whether one is stored, which an empty field keeps."""

    issuer = forms.CharField(
        label=_("Issuer"),
        max_length=LONGEST_URL,
        help_text=_("The address that your identity provider calls its issuer, such as https://login.example.com."),
        widget=forms.URLInput(attrs={"spellcheck": "false", "autocapitalize": "none"}),
    )
    client_id = forms.CharField(
        label=_("Client id"),
        max_length=LONGEST_CLIENT_ID,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
    )
    client_secret = forms.CharField(
        label=_("Client secret"),
        max_length=500,
        strip=True,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    default_role = forms.ChoiceField(
        label=_("Role of new people"),
        choices=[(role.value, role.label) for role in JOINABLE_ROLES],
        help_text=_("Who signs in for the first time becomes a member with this role."),
    )

    def __init__(self, *args: object, has_secret: bool, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        if has_secret:
            self.fields["client_secret"].required = False
            self.fields["client_secret"].help_text = _("Leave it empty to keep the one that is stored.")

    def chosen_role(self) -> Role:
        return Role(self.cleaned_data["default_role"])


_XML = {"rows": 5, "spellcheck": "false", "autocapitalize": "none", "autocomplete": "off"}


class SamlForm(forms.Form):
    """An organization's SAML provider: its metadata, which then counts alone, or the three things that are in it."""

    metadata = forms.CharField(
        label=_("Metadata"),
        required=False,
        max_length=LONGEST_DOCUMENT,
        help_text=_("The XML document of your identity provider. With it, leave the next three fields as they are."),
        widget=forms.Textarea(attrs=_XML),
    )
    entity_id = forms.CharField(
        label=_("Entity id"),
        required=False,
        max_length=LONGEST_URL,
        help_text=_("What your identity provider calls itself, also named issuer."),
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocapitalize": "none", "autocomplete": "off"}),
    )
    sign_in_url = forms.CharField(
        label=_("Sign-in address"),
        required=False,
        max_length=LONGEST_URL,
        help_text=_("Where people are sent to sign in, by redirect."),
        widget=forms.URLInput(attrs={"spellcheck": "false", "autocapitalize": "none"}),
    )
    certificates = forms.CharField(
        label=_("Certificates"),
        required=False,
        max_length=20_000,
        help_text=_(
            "What your identity provider signs with, as PEM: one, or two while it changes from one to the next."
        ),
        widget=forms.Textarea(attrs=_XML),
    )
    default_role = forms.ChoiceField(
        label=_("Role of new people"),
        choices=[(role.value, role.label) for role in JOINABLE_ROLES],
        help_text=_("Who signs in for the first time becomes a member with this role."),
    )

    def clean(self) -> dict[str, object]:
        given = super().clean() or self.cleaned_data
        if given.get("metadata"):
            try:
                described = read_metadata(given["metadata"])
            except ProviderError as error:
                self.add_error("metadata", str(error))
                return given
            return given | {
                "entity_id": described.entity_id,
                "sign_in_url": described.sign_in_url,
                "certificates": described.certificates,
            }
        for name in ("entity_id", "sign_in_url", "certificates"):
            if name not in self.errors and not given.get(name):
                self.add_error(name, _("Paste the metadata above, or fill this in."))
        return given

    def chosen_role(self) -> Role:
        return Role(self.cleaned_data["default_role"])


class BreakGlassForm(forms.Form):
    may_enter = forms.TypedChoiceField(choices=[("yes", "yes"), ("no", "no")], coerce=lambda value: value == "yes")
