"""The only place with library callbacks: django-allauth asks, our services answer."""

import struct
import time
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import LoginForm, SetPasswordForm
from allauth.core import context
from allauth.core.exceptions import ReauthenticationRequired
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.adapter import get_adapter as get_mfa_adapter
from allauth.mfa.base.forms import ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from allauth.mfa.webauthn import forms as webauthn
from allauth.mfa.webauthn.internal.auth import parse_authentication_response
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import access
from accounts.forms import chosen_kind
from accounts.models import User
from accounts.sealed import seal_factor, unseal_factor
from accounts.selectors import join_offers
from accounts.services.api_keys import issue_starter_key
from accounts.services.organizations import create_first_organization
from accounts.services.passkeys import UnableToUsePasskey, count_use
from accounts.services.sessions import end_other_sessions
from portal.lib.tenancy import set_user


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth carries no types
    def login(self, request: HttpRequest, user: User) -> None:
        super().login(request, user)
        access.remember_sign_in(request, time.time())

    def reauthenticate(self, user: User, password: str) -> bool:
        is_right = bool(super().reauthenticate(user, password))
        if is_right:
            access.remember_proof(self.request, time.time())
        return is_right

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse:
        # Who was invited comes to join, and so does who has colleagues here; an organization of their own can still be
        # made later.
        if kwargs.get("signup") and not access.is_invitation(kwargs.get("redirect_url")) and not _has_colleagues(user):
            now = timezone.now()
            organization = create_first_organization(owner=user, kind=chosen_kind(request), now=now)
            if organization is not None:
                access.keep_starter_key(request, issue_starter_key(organization=organization, created_by=user, now=now))
        response: HttpResponse = super().post_login(request, user, **kwargs)
        return response

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        # allauth builds links from the name that the request calls us by, which whoever sends it chooses.
        called = self.request.build_absolute_uri("/")
        ours: dict[str, Any] = {
            name: f"{settings.PORTAL_URL}/{value.removeprefix(called)}"
            for name, value in context.items()
            if isinstance(value, str) and value.startswith(called)
        }
        # So that mails greet by our name, and not by that of the host.
        ours["current_site"] = SimpleNamespace(name=settings.PORTAL_BRAND, domain=urlsplit(settings.PORTAL_URL).netloc)
        super().send_mail(template_prefix, email, context | ours)

    def send_notification_mail(self, template_prefix: str, user: User, *args: Any, **kwargs: Any) -> None:
        # allauth's word for a changed second factor, after which it ends nobody's other sessions. That comes first: it
        # must not wait for a mail.
        if template_prefix.startswith("mfa/email/"):
            end_other_sessions(user=user, session=self.request.session)
        super().send_notification_mail(template_prefix, user, *args, **kwargs)

    def get_signup_redirect_url(self, request: HttpRequest) -> str:
        return f"{reverse('accounts:welcome')}?new"

    def get_reauthentication_methods(self, user: User) -> list[dict[str, object]]:
        methods: list[dict[str, object]] = super().get_reauthentication_methods(user)
        if not user.is_authenticated:
            return methods
        if not is_mfa_enabled(user, types=[Authenticator.Type.TOTP]):
            # Who has security keys alone may not have seen the recovery codes yet: the first way is not to ask for one.
            methods.sort(key=lambda method: method["id"] == "mfa_reauthenticate")
        by_mail = {"id": "email_code", "description": _("Use a code sent to your e-mail address")}
        return methods or [{**by_mail, "url": reverse("accounts:reauthenticate-by-code")}]

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        # allauth lets people without password and second factor pass; we mail them a code instead.
        if not super().get_reauthentication_methods(self.request.user) and not access.is_sign_in_recent(
            self.request, time.time()
        ):
            raise ReauthenticationRequired
        return bool(super().is_reauthentication_required(app=app, **kwargs))


def _has_colleagues(user: User) -> bool:
    with transaction.atomic():
        set_user(user.pk)
        return bool(join_offers(user))


class SignInForm(LoginForm):  # type: ignore[misc]  # allauth carries no types
    """One form for both ways in: allauth drops the password where sign-up asks for none, but people may add one."""

    def _setup_password_field(self) -> None:
        field = self.fields["password"]
        field.required = False
        field.help_text = _("Only if you have set one. Leave it empty and we mail you a code.")


class FirstPasswordForm(SetPasswordForm):  # type: ignore[misc]  # allauth carries no types
    """A first password opens the account for ever: allauth would take it from a session that was left open."""

    def clean(self) -> Any:
        if not access.is_sign_in_recent(context.request, time.time()):
            raise ReauthenticationRequired
        return super().clean()


# What reading somebody's bytes raises beneath allauth, which looks at their outermost shape only.
_UNREADABLE = (AttributeError, IndexError, KeyError, TypeError, ValueError, struct.error)


class _Asserting:
    """Refuses what is no answer of a security key as it refuses a wrong one, instead of failing; and copies of keys."""

    def clean_credential(self) -> Any:
        sent = self.cleaned_data["credential"]  # type: ignore[attr-defined]  # of the form beside it
        try:
            passkey = super().clean_credential()  # type: ignore[misc]  # as above
            counter = parse_authentication_response(sent).response.authenticator_data.counter
        except _UNREADABLE as error:
            raise get_mfa_adapter().validation_error("incorrect_code") from error
        try:
            # allauth reads what the key counts and looks at it nowhere.
            count_use(passkey=passkey, counter=counter)
        except UnableToUsePasskey as error:
            raise ValidationError(str(error)) from error
        return passkey


class _Enrolling:
    """The same for what is no new key."""

    def clean(self) -> Any:
        try:
            return super().clean()  # type: ignore[misc]  # as above
        except _UNREADABLE as error:
            raise get_mfa_adapter().validation_error("incorrect_code") from error


class PasskeyForm(_Asserting, webauthn.LoginWebAuthnForm):  # type: ignore[misc]  # allauth carries no types
    pass


class SecondFactorForm(_Asserting, webauthn.AuthenticateWebAuthnForm):  # type: ignore[misc]
    pass


class ProofForm(_Asserting, webauthn.ReauthenticateWebAuthnForm):  # type: ignore[misc]
    def clean_credential(self) -> Any:
        # The view that asks for it never saves the form.
        proved = super().clean_credential()
        access.remember_proof(context.request, time.time())
        return proved


class CodeProofForm(ReauthenticateForm):  # type: ignore[misc]
    """A second factor's code, as a proof."""

    def save(self) -> None:
        super().save()
        access.remember_proof(context.request, time.time())


class NewSecurityKeyForm(_Enrolling, webauthn.AddWebAuthnForm):  # type: ignore[misc]
    pass


class PasskeyNameForm(webauthn.EditWebAuthnForm):  # type: ignore[misc]
    def save(self) -> Any:
        # allauth writes all that it has read of the key, which may have been used since.
        self.instance.refresh_from_db(from_queryset=Authenticator.objects.select_for_update(no_key=True))
        return super().save()


class FirstPasskeyForm(_Enrolling, webauthn.SignupWebAuthnForm):  # type: ignore[misc]
    pass


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]  # allauth carries no types
    """Seeds and recovery codes are stored sealed."""

    def encrypt(self, text: str) -> str:
        return seal_factor(text)

    def decrypt(self, encrypted_text: str) -> str:
        return unseal_factor(encrypted_text)
