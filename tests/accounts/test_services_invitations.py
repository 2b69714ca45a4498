"""Invitations: who may invite whom, what the mail says, who may accept, and that a link works once."""

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from allauth.account.models import EmailAddress
from django.core import mail
from django.db import connection, transaction

from accounts import tasks
from accounts.models import (
    AuditEvent,
    Invitation,
    InvitationState,
    Membership,
    Organization,
    ProjectMembership,
    Role,
    User,
)
from accounts.models.invitation import LIFE
from accounts.services import invitations
from accounts.services.invitations import (
    MAXIMUM_MAILS,
    InvitationNotFound,
    UnableToAcceptInvitation,
    UnableToChangeInvitation,
    UnableToInvite,
    accept_invitation,
    enqueue_unmailed_invitations,
    invite_member,
    mail_invitation,
    resend_invitation,
    revoke_invitation,
)
from accounts.services.members import change_role, leave_organization
from portal.lib.errors import DomainError
from portal.lib.jobs import ORGANIZATION_HEADER
from portal.lib.tenancy import _role, as_platform, set_organization, set_user
from tests.factories.accounts import make_invitation, make_membership, make_organization, make_project, make_user
from tests.own_database import SUPERUSER, OwnDatabase

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ROUNDS = 50 if os.environ.get("PROVE") else 10


@pytest.fixture
def organization(db: None) -> Organization:
    return make_organization("Lighthouse Labs")


@pytest.fixture
def owner(organization: Organization) -> Membership:
    return make_membership(organization, make_user("olga@lighthouse.example"))


def make_person(email: str = "ada@example.com", *, verified: bool = True) -> User:
    user = make_user(email)
    EmailAddress.objects.create(user=user, email=email, verified=verified, primary=True)
    return user


def invite(by: Membership, email: str = "ada@example.com", **more: Any) -> Invitation:
    return invite_member(email=email, role=more.pop("role", Role.DEVELOPER), by=by, now=NOW, **more)


def mailed(by: Membership, email: str = "ada@example.com", **more: Any) -> tuple[Invitation, str]:
    return make_invitation(by.organization, email, invited_by=by.user, now=NOW, **more)


def token_in(message: Any) -> str:
    [token] = re.findall(r"/invitations/([\w-]+)/", message.body)
    return str(token)


def actions(organization: Organization) -> list[str]:
    return list(AuditEvent.objects.owned_by(organization).order_by("sequence").values_list("action", flat=True))


# --- Inviting ------------------------------------------------------------------------------------


def test_invites_an_address_for_a_week(organization: Organization, owner: Membership):
    project = organization.projects.get()

    invitation = invite(owner, " Ada@Example.com", project=project)

    assert (invitation.email, invitation.role, invitation.project) == ("ada@example.com", Role.DEVELOPER, project)
    assert invitation.expires_at == NOW + timedelta(days=7)
    assert invitation.public_id.startswith("invite_")
    assert actions(organization) == ["member.invited"]
    entry = AuditEvent.objects.get()
    assert entry.changes == (f'{{"project": [null, "{project.public_id}"], "role": [null, "developer"]}}')


def test_the_mail_goes_out_once_and_only_its_link_has_the_token(organization: Organization, owner: Membership):
    invitation = invite(owner, project=organization.projects.get())

    assert mail_invitation(invitation_id=invitation.pk, now=NOW)
    assert not mail_invitation(invitation_id=invitation.pk, now=NOW)

    [message] = mail.outbox
    assert message.to == ["ada@example.com"]
    assert message.subject == "You are invited to Lighthouse Labs on Headroom"
    for words in (
        "olga@lighthouse.example invites you",
        "as Developer",
        "project “Default”",
        "7 days",
        "ada@example.com",
    ):
        assert words in message.body
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(i::text, '') FROM accounts_invitation i")
        row = cursor.fetchone()[0]
    assert token_in(message) not in row
    assert len(token_in(message)) == 43
    assert accept_invitation(token=token_in(message), user=make_person(), now=NOW).organization == organization


def test_the_job_mails_it_inside_the_organization(organization: Organization, owner: Membership):
    invitation = invite(owner)
    foreign = make_organization()

    for somewhere, mails in [(foreign, 0), (organization, 1)]:
        with _role("headroom_app"), time_machine.travel(LATER, tick=False):
            tasks.mail_invitation.push_request(headers={ORGANIZATION_HEADER: str(somewhere.pk)})
            try:
                tasks.mail_invitation(invitation_id=invitation.pk, of_the_future=1)
            finally:
                tasks.mail_invitation.pop_request()
        assert len(mail.outbox) == mails

    invitation.refresh_from_db()
    assert invitation.mailed_at == LATER


