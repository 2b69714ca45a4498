"""The console's door to the gateway: whose session and which token it takes."""

import pytest
from django.test import Client

from inference.gateway.console import _caller_of_session
from inference.gateway.errors import ApiError
from tests.factories.accounts import make_organization, make_project, make_user

pytestmark = pytest.mark.django_db

TOKEN = "a" * 32


def scope_of(client: Client, **headers: str) -> dict[str, object]:
    cookie = f"session={client.cookies['session'].value}; csrf={TOKEN}" if "session" in client.cookies else ""
    given = {"host": "127.0.0.1", "cookie": cookie, "content-length": "1", **headers}
    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]
    return {"type": "http", "method": "POST", "path": "/o/acme/stream/playground", "headers": lines}


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_takes_a_member_with_a_token_and_nobody_without(client: Client, content_type: str):
    owner = make_user()
    organization = make_organization(owner=owner)
    client.force_login(owner)

    caller = _caller_of_session(scope_of(client, content_type=content_type, x_csrftoken=TOKEN), organization.slug)
    with pytest.raises(ApiError) as forged:
        _caller_of_session(scope_of(client, content_type=content_type), organization.slug)
    with pytest.raises(ApiError) as stranger:
        _caller_of_session(scope_of(Client(), content_type=content_type, x_csrftoken=TOKEN), organization.slug)

    assert (caller.organization_id, caller.user_id) == (organization.pk, owner.pk)
    assert (forged.value.status, stranger.value.status) == (403, 401)


def test_what_is_called_there_is_called_in_a_project_of_the_organization(client: Client):
    # Before ours in every order.
    make_project(make_organization(), "A")
    organization = make_organization(owner=(owner := make_user()))
    client.force_login(owner)

    caller = _caller_of_session(scope_of(client, x_csrftoken=TOKEN), organization.slug)

    assert caller.project_id == organization.projects.get().pk
