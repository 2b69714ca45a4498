"""Operator keys: Capacity staff issue, rotate and revoke them; they open the operator's API and nothing else."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from accounts.api import operator
from accounts.models import OperatorKey, OperatorScope, Overlap, User
from accounts.services.operator_keys import (
    UnableToChangeOperatorKey,
    issue_operator_key,
    revoke_operator_key,
    rotate_operator_key,
)
from accounts.services.staff import StaffGroup
from portal.lib.key_format import KeyKind, kind_of
from portal.lib.throttle import Throttle
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.factories.accounts import make_key, make_project

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)
PAGE = "/admin/accounts/operatorkey/"
ASK = "/api/operator/v1/usage/6f1c1f0e-0000-4000-8000-000000000000"
SCOPES = [OperatorScope.USAGE_WRITE]
READERS = {StaffGroup.CAPACITY, StaffGroup.SECURITY, StaffGroup.AUDITOR}


@pytest.fixture
def staff() -> User:
    return make_staff(StaffGroup.CAPACITY)


def ask(secret: str) -> int:
    """Return what the operator's API answers; 404 is what a good key hears about an event that nobody knows."""
    return Client().get(ASK, headers={"Authorization": f"Bearer {secret}"}).status_code


def test_a_key_opens_the_api(staff):
    issued = issue_operator_key(name=" Oslo  gateway ", scopes=SCOPES, by=staff, now=NOW)

    assert kind_of(issued.secret, "hr") is KeyKind.OPERATOR
    assert issued.operator_key.name == "Oslo gateway"
    assert ask(issued.secret) == 404


def test_a_key_without_the_scope_is_refused(staff):
    others = [scope for scope in OperatorScope if scope not in SCOPES]
    secret = issue_operator_key(name="planner", scopes=others, by=staff, now=NOW).secret

    assert ask(secret) == 403


def test_nothing_else_opens_it(staff):
    issued = issue_operator_key(name="gateway", scopes=SCOPES, by=staff, now=NOW)
    customers = make_key(make_project()).secret
    last = issued.secret[:-1] + ("a" if issued.secret[-1] != "a" else "b")

    for secret in ("", customers, last, "hr_op_nonsense", issued.secret.replace("_op_", "_live_")):
        assert ask(secret) == 401
    answer = Client().get(ASK)
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_it_opens_nothing_of_customers(staff):
    secret = issue_operator_key(name="gateway", scopes=list(OperatorScope), by=staff, now=NOW).secret

    for address in ("/api/v1/key", "/api/v1/keys", "/api/v1/usage", "/api/v1/instances"):
        assert Client().get(address, headers={"Authorization": f"Bearer {secret}"}).status_code == 401


def test_after_a_rotation_the_former_secret_works_until_the_stated_second(staff):
    first = issue_operator_key(name="gateway", scopes=SCOPES, by=staff, now=NOW)
    public_id = first.operator_key.public_id

    second = rotate_operator_key(public_id=public_id, overlap=Overlap.HOUR, by=staff, now=NOW)
    assert (ask(first.secret), ask(second.secret)) == (404, 404)
    OperatorKey.objects.update(former_valid_until=NOW - timedelta(seconds=1))
    assert (ask(first.secret), ask(second.secret)) == (401, 404)

    third = rotate_operator_key(public_id=public_id, overlap=Overlap.NONE, by=staff, now=NOW)
    assert [ask(one.secret) for one in (first, second, third)] == [401, 401, 404]
    assert OperatorKey.objects.get().public_id == public_id


def test_a_revoked_key_is_dead_with_all_its_secrets(staff):
    first = issue_operator_key(name="gateway", scopes=SCOPES, by=staff, now=NOW)
    public_id = first.operator_key.public_id
    second = rotate_operator_key(public_id=public_id, overlap=Overlap.DAY, by=staff, now=NOW)

    revoke_operator_key(public_id=public_id, by=staff, now=NOW)

    assert (ask(first.secret), ask(second.secret)) == (401, 401)
    for change in (revoke_operator_key, lambda **given: rotate_operator_key(overlap=Overlap.NONE, **given)):
        with pytest.raises(UnableToChangeOperatorKey, match="has ended"):
            change(public_id=public_id, by=staff, now=NOW)