def test_a_mail_that_was_lost_is_named_again(
    organization: Organization, owner: Membership, django_capture_on_commit_callbacks: Any
):
    waiting, (sent, _) = invite(owner), mailed(owner, "bob@example.com")
    for now, count in [(NOW, 0), (NOW + timedelta(minutes=2), 1), (NOW + timedelta(days=2), 0)]:
        with django_capture_on_commit_callbacks() as named, as_platform():
            assert enqueue_unmailed_invitations(now=now) == count
        assert len(named) == count
    mail_invitation(invitation_id=waiting.pk, now=NOW)
    with as_platform():
        assert enqueue_unmailed_invitations(now=NOW + timedelta(minutes=2)) == 0
    assert sent.mailed_at is not None


def test_nothing_is_mailed_for_what_has_ended(organization: Organization, owner: Membership):
    revoked, expired, nobodys = (invite(owner, f"{name}@example.com") for name in ("revoked", "expired", "nobodys"))
    revoke_invitation(invitation=revoked, by=owner, now=NOW)
    Invitation.objects.filter(pk=nobodys.pk).update(invited_by=None)

    for invitation, now in [(revoked, NOW), (expired, NOW + LIFE), (nobodys, NOW)]:
        assert not mail_invitation(invitation_id=invitation.pk, now=now)

    assert mail.outbox == []


def test_inviting_names_the_job_when_it_commits(
    organization: Organization, owner: Membership, django_capture_on_commit_callbacks: Any
):
    with django_capture_on_commit_callbacks() as named:
        invite(owner)

    assert len(named) == 1


@pytest.mark.parametrize(
    ("asker", "role", "words"),
    [
        (Role.ADMIN, Role.OWNER, "Only an owner can make"),
        (Role.DEVELOPER, Role.VIEWER, "no longer"),
        (Role.VIEWER, Role.VIEWER, "no longer"),
    ],
)
def test_refuses_to_give_more_than_one_may(organization: Organization, asker: Role, role: Role, words: str):
    by = make_membership(organization, role=asker)

    with pytest.raises(UnableToInvite, match=words):
        invite(by, role=role)

    assert not Invitation.objects.exists()
    assert actions(organization) == []


def test_refuses_members_and_who_is_invited_already(organization: Organization, owner: Membership):
    invite(owner)

    with pytest.raises(UnableToInvite, match=r"ADA|ada@example.com is invited already"):
        invite(owner, "ADA@example.com")
    with pytest.raises(UnableToInvite, match="is a member already"):
        invite(owner, owner.user.email.upper())

    assert Invitation.objects.count() == 1
    other = make_membership(make_organization())
    assert invite(other).organization == other.organization


