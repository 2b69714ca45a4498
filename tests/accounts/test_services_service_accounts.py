"""Service accounts: programs that own keys, and what ends those."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.access import InvalidApiKey, authenticate_key
from accounts.models import ApiKey, AuditEvent, Membership, Organization, Overlap, Project, Role, Scope, ServiceAccount
from accounts.services.api_keys import IssuedKey, UnableToIssueKey, issue_key
from accounts.services.key_rotation import rotate_key
from accounts.services.leaked_keys import end_leaked_secret
from accounts.services.members import remove_member
from accounts.services.service_accounts import (
    UnableToChangeServiceAccount,
    UnableToCreateServiceAccount,
    UnableToHandOverKeys,
    create_service_account,
    delete_service_account,
    disable_service_account,
    enable_service_account,
    hand_over_keys,
)
from portal.lib.key_format import KeyKind
from tests.factories.accounts import (
    make_key,
    make_membership,
    make_organization,
    make_project,
    make_service_account,
    make_user,
)
from tests.own_database import SUPERUSER, OwnDatabase

NOW = datetime.now(UTC)
LATER = NOW + timedelta(minutes=1)


@pytest.fixture
def project(db: None) -> Project:
    return make_project(make_organization(owner=make_user()))


def actions(organization: Organization) -> list[str]:
    entries = AuditEvent.objects.filter(organization=organization).order_by("sequence")
    return list(entries.values_list("action", flat=True))


def create(project: Project, name: str = "nightly", scopes: tuple[Scope, ...] = (Scope.INFERENCE,)) -> ServiceAccount:
    return create_service_account(project=project, name=name, description="", scopes=scopes, created_by=None, now=NOW)


def test_a_key_of_a_service_account_opens_what_its_scopes_say(project: Project):
    account = create(project)
    issued = make_key(project, scopes=(Scope.INFERENCE,), now=NOW, service_account=account)

    assert authenticate_key(issued.secret).service_account == account
    assert issued.api_key.full_name == "nightly / test"


@pytest.mark.parametrize(
    ("name", "scopes", "sentence"),
    [
        (" ", (Scope.INFERENCE,), "Give the service account a name"),
        ("nightly", (), "Choose at least one thing"),
        ("NIGHTLY", (Scope.INFERENCE,), "already a service account called NIGHTLY"),
    ],
)
def test_refuses_a_bad_account_and_makes_none(project: Project, name: str, scopes: tuple[Scope, ...], sentence: str):
    create(project)

    with pytest.raises(UnableToCreateServiceAccount, match=sentence):
        create(project, name, scopes)

    assert ServiceAccount.objects.count() == 1


def test_the_name_of_a_deleted_account_is_free_again(project: Project):
    delete_service_account(account=create(project), now=NOW)

    assert create(project).state is ServiceAccount.State.ENABLED


def test_a_key_may_do_no_more_than_its_account(project: Project):
    account = create(project)

    with pytest.raises(UnableToIssueKey, match="may not do that: usage:read"):
        make_key(project, scopes=(Scope.INFERENCE, Scope.USAGE_READ), now=NOW, service_account=account)

    assert not ApiKey.objects.exists()


def test_a_key_is_of_its_accounts_project_and_of_nobody_else(project: Project):
    account, elsewhere = create(project), make_project(project.organization, "Elsewhere")
    member = project.organization.memberships.get().user

    with pytest.raises(UnableToIssueKey, match="works in another project"):
        make_key(elsewhere, scopes=(Scope.INFERENCE,), now=NOW, service_account=account)
    with pytest.raises(UnableToIssueKey, match="either yours alone or a service account's"):
        issue_key(
            project=project,
            name="mine",
            scopes=[Scope.INFERENCE],
            created_by=member,
            now=NOW,
            is_personal=True,
            service_account=account,
        )

    assert not ApiKey.objects.exists()


def test_the_database_refuses_the_account_of_another_organization(project: Project):
    foreign = make_service_account(make_organization().projects.get())
    key = make_key(project, now=NOW).api_key

    @transaction.atomic
    def misplace() -> None:
        ApiKey.objects.filter(pk=key.pk).update(service_account=foreign)
        connection.check_constraints()

    with pytest.raises(IntegrityError, match="same_organization"):
        misplace()


def test_keys_rest_while_their_account_is_disabled_and_work_again_after(project: Project):
    account = create(project)
    issued = make_key(project, scopes=(Scope.INFERENCE,), now=NOW, service_account=account)
    others = make_key(project, now=NOW)

    disable_service_account(account=account, now=LATER)
    disable_service_account(account=account, now=LATER)

    with pytest.raises(InvalidApiKey):
        authenticate_key(issued.secret)
    assert authenticate_key(others.secret)
    # By this a running gateway hears of it.
    assert ApiKey.objects.get(pk=issued.api_key.pk).changed_at == LATER

    enable_service_account(account=account, now=LATER + timedelta(minutes=1))

    assert authenticate_key(issued.secret)
    assert ApiKey.objects.get(pk=issued.api_key.pk).changed_at == LATER + timedelta(minutes=1)
    assert actions(project.organization)[-2:] == ["service_account.disabled", "service_account.enabled"]


def test_a_disabled_account_gets_no_key(project: Project):
    account = disable_service_account(account=create(project), now=NOW)

    with pytest.raises(UnableToIssueKey, match="is disabled"):
        make_key(project, scopes=(Scope.INFERENCE,), now=NOW, service_account=account)


def test_a_key_that_was_revoked_meanwhile_does_not_come_back(project: Project):
    account = create(project)
    issued = make_key(project, scopes=(Scope.INFERENCE,), now=NOW, service_account=account)
    disable_service_account(account=account, now=NOW)
    end_leaked_secret(secret=issued.secret, url="", source="", reporter="scanner", now=NOW)

    enable_service_account(account=account, now=LATER)

    assert ApiKey.objects.get().revoked_at == NOW
    with pytest.raises(InvalidApiKey):
        authenticate_key(issued.secret)


def test_a_new_secret_of_a_resting_key_rests_too(project: Project):
    account = create(project)
    issued = make_key(project, scopes=(Scope.INFERENCE,), now=NOW, service_account=account)
    disable_service_account(account=account, now=NOW)

    rotated = rotate_key(api_key=issued.api_key, overlap=Overlap.HOUR, now=NOW)

    for secret in (issued.secret, rotated.secret):
        with pytest.raises(InvalidApiKey):
            authenticate_key(secret)


def test_deleting_ends_the_keys_for_good_and_keeps_the_name_for_what_they_used(project: Project):
    account = create(project)
    issued = make_key(project, scopes=(Scope.INFERENCE,), now=NOW, service_account=account)

    delete_service_account(account=account, now=LATER)
    delete_service_account(account=account, now=LATER)

    with pytest.raises(InvalidApiKey):
        authenticate_key(issued.secret)
    with pytest.raises(UnableToChangeServiceAccount):
        enable_service_account(account=account, now=LATER)
    key = ApiKey.objects.get()
    assert (key.revoked_at, key.full_name) == (LATER, "nightly / test")
    assert actions(project.organization)[-2:] == ["key.revoked", "service_account.deleted"]


def made_by(membership: Membership, project: Project, name: str, *, is_personal: bool = False) -> ApiKey:
    return issue_key(
        project=project,
        name=name,
        scopes=[Scope.INFERENCE],
        created_by=membership.user,
        now=NOW,
        is_personal=is_personal,
    ).api_key


def test_a_removed_members_keys_go_to_the_heir_of_their_project_and_their_own_end(project: Project):
    owner = project.organization.memberships.get()
    leaver = make_membership(project.organization, role=Role.DEVELOPER)
    other_project = make_project(project.organization, "Other")
    account, owners_account = create(project), create(project, "owner's")
    left = made_by(leaver, project, "left")
    elsewhere = made_by(leaver, other_project, "elsewhere")
    personal = made_by(leaver, project, "mine", is_personal=True)
    owners = made_by(owner, project, "owner's")
    taken = make_key(project, scopes=(Scope.INFERENCE,), now=NOW, service_account=owners_account).api_key
    ApiKey.objects.filter(pk=taken.pk).update(created_by=leaver.user)

    remove_member(membership=leaver, by=owner, now=LATER, heirs=[account])

    whose = {key.name if key.pk != taken.pk else "taken": key.service_account for key in ApiKey.objects.all()}
    assert whose == {
        "left": account,
        "elsewhere": None,
        "mine": None,
        "owner's": None,
        "taken": owners_account,
    }
    assert set(ApiKey.objects.filter(revoked_at=None)) == {left, elsewhere, owners, taken}
    assert ApiKey.objects.get(pk=personal.pk).revoked_at == LATER
    assert actions(project.organization)[-3:] == ["key.handed_over", "key.revoked", "member.removed"]


def test_a_key_that_may_more_than_the_heir_keeps_the_member_where_they_are(project: Project):
    owner = project.organization.memberships.get()
    leaver = make_membership(project.organization, role=Role.DEVELOPER)
    account = create(project, scopes=(Scope.USAGE_READ,))
    key = made_by(leaver, project, "left")

    with pytest.raises(UnableToHandOverKeys, match="The key left may do what the service account nightly may not"):
        remove_member(membership=leaver, by=owner, now=LATER, heirs=[account])

    assert Membership.objects.filter(pk=leaver.pk).exists()
    assert ApiKey.objects.get(pk=key.pk).service_account is None


def test_a_disabled_account_inherits_nothing(project: Project):
    member = project.organization.memberships.get()
    made_by(member, project, "left")
    account = disable_service_account(account=create(project), now=NOW)

    with pytest.raises(UnableToHandOverKeys, match="is disabled"):
        hand_over_keys(made_by=member.user, account=account, now=NOW)


def test_a_management_account_has_keys_that_manage_and_keys_that_call(project: Project):
    account = create(project, scopes=(Scope.KEYS_WRITE, Scope.INFERENCE))

    manages = issue_key(
        project=project,
        name="manages",
        scopes=[Scope.KEYS_WRITE],
        created_by=None,
        now=NOW,
        kind=KeyKind.MANAGEMENT,
        service_account=account,
    )
    calls = make_key(project, scopes=(Scope.INFERENCE,), now=NOW, service_account=account)

    assert {manages.api_key.kind, calls.api_key.kind} == {"mgmt", "live"}


ROUNDS = 10


def run_one(issue: Callable[[], IssuedKey], disable: Callable[[], ServiceAccount], number: int) -> object:
    return disable() if number else issue()


def test_a_key_that_is_made_while_its_account_is_disabled_never_works(own_database: OwnDatabase):
    """Whichever comes first: the key sees the account disabled, or is disabled with it."""
    with own_database.in_use(SUPERUSER):
        project = make_organization().projects.get()
        for number in range(ROUNDS):
            account = create(project, f"robot {number}")
            issue = partial(make_key, project, scopes=(Scope.INFERENCE,), now=NOW, service_account=account)
            disable = partial(disable_service_account, account=account, now=LATER)

            results = own_database.in_threads(2, partial(run_one, issue, disable))

            assert isinstance(results[0], UnableToIssueKey | IssuedKey), results
            assert isinstance(results[1], ServiceAccount), results
        assert ServiceAccount.objects.filter(disabled_at=LATER).count() == ROUNDS
        assert not [key for key in ApiKey.objects.all() if key.is_usable(NOW)]
