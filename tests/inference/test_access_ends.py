"""Access that ends is over on every process: running answers, the next page, and keys of one's own (security T11).

Each way that access ends is tried in an organization of its own, on processes that are started once. Each running
answer is given five seconds from then on to end, all of them at once.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx2 as httpx
import pytest
from django.conf import settings
from django.contrib.sessions.models import Session

from accounts.models import ApiKey, Membership, Organization, Role, Scope
from accounts.services.api_keys import issue_key, revoke_key
from accounts.services.closing import GRACE, close_due_organizations, request_deletion
from accounts.services.members import change_role, leave_organization, remove_member
from accounts.services.service_accounts import disable_service_account
from inference.models import Receipt
from portal.lib.sessions import stored_key
from tests.accounts.directories import Directory
from tests.factories.accounts import (
    make_directory_token,
    make_domain,
    make_key,
    make_organization,
    make_service_account,
    make_user,
)
from tests.inference.conftest import STALLS_AFTER, ServedGateway, wait_until
from tests.inference.test_cut_streams import Running, asked_by_key, asked_by_page, signed_in
from tests.inference.test_doors import gateway_processes
from tests.own_database import OwnDatabase

PROVE = bool(os.environ.get("PROVE"))
PROCESSES = 4 if PROVE else 2


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Someone:
    """A developer with a session, whom a directory lists, and a key of their own; their organization has an owner."""

    organization: Organization
    owner: Membership
    member: Membership
    directory: Directory
    listed_as: str
    session: str
    secret: str


def make_someone(number: int) -> Someone:
    organization = make_organization(owner=make_user())
    owner = Membership.objects.get(organization=organization)
    make_domain(organization, f"acme{number}.example")
    directory = Directory(organization, make_directory_token(owner, now=now()).secret)
    email = f"ada@acme{number}.example"
    listed_as = directory.user_id(userName=email, emails=[{"value": email, "type": "work", "primary": True}])
    Membership.objects.filter(user__email=email).update(role=Role.DEVELOPER)
    member = Membership.objects.select_related("organization", "user").get(user__email=email)
    secret = issue_key(
        project=organization.projects.get(),
        name="Ada's own",
        scopes=[Scope.INFERENCE],
        created_by=member.user,
        now=now(),
        is_personal=True,
    ).secret
    return Someone(organization, owner, member, directory, listed_as, signed_in(member.user), secret)


def demote(one: Someone) -> None:
    change_role(membership=one.member, role=Role.VIEWER, by=one.owner, now=now())


def remove(one: Someone) -> None:
    remove_member(membership=one.member, by=one.owner, now=now())


def leave(one: Someone) -> None:
    leave_organization(membership=one.member, now=now())


def close(one: Someone) -> None:
    request_deletion(organization=one.organization, now=now() - GRACE - timedelta(seconds=1))
    close_due_organizations(now=now())


def sign_out(one: Someone) -> None:
    Session.objects.get(pk=stored_key(one.session)).delete()


def deactivate(one: Someone) -> None:
    answer = one.directory.patch(f"Users/{one.listed_as}", {"op": "replace", "path": "active", "value": False})
    assert answer.status == 200


@dataclass(frozen=True)
class Afterwards:
    """What is heard: how a page's running answer ends, what the next page is, what becomes of a key of one's own."""

    stream: str
    page: int
    key: int


OUT = Afterwards("unknown_url", 404, 401)
WAYS: dict[str, tuple[Callable[[Someone], None], Afterwards]] = {
    "demoted": (demote, Afterwards("forbidden", 403, 401)),
    "removed": (remove, OUT),
    "left": (leave, OUT),
    "organization closed": (close, OUT),
    # A key is no session: who signs out of a browser does not stop their programs.
    "signed out": (sign_out, Afterwards("signed_out", 302, 200)),
    "deactivated": (deactivate, OUT),
}
TRIED = WAYS if PROVE else {name: WAYS[name] for name in ("demoted", "signed out")}


def pages(urls: list[str], one: Someone) -> list[int]:
    """Ask every process for a page that takes a developer."""
    headers = {"host": "localhost", "cookie": f"{settings.SESSION_COOKIE_NAME}={one.session}"}
    return [httpx.get(f"{url}/o/{one.organization.slug}/keys/new/", headers=headers).status_code for url in urls]


def keys(urls: list[str], secret: str) -> list[int]:
    headers = {"authorization": f"Bearer {secret}"}
    return [httpx.get(f"{url}/v1/models", headers=headers).status_code for url in urls]


def ends(running: list[Running]) -> list[str]:
    """Return the code that each answer ends with; each has five seconds from now."""
    with ThreadPoolExecutor(len(running)) as pool:
        events = list(pool.map(Running.rest, running))
    # A page's event is the error itself, a program's has it inside.
    return [str(error.get("error", error)["code"]) for error, _done in events]


def try_way(urls: list[str], one: Someone, end: Callable[[Someone], None], after: Afterwards) -> None:
    everywhere = len(urls)
    assert pages(urls, one) == keys(urls, one.secret) == [200] * everywhere
    with ExitStack() as stack:
        by_page = [stack.enter_context(asked_by_page(url, one.organization, one.session)) for url in urls]
        by_key = [stack.enter_context(asked_by_key(url, one.secret)) for url in urls]
        end(one)

        assert pages(urls, one) == [after.page] * everywhere
        # Asked at once, so a process that looks for changed keys twice a second may not have looked yet.
        wait_until(lambda: keys(urls, one.secret) == [after.key] * everywhere)
        cut = by_page + (by_key if after.key != 200 else [])
        assert ends(cut) == [after.stream] * everywhere + ["invalid_api_key"] * (len(cut) - everywhere)
        if after.key == 200:
            revoke_key(api_key=ApiKey.objects.get(organization=one.organization), now=now())
            assert ends(by_key) == ["invalid_api_key"] * everywhere
    wait_until(lambda: Receipt.objects.filter(organization=one.organization).count() == 2 * everywhere)
    assert set(Receipt.objects.values_list("status", "output_tokens")) == {(Receipt.Status.CUT, STALLS_AFTER)}


@pytest.mark.processes
@pytest.mark.asvs("8.3.2")
def test_access_that_ends_is_over_on_every_process(stalling: ServedGateway, own_database: OwnDatabase):
    people = {name: make_someone(number) for number, name in enumerate(TRIED)}
    account = make_service_account(stalling.project)
    program = make_key(stalling.project, now=now(), service_account=account).secret

    with gateway_processes(own_database, PROCESSES) as urls:
        for name, (end, after) in TRIED.items():
            try_way(urls, people[name], end, after)

        # A program's access ends with its account.
        with ExitStack() as stack:
            running = [stack.enter_context(asked_by_key(url, program)) for url in urls]
            disable_service_account(account=account, now=now())
            assert ends(running) == ["invalid_api_key"] * len(urls)
        assert keys(urls, program) == [401] * len(urls)
