"""Access that ends while an answer runs ends the answer, with a receipt for what was delivered (security T11).

The upstream says nothing more after three tokens: only being cut ends these answers, so that no clock decides. What
must happen within five seconds is waited for that long and no longer.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Thread
from typing import Any

import httpx2 as httpx
import pytest
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.models import Session

from accounts.models import ApiKey, Membership, Organization, Overlap, RetiredSecret, Role, Scope, ServiceAccount, User
from accounts.services.api_keys import KeyLimits, change_key, issue_key, revoke_key
from accounts.services.closing import GRACE, close_due_organizations, request_deletion
from accounts.services.key_rotation import rotate_key
from accounts.services.leaked_keys import end_leaked_secret
from accounts.services.members import change_role, leave_organization, remove_member
from accounts.services.service_accounts import delete_service_account, disable_service_account
from billing.models import SpendCap, UsageEvent
from inference.models import Receipt
from portal.lib.sessions import SessionStore
from tests.factories.accounts import make_key, make_membership, make_service_account
from tests.inference.conftest import STALLS_AFTER as TOKENS
from tests.inference.conftest import ServedGateway, wait_until

SECONDS = 5
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
TOKEN = "t" * 32
HELLO = [{"role": "user", "content": "Hello there"}]


def now() -> datetime:
    return datetime.now(UTC)


class Running:
    """An answer that runs: `rest` waits for how it ends."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()

    def next(self) -> dict[str, Any]:
        """Return the next event's data; [DONE] is {"done": True}. Fails when nothing comes within five seconds."""
        for line in self._lines:
            if line.startswith("data:"):
                data = line.removeprefix("data:").strip()
                return {"done": True} if data == "[DONE]" else json.loads(data)
        raise AssertionError("the stream ended without a word")

    def rest(self) -> list[dict[str, Any]]:
        return [
            {"done": True} if (data := line.removeprefix("data:").strip()) == "[DONE]" else json.loads(data)
            for line in self._lines
            if line.startswith("data:")
        ]


@contextmanager
def asked_by_key(url: str, secret: str) -> Iterator[Running]:
    """Ask with a key, and go on when everything that the upstream says has arrived."""
    body = {"model": "stalling", "messages": HELLO, "stream": True}
    with httpx.stream(
        "POST",
        f"{url}/v1/chat/completions",
        json=body,
        headers={"authorization": f"Bearer {secret}"},
        timeout=SECONDS,
    ) as response:
        assert response.status_code == 200
        running = Running(response)
        tokens = 0
        while tokens < TOKENS:
            tokens += bool(running.next()["choices"][0]["delta"].get("content"))
        yield running


def signed_in(user: User) -> str:
    """Return the cookie of a new session, as the portal's own processes know it too."""
    session = SessionStore()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), BACKEND
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return session.cookie_key


@contextmanager
def asked_by_page(url: str, organization: Organization, session: str) -> Iterator[Running]:
    with httpx.stream(
        "POST",
        f"{url}/o/{organization.slug}/stream/playground",
        json={"model": "stalling", "prompt": "Hello there"},
        cookies={settings.CSRF_COOKIE_NAME: TOKEN, settings.SESSION_COOKIE_NAME: session},
        headers={"x-csrftoken": TOKEN, "host": "localhost"},
        timeout=SECONDS,
    ) as response:
        assert response.status_code == 200
        running = Running(response)
        for _ in range(TOKENS):
            assert running.next()["text"]
        yield running


def assert_billed_for_what_was_delivered(count: int = 1) -> None:
    wait_until(lambda: Receipt.objects.count() == count)
    for receipt in Receipt.objects.all():
        assert (receipt.status, receipt.output_tokens) == (Receipt.Status.CUT, TOKENS)
        assert receipt.cost_usd == Decimal(TOKENS) / 1_000_000
    wait_until(lambda: UsageEvent.objects.count() == count)


# --- Keys ----------------------------------------------------------------------------------------


def revoke(gateway: ServedGateway) -> None:
    revoke_key(api_key=gateway.key.api_key, now=now())


def rotate_without_overlap(gateway: ServedGateway) -> None:
    rotate_key(api_key=gateway.key.api_key, overlap=Overlap.NONE, now=now())


def leak(gateway: ServedGateway) -> None:
    end_leaked_secret(secret=gateway.key.secret, url="", source="", reporter="scanner", now=now())