def test_refuses_more_than_an_organization_may_have(
    organization: Organization, owner: Membership, monkeypatch: pytest.MonkeyPatch
):
    for name, words in [
        ("MAXIMUM_PENDING_INVITATIONS", "are waiting"),
        ("MAXIMUM_INVITATIONS_A_DAY", "go on tomorrow"),
        ("MAXIMUM_MEMBERS", "at most 1 members"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(invitations, name, 1)
            mailed(owner, f"{name.lower()}@example.com")
            with pytest.raises(UnableToInvite, match=words):
                invite(owner)

    assert not Invitation.objects.filter(email="ada@example.com").exists()


def test_a_second_link_ends_the_first(organization: Organization, owner: Membership):
    invitation, first = mailed(owner)
    admin = make_membership(organization, role=Role.ADMIN)

    resend_invitation(invitation=invitation, by=admin, now=LATER)
    mail_invitation(invitation_id=invitation.pk, now=LATER)

    invitation.refresh_from_db()
    assert (invitation.expires_at, invitation.invited_by) == (LATER + LIFE, admin.user)
    assert actions(organization) == ["invitation.resent"]
    with pytest.raises(InvitationNotFound):
        accept_invitation(token=first, user=make_person(), now=LATER)
    assert accept_invitation(token=token_in(mail.outbox[0]), user=User.objects.get(email="ada@example.com"), now=LATER)


def test_an_expired_invitation_can_be_sent_again(organization: Organization, owner: Membership):
    invitation, _ = mailed(owner)
    much_later = NOW + timedelta(days=30)
    assert invitation.state(much_later) is InvitationState.EXPIRED

    again = resend_invitation(invitation=invitation, by=owner, now=much_later)

    assert again.state(much_later) is InvitationState.OPEN


def test_refuses_to_send_again_too_soon_too_often_and_what_has_ended(organization: Organization, owner: Membership):
    soon, _ = mailed(owner, "soon@example.com")
    often, _ = mailed(owner, "often@example.com")
    revoked, _ = mailed(owner, "revoked@example.com")
    used, _ = mailed(owner, "used@example.com")
    owners, _ = mailed(owner, "owner@example.com", role=Role.OWNER)
    admin = make_membership(organization, role=Role.ADMIN)
    Invitation.objects.filter(pk=often.pk).update(mail_count=MAXIMUM_MAILS)
    Invitation.objects.filter(pk=revoked.pk).update(revoked_at=NOW)
    Invitation.objects.filter(pk=used.pk).update(accepted_at=NOW)

    for invitation, by, now, words in [
        (soon, owner, NOW + timedelta(seconds=59), "less than a minute"),
        (often, owner, LATER, "5 times"),
        (revoked, owner, LATER, "revoked"),
        (used, owner, LATER, "is a member now"),
        (owners, admin, LATER, "Only an owner"),
    ]:
        with pytest.raises(UnableToChangeInvitation, match=words):
            resend_invitation(invitation=invitation, by=by, now=now)

    assert not Invitation.objects.filter(mailed_at=None).exists()
    assert actions(organization) == []


def test_revokes_once(organization: Organization, owner: Membership):
    invitation, token = mailed(owner)

    revoke_invitation(invitation=invitation, by=owner, now=LATER)
    with pytest.raises(UnableToChangeInvitation, match="already"):
        revoke_invitation(invitation=invitation, by=owner, now=LATER)

    assert actions(organization) == ["invitation.revoked"]
    with pytest.raises(UnableToAcceptInvitation, match="was revoked"):
        accept_invitation(token=token, user=make_person(), now=LATER)
    invite(owner)


# --- Accepting -----------------------------------------------------------------------------------


def test_who_is_a_member_elsewhere_joins_too(organization: Organization, owner: Membership):
    _, token = mailed(owner)
    ada = make_person()
    make_membership(make_organization(), ada)

    assert accept_invitation(token=token, user=ada, now=LATER).organization == organization


def test_who_owns_the_address_joins_with_role_and_project(organization: Organization, owner: Membership):
    project = make_project(organization, "Training")
    invitation, token = mailed(owner, project=project, role=Role.BILLING)
    ada = make_person("Ada@Example.com")

    membership = accept_invitation(token=token, user=ada, now=LATER)

    assert (membership.user, membership.role, membership.organization) == (ada, Role.BILLING, organization)
    assert [(one.project, one.role) for one in ProjectMembership.objects.filter(membership=membership)] == [
        (project, "member")
    ]
    invitation.refresh_from_db()
    assert invitation.accepted_at == LATER
    [entry] = AuditEvent.objects.owned_by(organization)
    assert (entry.action, entry.actor_id, entry.target_id) == ("member.joined", ada.public_id, membership.public_id)


@pytest.mark.asvs("8.2.2")
def test_nobody_else_joins_whatever_they_hold(organization: Organization, owner: Membership):
    _, token = mailed(owner)
    unverified, other = make_person(verified=False), make_person("eve@example.com")
    EmailAddress.objects.create(user=other, email="ada@example.com", verified=False)

    words = set()
    for user, held in [(unverified, token), (other, token), (other, "x" * 43), (other, "")]:
        with pytest.raises(InvitationNotFound) as refused:
            accept_invitation(token=held, user=user, now=LATER)
        words.add(str(refused.value))

    assert len(words) == 1
    assert Membership.objects.owned_by(organization).count() == 1
    assert actions(organization) == []


def test_refuses_what_is_expired_used_or_no_longer_the_inviters_to_give(organization: Organization, owner: Membership):
    ada = make_person()
    cases = []
    for name, words in [("expired", "expired"), ("used", "used already"), ("revoked", "revoked")]:
        invitation, token = mailed(owner, "ada@example.com")
        change = {"expired": {"expires_at": NOW}, "used": {"accepted_at": NOW}, "revoked": {"revoked_at": NOW}}[name]
        Invitation.objects.filter(pk=invitation.pk).update(**change)
        cases.append((token, words))
        with pytest.raises(UnableToAcceptInvitation, match=words):
            accept_invitation(token=token, user=ada, now=LATER)
        Invitation.objects.filter(pk=invitation.pk, accepted_at=None).update(revoked_at=NOW)

    assert not Membership.objects.owned_by(organization).of_user(ada).exists()
    assert actions(organization) == []


def test_an_invitation_ends_with_the_right_to_give_it(organization: Organization, owner: Membership):
    second = make_membership(organization)
    leaver = make_membership(organization, role=Role.ADMIN)
    _, as_owner = mailed(second, role=Role.OWNER)
    _, by_leaver = mailed(leaver, "bob@example.com")
    change_role(membership=second, role=Role.ADMIN, by=owner, now=NOW)
    leave_organization(membership=leaver, now=NOW)

    for token, user in [(as_owner, make_person()), (by_leaver, make_person("bob@example.com"))]:
        with pytest.raises(UnableToAcceptInvitation, match="may no longer do so"):
            accept_invitation(token=token, user=user, now=LATER)

    assert Membership.objects.owned_by(organization).count() == 2


def test_refuses_members_and_full_organizations(
    organization: Organization, owner: Membership, monkeypatch: pytest.MonkeyPatch
):
    ada, bob = make_person(), make_person("bob@example.com")
    _, to_ada = mailed(owner)
    _, to_bob = mailed(owner, "bob@example.com")
    make_membership(organization, ada, Role.VIEWER)
    monkeypatch.setattr(invitations, "MAXIMUM_MEMBERS", 2)

    with pytest.raises(UnableToAcceptInvitation, match="You are a member of Lighthouse Labs already"):
        accept_invitation(token=to_ada, user=ada, now=LATER)
    with pytest.raises(UnableToAcceptInvitation, match="as many members"):
        accept_invitation(token=to_bob, user=bob, now=LATER)

    assert Membership.objects.owned_by(organization).count() == 2


@pytest.mark.asvs("8.4.1")
def test_outside_the_organization_people_see_invitations_to_their_own_addresses_only(
    organization: Organization, owner: Membership
):
    mine, _ = mailed(owner)
    mailed(owner, "bob@example.com")
    ada, unverified = make_person(), make_person("bob@example.com", verified=False)

    def seen(user: User | None) -> list[int]:
        with transaction.atomic(), _role("headroom_app"):
            if user is not None:
                set_user(user.pk)
            found = list(Invitation.objects.values_list("pk", flat=True))
            transaction.set_rollback(True)
        return found

    assert seen(None) == []
    assert seen(ada) == [mine.pk]
    assert seen(unverified) == []


# --- Races ---------------------------------------------------------------------------------------


@pytest.mark.asvs("15.4.2")
def test_a_link_that_is_used_many_times_at_once_works_once(own_database: OwnDatabase):
    for _ in range(ROUNDS):
        with own_database.in_use(SUPERUSER):
            organization = make_organization()
            ada = make_person(f"{organization.slug}@example.com")
            _, token = make_invitation(organization, ada.email, invited_by=make_membership(organization).user, now=NOW)

        def accept(_: int, token: str = token, ada: User = ada) -> Membership:
            return accept_invitation(token=token, user=ada, now=LATER)

        with own_database.in_use():
            results = own_database.in_threads(5, accept)

        assert sum(isinstance(result, Membership) for result in results) == 1, results
        assert sum(isinstance(result, UnableToAcceptInvitation) for result in results) == 4, results
        with own_database.in_use(SUPERUSER):
            assert Membership.objects.owned_by(organization).count() == 2
            assert AuditEvent.objects.owned_by(organization).filter(action="member.joined").count() == 1


def test_an_invitation_is_either_accepted_or_revoked(own_database: OwnDatabase):
    for _ in range(ROUNDS):
        with own_database.in_use(SUPERUSER):
            organization = make_organization()
            owner = make_membership(organization)
            ada = make_person(f"{organization.slug}@example.com")
            invitation, token = make_invitation(organization, ada.email, invited_by=owner.user, now=NOW)

        def accept(token=token, ada=ada):
            return accept_invitation(token=token, user=ada, now=LATER)

        @transaction.atomic
        def revoke(invitation=invitation, owner=owner):
            set_organization(owner.organization_id)
            return revoke_invitation(invitation=invitation, by=owner, now=LATER)

        works: list[Callable[[], object]] = [accept, revoke]

        def work(number: int, works: list[Callable[[], object]] = works) -> object:
            return works[number]()

        with own_database.in_use():
            results = own_database.in_threads(2, work)

        assert sum(isinstance(result, DomainError) for result in results) == 1, results
        with own_database.in_use(SUPERUSER):
            joined = Membership.objects.owned_by(organization).of_user(ada).exists()
            invitation.refresh_from_db()
            assert joined == (invitation.accepted_at is not None) == (invitation.revoked_at is None)


def test_one_address_is_invited_once_by_many_at_once(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        organization = make_organization()
        owner = make_membership(organization)

    def work(_: int) -> Invitation:
        with transaction.atomic():
            set_organization(organization.pk)
            return invite(owner)

    with own_database.in_use():
        results = own_database.in_threads(4, work)

    assert sum(isinstance(result, Invitation) for result in results) == 1, results
    assert sum(isinstance(result, UnableToInvite) for result in results) == 3, results
