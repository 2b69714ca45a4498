"""Several requests of a directory at once, on real connections: each waits for the other, and none half happens."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from django.test import Client

from accounts.models import DirectoryGroup, DirectoryPerson, Membership, Role, User
from accounts.services.directory_groups import set_group_role
from accounts.services.members import UnableToRemoveMember, remove_member
from tests.accounts.directories import Answer, Directory, make_directory
from tests.own_database import SUPERUSER, OwnDatabase

ROUNDS = 5


def at_once(own: OwnDatabase, *works: Callable[[], object]) -> list[object]:
    return list(own.in_threads(len(works), lambda number: works[number]()))


def apart(directory: Directory) -> Directory:
    """The same directory on a connection of its own."""
    return replace(directory, client=Client())


def test_one_of_two_that_add_the_same_person_at_once_is_refused(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        directory = make_directory()
        for number in range(ROUNDS):
            who = f"person{number}"
            answers = at_once(own_database, *[lambda who=who: apart(directory).add_user(who)] * 2)

            assert sorted(answer.status for answer in answers if isinstance(answer, Answer)) == [201, 409]
        assert DirectoryPerson.objects.count() == ROUNDS
        assert User.objects.filter(email__endswith="acme.example").count() == ROUNDS


def test_who_leaves_while_their_group_is_given_a_role_is_gone(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        directory = make_directory()
        owner = Membership.objects.get(role=Role.OWNER)
        for number in range(ROUNDS):
            person = directory.user_id(f"person{number}")
            group_id = directory.add_group(f"Group {number}", person).body["id"]
            group = DirectoryGroup.objects.get(public_id=group_id)

            leave = {"op": "replace", "path": "active", "value": False}
            drop = {"op": "remove", "path": "members"}
            left, _role, dropped = at_once(
                own_database,
                lambda person=person, leave=leave: apart(directory).patch(f"Users/{person}", leave),  # type: ignore[misc]
                lambda group=group: set_group_role(  # type: ignore[misc]
                    group=group, role=Role.DEVELOPER, by=owner, now=datetime.now(UTC)
                ),
                lambda group_id=group_id, drop=drop: apart(directory).patch(f"Groups/{group_id}", drop),  # type: ignore[misc]
            )

            assert isinstance(left, Answer)
            assert (left.status, left.body["active"]) == (200, False)
            assert isinstance(_role, DirectoryGroup)
            assert isinstance(dropped, Answer)
            assert dropped.status == 200
        assert list(Membership.objects.all()) == [owner]


def test_who_is_removed_here_and_there_at_once_is_removed_once(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        directory = make_directory()
        owner = Membership.objects.get(role=Role.OWNER)
        for number in range(ROUNDS):
            person = directory.user_id(f"person{number}")
            member = DirectoryPerson.objects.get(public_id=person).membership
            assert member is not None

            there, here = at_once(
                own_database,
                lambda person=person: apart(directory).ask("DELETE", f"Users/{person}"),  # type: ignore[misc]
                lambda member=member: remove_member(membership=member, by=owner, now=datetime.now(UTC)),  # type: ignore[misc]
            )

            assert isinstance(there, Answer)
            assert there.status == 204
            assert here is None or isinstance(here, UnableToRemoveMember)
        assert list(Membership.objects.all()) == [owner]
