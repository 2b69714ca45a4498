"""Roles, removal, leaving, transfer: what is refused changes nothing, and no race leaves an organization ownerless."""

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from accounts.access import InvalidApiKey, authenticate_key
from accounts.models import ApiKey, AuditEvent, Membership, Organization, ProjectMembership, Role, Scope
from accounts.services.api_keys import IssuedKey, UnableToIssueKey, issue_key, revoke_key
from accounts.services.members import (
    ONLY_OWNERS,
    ROLE_LOST,
    UnableToChangeRole,
    UnableToLeave,
    UnableToRemoveMember,
    UnableToTransferOwnership,
    change_role,
    leave_organization,
    remove_member,
    transfer_ownership,
)
from accounts.services.organizations import create_project
from portal.lib.errors import DomainError
from portal.lib.tenancy import set_organization
from tests.factories.accounts import make_key, make_membership, make_organization, make_project_membership
from tests.own_database import SUPERUSER, OwnDatabase

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ROUNDS = 50 if os.environ.get("PROVE") else 15


def actions(organization: Organization) -> list[tuple[str, str]]:
    entries = AuditEvent.objects.owned_by(organization).order_by("sequence")
    return [(entry.action, entry.changes) for entry in entries]


def make_personal_key(member: Membership) -> IssuedKey:
    return issue_key(
        project=member.organization.projects.get(),
        name="mine",
        scopes=[Scope.INFERENCE],
        created_by=member.user,
        now=NOW,
        expires_at=NOW + timedelta(days=3650),
        is_personal=True,
    )


def roles(organization: Organization) -> list[Role]:
    return [Role(member.role) for member in Membership.objects.owned_by(organization).in_order()]


@pytest.mark.django_db
def test_an_owner_gives_another_role():
    organization = make_organization()
    owner, member = make_membership(organization), make_membership(organization, role=Role.VIEWER)

    changed = change_role(membership=member, role=Role.OWNER, by=owner, now=NOW)

    assert changed.role == Role.OWNER
    assert roles(organization) == [Role.OWNER, Role.OWNER]
    assert actions(organization) == [("member.role_changed", '{"role": ["viewer", "owner"]}')]


@pytest.mark.django_db
def test_the_same_role_changes_nothing():
    organization = make_organization()
    owner = make_membership(organization)

    change_role(membership=owner, role=Role.OWNER, by=owner, now=NOW)

    assert actions(organization) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("asker", "before", "after", "words"),
    [
        (Role.ADMIN, Role.DEVELOPER, Role.OWNER, ONLY_OWNERS),
        (Role.ADMIN, Role.OWNER, Role.VIEWER, ONLY_OWNERS),
        (Role.DEVELOPER, Role.VIEWER, Role.BILLING, ROLE_LOST),
        (Role.VIEWER, Role.OWNER, Role.VIEWER, ROLE_LOST),
    ],
)
def test_refuses_a_role_that_is_not_theirs_to_give(asker: Role, before: Role, after: Role, words: str):
    organization = make_organization()
    by, member = make_membership(organization, role=asker), make_membership(organization, role=before)

    with pytest.raises(UnableToChangeRole) as refused:
        change_role(membership=member, role=after, by=by, now=NOW)

    assert str(refused.value) == words
    assert roles(organization) == [asker, before]
    assert actions(organization) == []


@pytest.mark.django_db
def test_an_admin_does_not_make_an_owner_of_themselves():
    organization = make_organization()
    make_membership(organization)
    admin = make_membership(organization, role=Role.ADMIN)

    with pytest.raises(UnableToChangeRole, match="Only an owner"):
        change_role(membership=admin, role=Role.OWNER, by=admin, now=NOW)

    assert roles(organization) == [Role.OWNER, Role.ADMIN]


@pytest.mark.django_db
def test_the_only_owner_stays_one():
    organization = make_organization()
    owner = make_membership(organization)
    make_membership(organization, role=Role.ADMIN)

    with pytest.raises(UnableToChangeRole, match="needs an owner"):
        change_role(membership=owner, role=Role.ADMIN, by=owner, now=NOW)
    with pytest.raises(UnableToLeave, match="only owner"):
        leave_organization(membership=owner, now=NOW)

    assert roles(organization) == [Role.OWNER, Role.ADMIN]
    assert actions(organization) == []


@pytest.mark.django_db
def test_who_lost_their_role_meanwhile_is_refused():
    organization = make_organization()
    first, second = make_membership(organization), make_membership(organization)
    change_role(membership=first, role=Role.VIEWER, by=second, now=NOW)

    # What the page of the first one still believes.
    assert first.role == Role.OWNER
    for refused in (
        lambda: change_role(membership=second, role=Role.VIEWER, by=first, now=NOW),
        lambda: remove_member(membership=second, by=first, now=NOW),
        lambda: transfer_ownership(to=second, by=first, now=NOW),
    ):
        with pytest.raises(DomainError, match="you may no longer do this"):
            refused()

    assert roles(organization) == [Role.VIEWER, Role.OWNER]