def close_organization(gateway: ServedGateway) -> None:
    request_deletion(organization=gateway.organization, now=now() - GRACE - timedelta(seconds=1))
    close_due_organizations(now=now())


def disable_account(gateway: ServedGateway) -> None:
    disable_service_account(account=ServiceAccount.objects.get(), now=now())


def delete_account(gateway: ServedGateway) -> None:
    delete_service_account(account=ServiceAccount.objects.get(), now=now())


def limit_to_another_model(gateway: ServedGateway) -> None:
    limits = KeyLimits(allowed_models=["demo-chat"])
    change_key(api_key=gateway.key.api_key, name="narrow", limits=limits, now=now())


def limit_to_another_address(gateway: ServedGateway) -> None:
    limits = KeyLimits(allowed_addresses=["203.0.113.0/24"])
    change_key(api_key=gateway.key.api_key, name="narrow", limits=limits, now=now())


ENDS_OF_KEYS: dict[str, tuple[Callable[[ServedGateway], None], str, int]] = {
    "revoked": (revoke, "invalid_api_key", 401),
    "rotated without overlap": (rotate_without_overlap, "invalid_api_key", 401),
    "found in public": (leak, "invalid_api_key", 401),
    "its organization closed": (close_organization, "invalid_api_key", 401),
    "its service account disabled": (disable_account, "invalid_api_key", 401),
    "its service account deleted": (delete_account, "invalid_api_key", 401),
    "limited to another model": (limit_to_another_model, "model_not_allowed", 403),
    "limited to another address": (limit_to_another_address, "address_not_allowed", 403),
}


@pytest.mark.parametrize("end", ENDS_OF_KEYS)
@pytest.mark.asvs("8.3.2")
def test_a_key_that_ends_cuts_its_answer_and_refuses_the_next(stalling: ServedGateway, end: str):
    act, code, status = ENDS_OF_KEYS[end]
    account = make_service_account(stalling.project)
    ApiKey.objects.filter(pk=stalling.key.api_key.pk).update(service_account=account)
    stalling.start()

    with asked_by_key(stalling.url, stalling.key.secret) as running:
        act(stalling)
        *between, error, done = running.rest()

    assert (between, done) == ([], {"done": True})
    assert error["error"]["code"] == code
    assert "Only what was delivered is charged" in error["error"]["message"]
    assert_billed_for_what_was_delivered()
    again = httpx.post(
        f"{stalling.url}/v1/chat/completions",
        json={"model": "stalling", "messages": HELLO},
        headers={"authorization": f"Bearer {stalling.key.secret}"},
    )
    assert again.status_code == status
    stalling.stop()
    assert stalling.cap.reserved_nano == 0


def test_a_key_that_expires_cuts_its_answer(stalling: ServedGateway):
    expires_at = now() + timedelta(seconds=2)
    ApiKey.objects.update(expires_at=expires_at)
    stalling.start()

    with asked_by_key(stalling.url, stalling.key.secret) as running:
        error, done = running.rest()

    assert (error["error"]["code"], done) == ("invalid_api_key", {"done": True})
    assert expires_at <= now()
    assert_billed_for_what_was_delivered()


def test_a_former_secret_that_ends_cuts_its_answer_and_not_that_of_the_new_one(stalling: ServedGateway):
    new = rotate_key(api_key=stalling.key.api_key, overlap=Overlap.HOUR, now=now())
    RetiredSecret.objects.update(valid_until=now() + timedelta(seconds=2))
    stalling.start()

    with asked_by_key(stalling.url, new.secret) as unharmed:
        with asked_by_key(stalling.url, stalling.key.secret) as running:
            error, _done = running.rest()
        assert error["error"]["code"] == "invalid_api_key"
        assert_billed_for_what_was_delivered()

        revoke(stalling)
        assert unharmed.rest()[0]["error"]["code"] == "invalid_api_key"
    assert_billed_for_what_was_delivered(2)


