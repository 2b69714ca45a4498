"""Required single sign-on: it holds from the next request on, for pages and streams, and never locks everybody out."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from allauth.account.models import EmailAddress
from django.core import mail
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, Domain, Membership, Organization, Role, SsoConnection, SsoIdentity, User
from accounts.services.domains import UnableToChangeDomain, remove_domain
from accounts.services.erasure import UnableToErase, erase_person
from accounts.services.members import (
    UnableToChangeRole,
    UnableToLeave,
    UnableToRemoveMember,
    UnableToTransferOwnership,
    change_role,
    leave_organization,
    remove_member,
    transfer_ownership,
)
from accounts.services.notices import mail_notices
from accounts.services.sso_connections import (
    UnableToNameBreakGlass,
    UnableToRequireSso,
    UnableToSetUpSso,
    name_break_glass,
    remove_sso,
    require_sso,
    set_up_saml,
    stop_requiring_sso,
)
from inference.gateway.console import _caller_of_session
from inference.gateway.errors import ApiError
from portal.lib.errors import DomainError
from portal.lib.tenancy import as_platform
from tests.doubles.saml_provider import SamlProvider
from tests.factories.accounts import (
    make_domain,
    make_membership,
    make_organization,
    make_sso_connection,
    make_sso_identity,
    make_user,
)

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MEMBERS = "accounts:member-list"


def make_person(email: str) -> User:
    user = make_user(email)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    return user


@pytest.fixture
def organization() -> Organization:
    made = make_organization("Acme")
    make_domain(made, "acme.example")
    return made


@pytest.fixture
def owner(organization: Organization) -> Membership:
    """An owner who may break the glass; single sign-on is not required yet."""
    member = make_membership(organization, make_person("olga@acme.example"))
    return name_break_glass(membership=member, may_enter=True, by=member, now=NOW)


@pytest.fixture
def connection(organization: Organization, owner: Membership) -> SsoConnection:
    made = make_sso_connection(organization)
    make_sso_identity(made, owner)
    return made


@pytest.fixture
def dev(organization: Organization) -> Membership:
    return make_membership(organization, make_person("dev@acme.example"), Role.DEVELOPER)


@pytest.fixture
def required(connection: SsoConnection, owner: Membership) -> SsoConnection:
    require_sso(by=owner, now=NOW)
    return connection


def signed_in(user: User, *, through: SsoConnection | None = None, at: float | None = None) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["signed_in_at"] = time.time()
    if through is not None:
        session["sso_proofs"] = {"user": user.pk, "through": {through.public_id: at or time.time()}}
    session.save()
    return client


def enter(client: Client, organization: Organization, **headers: str) -> Any:
    return client.get(reverse(MEMBERS, args=[organization.slug]), headers=headers)


def is_barred(answer: Any) -> bool:
    return answer.status_code == 403 and "requires single sign-on" in answer.content.decode()


# --- At the door ---------------------------------------------------------------------------------


def test_it_holds_from_the_next_request_of_an_open_session_on(
    organization: Organization, owner: Membership, connection: SsoConnection, dev: Membership
):
    client = signed_in(dev.user)
    assert enter(client, organization).status_code == 200

    require_sso(by=owner, now=NOW)
    barred = enter(client, organization)
    assert is_barred(barred)
    assert reverse("accounts:sso-organization", args=[organization.slug]) in barred.content.decode()
    assert "olga@acme.example" not in barred.content.decode()
    assert client.post(reverse("accounts:member-leave", args=[organization.slug])).status_code == 403
    assert Membership.objects.filter(pk=dev.pk).exists()

    stop_requiring_sso(by=owner, now=NOW)
    assert enter(client, organization).status_code == 200


def test_who_came_through_enters_for_a_day(organization: Organization, required: SsoConnection, dev: Membership):
    client = signed_in(dev.user, through=required)

    assert enter(client, organization).status_code == 200
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=23)):
        assert enter(client, organization).status_code == 200
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=25)):
        assert is_barred(enter(client, organization))


def test_a_proof_is_of_one_person_at_one_provider(
    organization: Organization, required: SsoConnection, dev: Membership, owner: Membership
):
    other = make_sso_connection(make_organization())
    assert is_barred(enter(signed_in(dev.user, through=other), organization))

    client = signed_in(dev.user, through=required)
    session = client.session
    session["sso_proofs"]["user"] = owner.user_id
    session.save()
    assert is_barred(enter(client, organization))


def test_another_connection_asks_everybody_again(
    organization: Organization, required: SsoConnection, dev: Membership, owner: Membership
):
    client = signed_in(dev.user, through=required)
    stop_requiring_sso(by=owner, now=NOW)
    remove_sso(by=owner, now=NOW)
    make_sso_identity(make_sso_connection(organization), owner)
    require_sso(by=owner, now=NOW)

    assert is_barred(enter(client, organization))


def test_a_part_of_a_page_sends_the_whole_page_to_sign_in(
    organization: Organization, required: SsoConnection, dev: Membership
):
    answer = enter(signed_in(dev.user), organization, HX_Request="true")

    assert answer.status_code == 401
    assert answer["HX-Redirect"] == reverse("accounts:sso-organization", args=[organization.slug])


def with_second_address(member: Membership) -> None:
    EmailAddress.objects.create(user=member.user, email="second@acme.example", verified=True, primary=False)


def with_unproved_address(member: Membership) -> None:
    EmailAddress.objects.create(user=member.user, email="claimed@acme.example", verified=False, primary=False)


def known_to_the_provider(member: Membership) -> None:
    make_sso_identity(SsoConnection.objects.get(), member, subject="u-9")


@pytest.mark.parametrize(
    ("prepare", "barred"),
    [
        (lambda member: None, False),
        (with_second_address, True),
        (with_unproved_address, False),
        (known_to_the_provider, True),
    ],
)
def test_whom_it_is_about(
    organization: Organization, required: SsoConnection, prepare: Callable[[Membership], None], barred: bool
):
    guest = make_membership(organization, make_person("guest@elsewhere.example"), Role.VIEWER)
    prepare(guest)

    assert is_barred(enter(signed_in(guest.user), organization)) is barred


def test_other_organizations_of_the_person_stay_open(
    organization: Organization, required: SsoConnection, dev: Membership
):
    other = make_membership(make_organization("Other"), dev.user).organization

    assert enter(signed_in(dev.user), other).status_code == 200


def test_a_stranger_still_cannot_tell_the_organization_from_none(organization: Organization, required: SsoConnection):
    assert enter(signed_in(make_person("eve@acme.example")), organization).status_code == 404


def stream(client: Client, organization: Organization) -> Any:
    token = client.get(reverse("account_email")).cookies["csrf"].value
    cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": f"/o/{organization.slug}/stream/playground",
        "query_string": b"",
        "server": ("testserver", 80),
        "headers": [
            (b"host", b"testserver"),
            (b"cookie", cookie.encode()),
            (b"x-csrftoken", token.encode()),
        ],
    }
    return _caller_of_session(scope, organization.slug)


def test_streams_of_the_console_have_the_same_door(
    organization: Organization, connection: SsoConnection, owner: Membership, dev: Membership
):
    client = signed_in(dev.user)
    assert stream(client, organization).user_id == dev.user_id
    require_sso(by=owner, now=NOW)

    with pytest.raises(ApiError) as refused:
        stream(client, organization)
    assert (refused.value.status, refused.value.code) == (403, "sso_required")
    assert stream(signed_in(dev.user, through=connection), organization).user_id == dev.user_id


# --- Breaking the glass --------------------------------------------------------------------------


def test_a_named_owner_enters_without_it_for_four_hours_and_everybody_hears(
    organization: Organization, required: SsoConnection, owner: Membership
):
    make_membership(organization, make_person("second@acme.example"))
    client = signed_in(owner.user)
    barred = enter(client, organization)
    assert is_barred(barred)
    assert "Enter without single sign-on" in barred.content.decode()
    with as_platform():
        mail_notices(now=NOW)
    mail.outbox.clear()

    client.post(reverse("accounts:sso-break-glass", args=[organization.slug]))

    assert enter(client, organization).status_code == 200
    entry = AuditEvent.objects.latest("sequence")
    assert (entry.action, entry.actor_id, entry.target_id) == (
        "sso.glass_broken",
        owner.user.public_id,
        owner.public_id,
    )
    assert entry.origin_id
    with as_platform():
        mail_notices(now=datetime.now(UTC))
    assert sorted(message.to[0] for message in mail.outbox) == ["olga@acme.example", "second@acme.example"]
    assert "olga@acme.example entered Acme" in mail.outbox[0].body
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=4, minutes=1)):
        assert is_barred(enter(client, organization))


def test_who_is_named_no_more_is_out_at_once(organization: Organization, required: SsoConnection, owner: Membership):
    second = make_membership(organization, make_person("second@acme.example"))
    name_break_glass(membership=second, may_enter=True, by=owner, now=NOW)
    client = signed_in(owner.user)
    client.post(reverse("accounts:sso-break-glass", args=[organization.slug]))

    name_break_glass(membership=owner, may_enter=False, by=second, now=NOW)

    assert is_barred(enter(client, organization))


@pytest.mark.parametrize("role", [Role.OWNER, Role.ADMIN, Role.VIEWER])
def test_nobody_else_breaks_it(organization: Organization, required: SsoConnection, role: Role):
    member = make_membership(organization, make_person("other@acme.example"), role)
    client = signed_in(member.user)
    assert "Enter without" not in enter(client, organization).content.decode()

    answer = client.post(reverse("accounts:sso-break-glass", args=[organization.slug]))

    assert answer.status_code == 404
    assert is_barred(enter(client, organization))
    assert "sso.glass_broken" not in AuditEvent.objects.values_list("action", flat=True)


def test_breaking_the_glass_takes_a_fresh_proof_of_who_one_is(
    organization: Organization, required: SsoConnection, owner: Membership
):
    client = signed_in(owner.user)
    session = client.session
    session["signed_in_at"] = time.time() - 3600
    session.save()

    answer = client.post(reverse("accounts:sso-break-glass", args=[organization.slug]))

    assert answer["Location"].startswith(reverse("accounts:reauthenticate-by-code"))
    assert is_barred(enter(client, organization))


# --- Requiring it --------------------------------------------------------------------------------


def without_domain(owner: Membership) -> None:
    Domain.objects.update(verified_at=None)


def without_connection(owner: Membership) -> None:
    SsoConnection.objects.all().delete()


def without_proof(owner: Membership) -> None:
    SsoIdentity.objects.all().delete()


def without_glass(owner: Membership) -> None:
    Membership.objects.update(is_break_glass=False)


def with_closed_glass(owner: Membership) -> None:
    second = make_membership(owner.organization, make_person("second@acme.example"))
    name_break_glass(membership=second, may_enter=True, by=owner, now=NOW)
    name_break_glass(membership=owner, may_enter=False, by=owner, now=NOW)
    User.objects.filter(pk=second.user_id).update(is_active=False)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_domain, "Verify a domain"),
        (without_connection, "Set single sign-on up"),
        (without_proof, "Sign in through it once"),
        (without_glass, "Name an owner"),
        (with_closed_glass, "Name an owner"),
    ],
)
def test_it_is_required_only_where_nobody_is_locked_out(
    owner: Membership, connection: SsoConnection, spoil: Callable[[Membership], None], words: str
):
    spoil(owner)

    with pytest.raises(UnableToRequireSso, match=words):
        require_sso(by=owner, now=NOW)
    assert Organization.objects.get(pk=owner.organization_id).sso_required_at is None


def test_the_last_owner_who_may_break_the_glass_stays_one(required: SsoConnection, owner: Membership):
    other = make_membership(owner.organization, make_person("second@acme.example"))
    refusals: list[tuple[type[DomainError], Callable[[], object]]] = [
        (UnableToChangeRole, lambda: change_role(membership=owner, role=Role.ADMIN, by=other, now=NOW)),
        (UnableToRemoveMember, lambda: remove_member(membership=owner, by=other, now=NOW)),
        (UnableToLeave, lambda: leave_organization(membership=owner, now=NOW)),
        (UnableToTransferOwnership, lambda: transfer_ownership(to=other, by=owner, now=NOW)),
        (UnableToNameBreakGlass, lambda: name_break_glass(membership=owner, may_enter=False, by=other, now=NOW)),
        (UnableToErase, lambda: erase_person(user=owner.user, now=NOW)),
    ]
    for refusal, change in refusals:
        with pytest.raises(refusal, match="only owner who may enter without it"), as_platform():
            change()

    name_break_glass(membership=other, may_enter=True, by=owner, now=NOW)
    change_role(membership=owner, role=Role.ADMIN, by=other, now=NOW)
    assert not Membership.objects.get(pk=owner.pk).is_break_glass


def test_the_database_lets_only_owners_break_the_glass(dev: Membership, owner: Membership):
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.filter(pk=dev.pk).update(is_break_glass=True)
    with pytest.raises(UnableToNameBreakGlass, match="Only owners"):
        name_break_glass(membership=dev, may_enter=True, by=owner, now=NOW)


def test_single_sign_on_is_not_removed_while_it_is_required(required: SsoConnection, owner: Membership):
    with pytest.raises(UnableToSetUpSso, match="Stop requiring"):
        remove_sso(by=owner, now=NOW)
    with pytest.raises(UnableToRequireSso, match="already"):
        require_sso(by=owner, now=NOW)

    stop_requiring_sso(by=owner, now=NOW)
    remove_sso(by=owner, now=NOW)
    assert not SsoConnection.objects.exists()
    with as_platform():
        mail_notices(now=NOW)
    assert [message.subject for message in mail.outbox] == [
        "Acme requires single sign-on now",
        "Acme does not require single sign-on any more",
    ]


def test_who_is_no_owner_any_more_changes_nothing(connection: SsoConnection, owner: Membership):
    Membership.objects.filter(pk=owner.pk).update(role=Role.ADMIN, is_break_glass=False)

    for change in (
        lambda: require_sso(by=owner, now=NOW),
        lambda: remove_sso(by=owner, now=NOW),
        lambda: name_break_glass(membership=owner, may_enter=True, by=owner, now=NOW),
    ):
        with pytest.raises(DomainError, match="role has changed"):
            change()


# --- Another provider, and the last domain ------------------------------------------------------


def connect_by_saml(by: Membership, entity_id: str) -> SsoConnection:
    provider = SamlProvider(entity_id=entity_id)
    return set_up_saml(
        entity_id=provider.entity_id,
        sign_in_url="https://saml.example/login",
        certificates=provider.certificate,
        default_role=Role.VIEWER,
        by=by,
        now=datetime.now(UTC),
    )


def test_another_provider_is_not_set_up_while_sign_on_is_required(required: SsoConnection, owner: Membership):
    with pytest.raises(UnableToSetUpSso, match="Stop requiring"):
        connect_by_saml(owner, "https://another.example")

    assert SsoConnection.objects.get().public_id == required.public_id
    assert SsoIdentity.objects.filter(connection=required).exists()


def test_whom_the_former_provider_let_in_is_not_let_in_by_another(
    organization: Organization, required: SsoConnection, owner: Membership, dev: Membership
):
    client = signed_in(dev.user, through=required)
    assert not is_barred(enter(client, organization))
    stop_requiring_sso(by=owner, now=NOW)

    another = connect_by_saml(owner, "https://another.example")

    assert not SsoIdentity.objects.exists()
    make_sso_identity(another, owner)
    require_sso(by=owner, now=NOW)
    assert is_barred(enter(client, organization))


def test_the_last_verified_domain_stays_while_sign_on_is_required(
    organization: Organization, required: SsoConnection, owner: Membership
):
    domain = Domain.objects.owned_by(organization).get()
    with pytest.raises(UnableToChangeDomain, match="Stop requiring"):
        remove_domain(domain=domain, by=owner, now=NOW)

    make_domain(organization, "acme-labs.example")
    remove_domain(domain=domain, by=owner, now=NOW)
    assert [domain.name for domain in Domain.objects.owned_by(organization)] == ["acme-labs.example"]
