"""Every page there is to look at: a route of the policy, an object in each of its states, and who may see it.

A new route is visited without a line here. Only pages that a person reaches in several steps say which (STEPS),
and routes that show no page of their own say why (NOT_A_PAGE).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from allauth.account.models import EmailAddress
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from accounts.models import Organization, Role, User
from accounts.services.closing import request_deletion
from tests.browser import session_of
from tests.factories.accounts import make_membership, make_organization, make_user
from tests.furnishing import PERSONAL_STATES, STATES, furnish
from tests.policy import POLICY, Audience
from tests.routes import ROUTES, Route
from tests.world import NOW, PERSONAL_OBJECTS, PUBLIC_OBJECTS, World

PASSWORD = "correct horse battery staple"
# Routes that answer GET with neither a page, nor another kind of content, nor 405.
NOT_A_PAGE = {
    "mfa_login_webauthn": "gives the browser's script what it signs; people are sent to sign in",
    "socialaccount_signup": "follows a provider that names no address; others are sent to sign in",
    "socialaccount_login_error": "answers 401 in words of the library",
    "github_callback": "takes back whom GitHub sends",
    "google_callback": "takes back whom Google sends",
    "accounts:sso-callback": "takes back whom a provider sends; its refusal is in a journey (single sign-on)",
    "accounts:saml-continue": "follows an answer that a provider's page posts; its refusal is the same page",
    "billing:payment-checkout": "leads on to a payment provider, and here is none: tests/billing/payments has one",
    "billing:card-page": "leads on to a payment provider, and here is none: tests/billing/payments has one",
    "mfa_reauthenticate_webauthn": "its script needs a real authenticator",
}


@dataclass(frozen=True)
class Visit:
    """One page to look at. state: that of the object in its address; is_empty: where nothing has happened yet."""

    route: Route
    state: str = ""
    is_empty: bool = False

    def __str__(self) -> str:
        return "-".join(filter(None, [self.route.name, self.state, "empty" if self.is_empty else ""]))


@dataclass
class Scene:
    """The sweeps' world, with an organization in which everything happened and one in which nothing did."""

    world: World
    empty: Organization
    states: dict[str, dict[str, str]]
    public_objects: dict[str, str]

    def begin(self, visit: Visit) -> tuple[Client, str]:
        """Return who visits, ready to ask for the page, and its address."""
        cache.clear()  # The limits of sign-ups and mailed codes do not last from one visit to the next.
        route, objects = visit.route, dict(self.public_objects)
        organization = self.empty if visit.is_empty else self.world.ours
        if route.name in STEPS:
            client = STEPS[route.name]()
        elif route.is_of_organization:
            member = organization.memberships.filter(role=Role.OWNER).order_by("pk")[0]
            client = signed_in(member.user)
            objects |= self.world.objects
            objects |= {word: made[visit.state] for word, made in self.states.items() if visit.state in made}
        elif route.rule.who is Audience.SIGNED_IN:
            person = make_person()
            make_membership(organization, person, Role.ADMIN)
            client = signed_in(person)
            for word in route.rule.objects.values():
                objects[word] = PERSONAL_STATES.get(word, {}).get(visit.state, PERSONAL_OBJECTS[word])(person)
        else:
            client = visitor()
        return client, route.address(organization.slug, objects)


def make_scene(world: World) -> Scene:
    empty = make_organization("Empty", owner=make_user())
    # Its pages are looked at with what every page says while an organization is being deleted.
    request_deletion(organization=empty, now=NOW)
    return Scene(
        world=world,
        empty=empty,
        states=furnish(world.ours, NOW),
        public_objects={word: make() for word, make in PUBLIC_OBJECTS.items()},
    )


def visits() -> Iterator[Visit]:
    """Every page in every state, and those that name no object of an organization also where there is none."""
    for route in ROUTES:
        if route.name not in POLICY or route.is_of_programs or route.name in NOT_A_PAGE:
            continue
        words = route.rule.objects.values()
        states = [state for word in words for state in [*STATES.get(word, []), *PERSONAL_STATES.get(word, {})]]
        for state in states or [""]:
            yield Visit(route, state)
        if route.is_of_organization and not route.rule.objects:
            yield Visit(route, is_empty=True)


# --- People --------------------------------------------------------------------------------------


def visitor() -> Client:
    return Client(raise_request_exception=False)


def signed_in(user: User) -> Client:
    client = visitor()
    client.cookies[settings.SESSION_COOKIE_NAME] = session_of(user)
    return client


def make_person(password: str | None = PASSWORD) -> User:
    user = make_user(password=password)
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    return user


def _with_codes(user: User) -> User:
    TOTP.activate(user, generate_totp_secret())
    RecoveryCodes.activate(user)
    return user


def _without_password() -> Client:
    return signed_in(make_person(None))


def _with_second_factor() -> Client:
    return signed_in(_with_codes(make_person()))


def _with_account_elsewhere() -> Client:
    person = make_person()
    SocialAccount.objects.create(user=person, provider="github", uid=person.public_id, extra_data={"login": "ada"})
    return signed_in(person)


def _at_second_factor() -> Client:
    user, client = _with_codes(make_person()), visitor()
    client.post(reverse("account_login"), {"login": user.email, "password": PASSWORD})
    return client


def _at(form: str, *, with_code_for: str = "") -> Callable[[], Client]:
    """Return how to send a form with an address, and to answer with the mailed code."""

    def go() -> Client:
        email = "newcomer@example.com" if "signup" in form else make_person().email
        client = visitor()
        client.post(reverse(form), {"email": email})
        if with_code_for:
            [code] = re.findall(r"\b\d{6}\b", str(mail.outbox[-1].body))
            client.post(reverse(with_code_for), {"code": code})
        return client

    return go


# Route -> the steps before it, where it takes more than being there or signed in.
STEPS: dict[str, Callable[[], Client]] = {
    "accounts:welcome": _without_password,
    "accounts:reauthenticate-by-code": _without_password,
    "account_logout": lambda: signed_in(make_person()),
    "account_set_password": _without_password,
    "socialaccount_connections": _with_account_elsewhere,
    "account_confirm_login_code": _at("account_request_login_code"),
    "account_email_verification_sent": _at("account_signup"),
    "account_confirm_password_reset_code": _at("account_reset_password"),
    "account_complete_password_reset": _at(
        "account_reset_password", with_code_for="account_confirm_password_reset_code"
    ),
    "mfa_signup_webauthn": _at("account_signup_by_passkey", with_code_for="account_email_verification_sent"),
    "mfa_authenticate": _at_second_factor,
    "mfa_reauthenticate": _with_second_factor,
    "mfa_deactivate_totp": _with_second_factor,
    "mfa_view_recovery_codes": _with_second_factor,
    "mfa_generate_recovery_codes": _with_second_factor,
    "mfa_download_recovery_codes": _with_second_factor,
}