def test_a_change_that_takes_nothing_away_lets_the_answer_run(stalling: ServedGateway):
    other = make_key(stalling.project, now=now())
    stalling.start()

    with asked_by_key(stalling.url, stalling.key.secret) as unharmed:
        change_key(api_key=stalling.key.api_key, name="renamed", limits=KeyLimits(), now=now())
        rotate_key(api_key=stalling.key.api_key, overlap=Overlap.DAY, now=now())
        # When another key's answer is cut, the changes before it have been looked at too.
        with asked_by_key(stalling.url, other.secret) as running:
            revoke_key(api_key=other.api_key, now=now())
            assert running.rest()
        assert_billed_for_what_was_delivered()

        revoke(stalling)
        assert unharmed.rest()[0]["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_that_had_not_begun_is_refused_and_free(stalling: ServedGateway, is_stream: bool):
    stalling.start()
    answers: list[httpx.Response] = []

    def ask() -> None:
        body = {"model": "hanging", "messages": HELLO, "stream": is_stream}
        headers = {"authorization": f"Bearer {stalling.key.secret}"}
        answers.append(
            httpx.post(f"{stalling.url}/v1/chat/completions", json=body, headers=headers, timeout=2 * SECONDS)
        )

    asking = Thread(target=ask)
    asking.start()
    # It runs once its worst case is held.
    wait_until(lambda: SpendCap.objects.filter(reserved_nano__gt=0).exists())
    revoke(stalling)
    asking.join()

    [answer] = answers
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    wait_until(Receipt.objects.exists)
    assert Receipt.objects.get().status == Receipt.Status.FAILED
    stalling.stop()
    assert not UsageEvent.objects.exists()
    assert stalling.cap.reserved_nano == 0


# --- Members -------------------------------------------------------------------------------------


def test_removing_a_member_cuts_what_runs_for_them_and_for_their_own_keys(stalling: ServedGateway):
    owner = Membership.objects.get(user=stalling.owner)
    leaver = make_membership(stalling.organization, role=Role.DEVELOPER)

    def key_of(name: str, *, is_personal: bool) -> str:
        return issue_key(
            project=stalling.project,
            name=name,
            scopes=[Scope.INFERENCE],
            created_by=leaver.user,
            now=now(),
            is_personal=is_personal,
        ).secret

    personal, shared = key_of("mine", is_personal=True), key_of("ours", is_personal=False)
    stalling.start()

    with ExitStack() as stack:
        page = stack.enter_context(asked_by_page(stalling.url, stalling.organization, signed_in(leaver.user)))
        mine = stack.enter_context(asked_by_key(stalling.url, personal))
        ours = stack.enter_context(asked_by_key(stalling.url, shared))
        remove_member(membership=leaver, by=owner, now=now())

        assert mine.rest()[0]["error"]["code"] == "invalid_api_key"
        refused, done = page.rest()
        assert (refused["code"], done["status"], done["usage"]["output_tokens"]) == ("unknown_url", "cut", TOKENS)
        assert "Access ended" in refused["message"]
        assert_billed_for_what_was_delivered(2)
        # The project's key is not the person's, and goes on until somebody ends it.
        revoke_key(api_key=ApiKey.objects.get(name="ours"), now=now())
        assert ours.rest()[0]["error"]["code"] == "invalid_api_key"
    assert_billed_for_what_was_delivered(3)


def demote(member: Membership, owner: Membership) -> None:
    change_role(membership=member, role=Role.VIEWER, by=owner, now=now())


def leave(member: Membership, owner: Membership) -> None:
    leave_organization(membership=member, now=now())


def close(member: Membership, owner: Membership) -> None:
    request_deletion(organization=member.organization, now=now() - GRACE - timedelta(seconds=1))
    close_due_organizations(now=now())


def sign_out(member: Membership, owner: Membership) -> None:
    Session.objects.all().delete()


def deactivate(member: Membership, owner: Membership) -> None:
    User.objects.filter(pk=member.user_id).update(is_active=False)


ENDS_OF_MEMBERS: dict[str, tuple[Callable[[Membership, Membership], None], str]] = {
    "demoted": (demote, "forbidden"),
    "left": (leave, "unknown_url"),
    "organization closed": (close, "unknown_url"),
    "session ended": (sign_out, "signed_out"),
    "deactivated": (deactivate, "signed_out"),
}


@pytest.mark.parametrize("end", ENDS_OF_MEMBERS)
@pytest.mark.asvs("8.3.2")
def test_a_member_whose_access_ends_hears_no_more(stalling: ServedGateway, end: str):
    act, code = ENDS_OF_MEMBERS[end]
    owner = Membership.objects.get(user=stalling.owner)
    member = make_membership(stalling.organization, role=Role.DEVELOPER)
    stalling.start()

    with asked_by_page(stalling.url, stalling.organization, signed_in(member.user)) as running:
        act(member, owner)
        refused, done = running.rest()

    assert (refused["code"], done["status"]) == (code, "cut")
    assert_billed_for_what_was_delivered()
