import re

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import ApiKey, Organization, Role, Scope, User
from accounts.services.api_keys import issue_key
from tests.factories.accounts import make_key, make_membership, make_organization, make_user
from tests.factories.catalog import make_served_model

pytestmark = pytest.mark.django_db
SECRET = re.compile(r"hr_live_[0-9A-Za-z]{40}")


@pytest.fixture
def owner() -> User:
    return make_user("ada@example.com")


@pytest.fixture
def organization(owner: User) -> Organization:
    make_served_model("llama-3.1-8b-instruct")
    return make_organization(owner=owner)


def sign_in(user: User) -> Client:
    """A client whose session just proved who it is."""
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["signed_in_at"] = timezone.now().timestamp()
    session.save()
    return client


def address(organization: Organization, page: str = "") -> str:
    return f"/o/{organization.slug}/quickstart/{page}"


def test_the_page_of_a_new_person_shows_the_key_once_and_fills_it_in(client: Client, mailoutbox):
    make_served_model("llama-3.1-8b-instruct")
    client.post("/accounts/signup/", {"email": "ada@acme.example"})
    code = re.search(r"\b[0-9]{6}\b", mailoutbox[0].body)
    assert code is not None

    first = client.post("/accounts/confirm-email/", {"code": code[0]}, follow=True)
    second = client.get(first.redirect_chain[-1][0])

    page = first.content.decode()
    assert first.redirect_chain[-1][0].endswith("/quickstart/")
    secrets = set(SECRET.findall(page))
    assert len(secrets) == 1
    assert f"Authorization: Bearer {secrets.pop()}" in page.replace("&quot;", '"')
    assert SECRET.findall(second.content.decode()) == []


def test_looking_makes_no_key(organization, owner):
    sign_in(owner).get(address(organization))

    assert not ApiKey.objects.exists()


def test_a_button_makes_a_key_and_shows_it_once(organization, owner):
    client = sign_in(owner)

    made = client.post(address(organization, "key/"))

    assert made.status_code == 200
    assert len(set(SECRET.findall(made.content.decode()))) == 1
    key = ApiKey.objects.get()
    assert Scope.INFERENCE in key.scopes
    assert not {Scope.KEYS_WRITE, Scope.BILLING_READ, Scope.WEBHOOKS_WRITE} & set(key.scopes)
    again = client.get(address(organization)).content.decode()
    assert SECRET.findall(again) == []
    assert key.label in again


def test_says_why_there_is_no_further_key(organization, owner, monkeypatch):
    monkeypatch.setattr("accounts.services.api_keys.MAXIMUM_KEYS", 1)
    make_key(organization.projects.get())

    answer = sign_in(owner).post(address(organization, "key/"))

    assert answer.status_code == 409
    assert "revoke one that nobody uses" in answer.content.decode()
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize("role", [Role.BILLING, Role.VIEWER])
def test_who_may_not_call_models_is_refused(organization, role):
    viewer = make_membership(organization, role=role).user
    client = sign_in(viewer)

    assert client.get(address(organization)).status_code == 403
    assert client.post(address(organization, "key/")).status_code == 403
    assert not ApiKey.objects.exists()


def test_an_old_key_is_named_by_its_end(organization, owner):
    issued = issue_key(
        project=organization.projects.get(),
        name="laptop",
        scopes=[Scope.INFERENCE],
        created_by=owner,
        now=timezone.now(),
    )

    page = sign_in(owner).get(address(organization)).content.decode()

    assert issued.api_key.label in page
    assert "HEADROOM_API_KEY" in page


def test_a_key_that_cannot_call_models_is_not_offered(organization, owner):
    reader = make_key(organization.projects.get(), scopes=(Scope.USAGE_READ,), now=timezone.now())

    page = sign_in(owner).get(address(organization)).content.decode()

    assert reader.api_key.label not in page
    assert "Make a key" in page


def test_without_a_model_the_page_says_so(owner):
    organization = make_organization(owner=owner)

    page = sign_in(owner).get(address(organization)).content.decode()

    assert "No model is on offer" in page
    assert "Launch an instance" in page


def test_a_run_without_a_prompt_is_refused(organization, owner):
    answer = sign_in(owner).post(address(organization, "run/"), {"model": "llama-3.1-8b-instruct", "prompt": " "})

    assert answer.status_code == 422
    assert "write a prompt" in answer.content.decode()


def test_the_page_asks_few_queries(organization, owner, django_assert_max_num_queries):
    client = sign_in(owner)
    client.get(address(organization))

    # Eight of them are the suite's own, three note that the session is in use.
    with django_assert_max_num_queries(24):
        client.get(address(organization))