def test_each_step_is_in_the_log_without_the_secret(staff):
    first = issue_operator_key(name="gateway", scopes=SCOPES, by=staff, now=NOW)
    public_id = first.operator_key.public_id
    second = rotate_operator_key(public_id=public_id, overlap=Overlap.HOUR, by=staff, now=NOW)
    revoke_operator_key(public_id=public_id, by=staff, now=NOW)

    entries = LogEntry.objects.filter(user=staff, object_id=public_id).order_by("pk")
    words = [entry.change_message for entry in entries]
    assert [word.split()[0].strip(";.") for word in words] == ["Issued", "Rotated", "Revoked"]
    assert not [one for one in (first, second) if one.secret in f"{words} {[entry.object_repr for entry in entries]}"]


def test_a_key_takes_a_name_a_scope_and_the_right(staff):
    for name, scopes, by, words in (
        (" ", SCOPES, staff, "name"),
        ("gateway", [], staff, "scope"),
        ("gateway", SCOPES, make_staff(StaffGroup.SECURITY), "may not"),
    ):
        with pytest.raises(UnableToChangeOperatorKey, match=words):
            issue_operator_key(name=name, scopes=scopes, by=by, now=NOW)
    assert not OperatorKey.objects.exists()


def test_requests_of_one_key_have_a_limit(staff, monkeypatch):
    monkeypatch.setattr(operator, "_throttle", Throttle(each=2, together=3))
    first, second, third = (
        issue_operator_key(name="gateway", scopes=SCOPES, by=staff, now=NOW).secret for _ in range(3)
    )

    assert [ask(first), ask(first), ask(first)] == [404, 404, 429]
    assert [ask(second), ask(third)] == [404, 429]


def test_the_page_shows_a_secret_once(staff):
    client = browser_of(staff)

    page = client.post(PAGE, {"action": "issue", "name": "gateway", "scopes": ["usage:write"]}).content.decode()
    [secret] = re.findall(r"hr_op_\w{40}", page)
    assert ask(secret) == 404
    public_id = OperatorKey.objects.get().public_id
    assert public_id in page
    assert secret not in client.get(PAGE).content.decode()

    page = client.post(PAGE, {"action": "rotate", "key": public_id, "overlap": "0"}).content.decode()
    [renewed] = re.findall(r"hr_op_\w{40}", page)
    assert (ask(secret), ask(renewed)) == (401, 404)

    page = client.post(PAGE, {"action": "revoke", "key": public_id, "overlap": "0"}).content.decode()
    assert "Revoked" in page
    assert ask(renewed) == 401


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"action": "issue", "name": "gateway"}, "required"),
        ({"action": "issue", "name": "gateway", "scopes": ["everything"]}, "valid choice"),
        ({"action": "rotate", "key": "key_nobody", "overlap": "0"}, "There is no such key"),
        ({"action": "rotate", "key": "key_nobody", "overlap": "5"}, "valid choice"),
        ({"action": "revoke", "key": "\0", "overlap": "0"}, "Null characters"),
    ],
)
def test_the_page_says_what_is_wrong(staff, given, words):
    answer = browser_of(staff).post(PAGE, given)

    assert (answer.status_code, words in answer.content.decode()) == (422, True)
    assert not OperatorKey.objects.exists()


def test_an_old_sign_in_is_asked_again(staff):
    given = {"action": "issue", "name": "gateway", "scopes": ["usage:write"]}

    assert browser_of(staff, is_recent=False).post(PAGE, given).status_code == 302
    assert not OperatorKey.objects.exists()


@pytest.mark.parametrize("group", StaffGroup)
def test_only_capacity_changes_keys(group):
    client = browser_of(make_staff(group))

    assert client.get(PAGE).status_code == (200 if group in READERS else 403)
    answer = client.post(PAGE, {"action": "issue", "name": "gateway", "scopes": ["usage:write"]})
    assert answer.status_code == (200 if group is StaffGroup.CAPACITY else 403)
    assert OperatorKey.objects.exists() == (group is StaffGroup.CAPACITY)