@pytest.mark.django_db
def test_a_removed_member_is_gone_with_their_part_in_projects():
    organization = make_organization()
    owner, member = make_membership(organization), make_membership(organization, role=Role.ADMIN)
    make_project_membership(member, organization.projects.get())

    remove_member(membership=member, by=owner, now=NOW)

    assert roles(organization) == [Role.OWNER]
    assert not ProjectMembership.objects.exists()
    [(action, changes)] = actions(organization)
    assert action == "member.removed"
    assert member.user.public_id in changes


@pytest.mark.django_db
def test_refuses_to_remove_oneself_an_owner_and_who_is_gone():
    organization = make_organization()
    owner, admin = make_membership(organization), make_membership(organization, role=Role.ADMIN)
    gone = make_membership(organization, role=Role.VIEWER)
    remove_member(membership=gone, by=admin, now=NOW)

    for member, by, words in [
        (owner, owner, "leave the organization"),
        (owner, admin, "Only an owner can remove an owner"),
        (gone, owner, "already"),
    ]:
        with pytest.raises(UnableToRemoveMember, match=words):
            remove_member(membership=member, by=by, now=NOW)

    assert roles(organization) == [Role.OWNER, Role.ADMIN]
    assert len(actions(organization)) == 1


@pytest.mark.django_db
def test_leaves_once():
    organization = make_organization()
    make_membership(organization)
    member = make_membership(organization, role=Role.BILLING)

    leave_organization(membership=member, now=NOW)
    with pytest.raises(UnableToLeave, match="already"):
        leave_organization(membership=member, now=NOW)

    assert roles(organization) == [Role.OWNER]
    assert [action for action, _ in actions(organization)] == ["member.left"]


@pytest.mark.django_db
def test_ownership_goes_from_one_to_the_other_in_one_step():
    organization = make_organization()
    owner, heir = make_membership(organization), make_membership(organization, role=Role.DEVELOPER)

    transfer_ownership(to=heir, by=owner, now=NOW)

    assert roles(organization) == [Role.ADMIN, Role.OWNER]
    [(action, changes)] = actions(organization)
    assert action == "organization.ownership_transferred"
    assert changes == f'{{"owner": ["{owner.user.public_id}", "{heir.user.public_id}"]}}'


@pytest.mark.django_db
def test_refuses_a_transfer_by_others_to_oneself_and_to_outsiders():
    organization = make_organization()
    owner, admin = make_membership(organization), make_membership(organization, role=Role.ADMIN)
    outsider = make_membership(make_organization(), role=Role.VIEWER)

    for to, by, words in [
        (admin, admin, "no longer"),
        (owner, owner, "somebody else"),
        (outsider, owner, "has left"),
    ]:
        with pytest.raises(UnableToTransferOwnership, match=words):
            transfer_ownership(to=to, by=by, now=NOW)

    assert roles(organization) == [Role.OWNER, Role.ADMIN]
    outsider.refresh_from_db()
    assert outsider.role == Role.VIEWER
    assert actions(organization) == []


@pytest.mark.django_db
@pytest.mark.asvs("8.3.2")
def test_the_keys_that_a_member_made_for_themselves_end_with_them_and_no_others():
    organization = make_organization()
    owner, member = make_membership(organization), make_membership(organization, role=Role.DEVELOPER)
    elsewhere = make_membership(make_organization(), member.user)
    theirs = [make_personal_key(member).api_key for _ in range(2)]
    secret = make_personal_key(member).secret
    others = [
        make_key(organization.projects.get()).api_key,
        make_personal_key(owner).api_key,
        make_personal_key(elsewhere).api_key,
    ]
    assert authenticate_key(secret)

    remove_member(membership=member, by=owner, now=NOW)

    assert set(ApiKey.objects.filter(revoked_at=None)) == set(others)
    with pytest.raises(InvalidApiKey):
        authenticate_key(secret)
    assert {key.public_id for key in theirs} < set(
        AuditEvent.objects.filter(action="key.revoked").values_list("target_id", flat=True)
    )
    assert actions(organization)[-1][0] == "member.removed"


@pytest.mark.django_db
def test_leaving_ends_them_too_and_who_is_gone_makes_no_more():
    organization = make_organization()
    make_membership(organization)
    member = make_membership(organization, role=Role.DEVELOPER)
    make_personal_key(member)

    leave_organization(membership=member, now=NOW)

    assert not ApiKey.objects.filter(revoked_at=None).exists()
    with pytest.raises(UnableToIssueKey, match="Only a member"):
        make_personal_key(member)


