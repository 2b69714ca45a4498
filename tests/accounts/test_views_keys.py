"""Pages of API keys."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.access import InvalidApiKey, authenticate_key
from accounts.models import ApiKey, Organization, Overlap, Role, Scope
from accounts.services.api_keys import revoke_key
from tests.factories.accounts import make_key, make_membership, make_organization, make_project, make_user

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)


@pytest.fixture
def organization() -> Organization:
    return make_organization()


def enter(client: Client, organization: Organization, role: Role = Role.DEVELOPER) -> Client:
    user = make_membership(organization, make_user(), role).user
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["signed_in_at"] = datetime.now(UTC).timestamp()
    session.save()
    return client


def form(organization: Organization, **changes: Any) -> dict[str, Any]:
    project = organization.projects.get().public_id
    return {"name": "ci", "project": project, "scopes": ["inference"], "expires_in": "30", **changes}


def test_a_secret_is_on_one_answer_and_nowhere_after(client: Client, organization: Organization):
    enter(client, organization)
    answer = client.post(reverse("accounts:key-create", args=[organization.slug]), form(organization))
    [key] = ApiKey.objects.all()
    page = answer.content.decode()
    secret = next(word for word in page.replace("<", " ").replace(">", " ").split() if word.startswith("hr_live_"))
    assert secret.endswith(key.last_four)
    assert "export HEADROOM_API_KEY=" + secret in page
    assert "no-store" in answer["Cache-Control"]

    for name, args in [("key-list", []), ("key-detail", [key.public_id]), ("key-revoke", [key.public_id])]:
        later = client.get(reverse(f"accounts:{name}", args=[organization.slug, *args])).content.decode()
        assert secret not in later
        assert key.name in later
    assert secret not in str(dict(client.session))
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(k::text, '') FROM accounts_apikey k")
        assert secret[8:-4] not in cursor.fetchone()[0]


def test_a_key_lives_as_long_as_asked(client: Client, organization: Organization):
    enter(client, organization)
    client.post(reverse("accounts:key-create", args=[organization.slug]), form(organization, expires_in="365"))

    key = ApiKey.objects.get()
    assert key.expires_at == key.created_at + timedelta(days=365)
    assert key.scopes == ["inference"]
    assert key.kind == "live"


def test_a_key_for_oneself_says_that_it_ends_with_its_member(client: Client, organization: Organization):
    enter(client, organization)
    client.post(reverse("accounts:key-create", args=[organization.slug]), form(organization, is_personal="on"))

    key = ApiKey.objects.get()
    assert key.is_personal
    page = client.get(reverse("accounts:key-detail", args=[organization.slug, key.public_id])).content.decode()
    assert "ends when they leave" in page


def test_managing_keys_takes_a_management_key(client: Client, organization: Organization):
    enter(client, organization)
    address = reverse("accounts:key-create", args=[organization.slug])

    both = client.post(address, form(organization, scopes=["keys:write", "inference"]))
    assert both.status_code == 422
    assert b"cannot call models" in both.content
    assert not ApiKey.objects.exists()

    client.post(address, form(organization, scopes=["keys:write"]))
    assert ApiKey.objects.get().kind == "mgmt"


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 81},
        {"name": "a\x00b"},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"expires_in": "9999"},
        {"project": "proj_missing"},
        {"allowed_models": "two words"},
        {"allowed_addresses": "203.0.113.0/24\nanywhere"},
    ],
)
def test_refuses_a_bad_form_and_makes_nothing(client: Client, organization: Organization, change: dict[str, Any]):
    enter(client, organization)

    answer = client.post(reverse("accounts:key-create", args=[organization.slug]), form(organization, **change))

    assert answer.status_code == 422
    assert not ApiKey.objects.exists()


def test_refuses_the_project_of_another_organization(client: Client, organization: Organization):
    enter(client, organization)
    foreign = make_organization().projects.get()

    answer = client.post(
        reverse("accounts:key-create", args=[organization.slug]), form(organization, project=foreign.public_id)
    )

    assert answer.status_code == 422
    assert not ApiKey.objects.exists()


def test_two_clicks_revoke_a_key(client: Client, organization: Organization):
    key = make_key(organization.projects.get(), now=NOW).api_key
    enter(client, organization)
    address = reverse("accounts:key-revoke", args=[organization.slug, key.public_id])

    listed = client.get(reverse("accounts:key-list", args=[organization.slug])).content.decode()
    assert address in listed
    assert "for good" in client.get(address).content.decode()
    key.refresh_from_db()
    assert key.revoked_at is None

    client.post(address)
    key.refresh_from_db()
    assert key.revoked_at is not None
    listed = client.get(reverse("accounts:key-list", args=[organization.slug])).content.decode()
    assert address not in listed
    assert "Revoked" in listed


def test_a_viewer_sees_keys_and_no_way_to_change_them(client: Client, organization: Organization):
    key = make_key(organization.projects.get(), now=NOW).api_key
    enter(client, organization, Role.VIEWER)

    page = client.get(reverse("accounts:key-list", args=[organization.slug])).content.decode()

    assert key.label in page
    assert reverse("accounts:key-create", args=[organization.slug]) not in page
    assert reverse("accounts:key-revoke", args=[organization.slug, key.public_id]) not in page


def test_an_empty_list_says_what_a_key_is_for(client: Client, organization: Organization):
    enter(client, organization)

    page = client.get(reverse("accounts:key-list", args=[organization.slug])).content.decode()

    assert "No keys yet" in page
    assert reverse("accounts:key-create", args=[organization.slug]) in page


def test_a_long_list_costs_as_many_queries_as_a_short_one(client: Client, organization: Organization):
    enter(client, organization)
    address = reverse("accounts:key-list", args=[organization.slug])
    client.get(address)
    with CaptureQueriesContext(connection) as empty:
        client.get(address)
    keys = [make_key(organization.projects.get(), scopes=(Scope.INFERENCE,), now=NOW).api_key for _ in range(30)]
    revoke_key(api_key=keys[0], now=NOW)

    with CaptureQueriesContext(connection) as full:
        page = client.get(address)

    assert page.content.decode().count("<tr>") == 31
    assert len(full) == len(empty)
    queries = [query["sql"] for query in full if not query["sql"].startswith(("SAVEPOINT", "RELEASE"))]
    # Four of them are the suite's own (tests/support.py).
    assert len(queries) <= 12 + 4, queries


@pytest.mark.parametrize("name", ["key-list", "project-list"])
def test_a_long_list_is_turned_page_by_page_and_each_row_is_on_one_of_them(
    client: Client, organization: Organization, name: str
):
    enter(client, organization)
    address = reverse(f"accounts:{name}", args=[organization.slug])
    projects = [organization.projects.get(), *(make_project(organization, f"p{n}") for n in range(60))]
    keys = [make_key(project).api_key for project in projects]
    stranger = make_key(make_project(make_organization())).api_key
    wanted = keys[::-1] if name == "key-list" else projects

    first = client.get(address)
    second = client.get(address, {"after": first.context["page"].next_after})

    pages = [answer.context["page"] for answer in (first, second)]
    rows = [row for page in pages for row in (page.rows if name == "key-list" else page.projects)]
    assert [row.public_id for row in rows] == [one.public_id for one in wanted]
    assert f"?after={pages[0].next_after}" in first.content.decode()
    assert pages[1].next_after == ""
    for nobodys in (stranger.public_id, stranger.project.public_id, "key_\0"):
        assert client.get(address, {"after": nobodys}).context["page"] == pages[0]


def secret_on(page: str) -> str:
    return next(word for word in page.replace("<", " ").replace(">", " ").split() if word.startswith("hr_live_"))


def test_limits_are_chosen_shown_and_changed(client: Client, organization: Organization):
    enter(client, organization)
    limits = {"allowed_models": "demo-chat\r\n demo-embed,demo-chat\r\n", "allowed_addresses": "10.1.2.3/8\r\n\r\n::1"}
    client.post(reverse("accounts:key-create", args=[organization.slug]), form(organization, **limits))
    key = ApiKey.objects.get()
    assert (key.allowed_models, key.allowed_addresses) == (["demo-chat", "demo-embed"], ["10.0.0.0/8", "::1/128"])

    detail = reverse("accounts:key-detail", args=[organization.slug, key.public_id])
    page = client.get(detail).content.decode()
    assert all(word in page for word in ("demo-chat", "demo-embed", "10.0.0.0/8", "::1/128"))

    address = reverse("accounts:key-change", args=[organization.slug, key.public_id])
    assert "demo-chat\ndemo-embed" in client.get(address).content.decode()
    refused = client.post(address, {"name": "ci", "allowed_addresses": "10.0.0.0/33"})
    assert refused.status_code == 422
    saved = client.post(address, {"name": "nightly", "allowed_models": "", "allowed_addresses": "192.0.2.1"})
    assert saved["Location"] == detail
    key.refresh_from_db()
    assert (key.name, key.allowed_models, key.allowed_addresses) == ("nightly", [], ["192.0.2.1/32"])


def test_a_rotated_secret_is_on_one_answer_and_the_former_one_says_when_it_ends(
    client: Client, organization: Organization
):
    issued = make_key(organization.projects.get(), now=NOW)
    enter(client, organization)
    address = reverse("accounts:key-rotate", args=[organization.slug, issued.api_key.public_id])
    detail = reverse("accounts:key-detail", args=[organization.slug, issued.api_key.public_id])
    assert address in client.get(detail).content.decode()
    assert issued.api_key.label in client.get(address).content.decode()

    answer = client.post(address, {"overlap": Overlap.DAY.value})

    secret = secret_on(answer.content.decode())
    assert "no-store" in answer["Cache-Control"]
    assert authenticate_key(secret).pk == authenticate_key(issued.secret).pk == issued.api_key.pk
    page = client.get(detail).content.decode()
    assert secret not in page
    assert f"hr_live_…{secret[-4:]}" in page
    assert f"hr_live_…{issued.secret[-4:]}</code> works until" in page

    client.post(address, {"overlap": Overlap.NONE.value})
    for dead in (issued.secret, secret):
        with pytest.raises(InvalidApiKey):
            authenticate_key(dead)
    assert "works until" not in client.get(detail).content.decode()


@pytest.mark.parametrize("name", ["key-rotate", "key-change"])
def test_what_outlives_the_session_takes_a_recent_sign_in(client: Client, organization: Organization, name: str):
    key = make_key(organization.projects.get(), now=NOW).api_key
    enter(client, organization)
    session = client.session
    session["signed_in_at"] = 0
    session["account_authentication_methods"] = []
    session.save()

    answer = client.post(
        reverse(f"accounts:{name}", args=[organization.slug, key.public_id]), {"overlap": "0", "name": "taken"}
    )

    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("accounts:reauthenticate-by-code"))
    before = key.digest
    key.refresh_from_db()
    assert (bytes(key.digest), key.name) == (bytes(before), "test")


def test_refuses_an_overlap_that_is_not_offered_and_a_key_that_has_ended(client: Client, organization: Organization):
    key = make_key(organization.projects.get(), now=NOW).api_key
    enter(client, organization)
    address = reverse("accounts:key-rotate", args=[organization.slug, key.public_id])
    assert client.post(address, {"overlap": "5"}).status_code == 422
    revoke_key(api_key=key, now=NOW)

    answer = client.post(address, {"overlap": "0"})

    assert answer.status_code == 422
    assert b"has ended" in answer.content


def test_shows_where_a_key_was_used_from(client: Client, organization: Organization):
    key = make_key(organization.projects.get(), now=NOW).api_key
    ApiKey.objects.filter(pk=key.pk).update(
        last_used_at=NOW, last_used_address="203.0.113.7", last_used_agent="<b>curl</b>/8"
    )
    enter(client, organization, Role.VIEWER)

    page = client.get(reverse("accounts:key-detail", args=[organization.slug, key.public_id])).content.decode()

    assert "203.0.113.7" in page
    assert "&lt;b&gt;curl&lt;/b&gt;/8" in page