# --- Races: threads with the app's own role and real commits --------------------------------------


def as_member_of(organization: Organization, work):
    with transaction.atomic():
        set_organization(organization.pk)
        return work()


def race(own_database: OwnDatabase, organization: Organization, *works):
    """Run each in a thread of its own, at once; return what they returned or raised."""
    with own_database.in_use():
        return own_database.in_threads(len(works), lambda number: as_member_of(organization, works[number]))


def assert_owned(own_database: OwnDatabase, organization: Organization, results: list[object]) -> None:
    assert all(not isinstance(result, Exception) or isinstance(result, DomainError) for result in results), results
    with own_database.in_use(SUPERUSER):
        assert Membership.objects.owned_by(organization).filter(role=Role.OWNER).exists()


@pytest.mark.asvs("15.4.2")
def test_two_owners_who_unmake_each_other_leave_one(own_database: OwnDatabase):
    for _ in range(ROUNDS):
        with own_database.in_use(SUPERUSER):
            organization = make_organization()
            first, second = make_membership(organization), make_membership(organization)

        results = race(
            own_database,
            organization,
            lambda first=first, second=second: change_role(membership=second, role=Role.VIEWER, by=first, now=NOW),
            lambda first=first, second=second: change_role(membership=first, role=Role.VIEWER, by=second, now=NOW),
        )

        assert_owned(own_database, organization, results)
        assert sum(isinstance(result, UnableToChangeRole) for result in results) == 1, results


@pytest.mark.asvs("15.4.2")
def test_no_race_of_leaving_removing_demoting_and_transferring_leaves_no_owner(own_database: OwnDatabase):
    """Rounds of five who go for the ownership of two owners at once (T12)."""
    for _ in range(ROUNDS):
        with own_database.in_use(SUPERUSER):
            organization = make_organization()
            first, second = make_membership(organization), make_membership(organization)
            third = make_membership(organization, role=Role.DEVELOPER)

        def demote(first=first, second=second):
            return change_role(membership=second, role=Role.VIEWER, by=first, now=NOW)

        def remove(first=first, second=second):
            return remove_member(membership=first, by=second, now=NOW)

        def leave_first(first=first):
            return leave_organization(membership=first, now=NOW)

        def leave_second(second=second):
            return leave_organization(membership=second, now=NOW)

        def transfer(second=second, third=third):
            return transfer_ownership(to=third, by=second, now=NOW)

        results = race(own_database, organization, demote, remove, leave_first, leave_second, transfer)

        assert_owned(own_database, organization, results)
        assert any(not isinstance(result, DomainError) for result in results)


def test_a_key_that_is_made_while_its_member_is_removed_does_not_outlive_them(own_database: OwnDatabase):
    for _ in range(ROUNDS):
        with own_database.in_use(SUPERUSER):
            organization = make_organization()
            owner, member = make_membership(organization), make_membership(organization, role=Role.DEVELOPER)

        def make(member=member):
            return make_personal_key(member)

        def remove(member=member, owner=owner):
            return remove_member(membership=member, by=owner, now=NOW)

        results = race(own_database, organization, make, make, remove)

        assert_owned(own_database, organization, results)
        assert results[2] is None
        with own_database.in_use(SUPERUSER):
            assert not ApiKey.objects.filter(created_by=member.user, revoked_at=None).exists()


def test_changes_of_members_and_of_other_things_never_wait_for_each_other(own_database: OwnDatabase):
    """One locks the organization and then its log, the other the log and then, by a foreign key, the organization."""
    with own_database.in_use(SUPERUSER):
        organization = make_organization()
        owner = make_membership(organization)
        members = [make_membership(organization, role=Role.VIEWER) for _ in range(2)]
        keys = [make_key(organization.projects.get()).api_key for _ in range(40)]

    def work(number: int) -> None:
        for turn in range(20):
            if number < 2:
                role = Role.DEVELOPER if turn % 2 else Role.BILLING
                as_member_of(
                    organization,
                    lambda role=role: change_role(membership=members[number], role=role, by=owner, now=NOW),
                )
            elif number == 2:
                with suppress(DomainError):
                    name = f"Project {turn}"
                    as_member_of(
                        organization, lambda name=name: create_project(organization=organization, name=name, now=NOW)
                    )
            else:
                key = keys[(number - 3) * 20 + turn]
                as_member_of(organization, lambda key=key: revoke_key(api_key=key, now=NOW))

    with own_database.in_use():
        assert own_database.in_threads(5, work) == [None] * 5
    with own_database.in_use(SUPERUSER):
        assert not ApiKey.objects.filter(revoked_at=None).exists()
        assert AuditEvent.objects.filter(action="member.role_changed").count() == 40
