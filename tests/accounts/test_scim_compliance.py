"""What a checker of the standard, written by others, finds at the door of directories."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Annotated, Any
from uuid import uuid4

import httpx2 as httpx
import pytest
import uvicorn
from pydantic import Field
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_models import Required, ScimProvider, SearchRequest, Uniqueness
from scim2_tester import Status, check_server

from accounts.scim.resources import ScimEmail, ScimGroup, ScimUser
from dev.services import free_port
from portal.asgi import django_application
from tests.accounts.directories import Directory, make_directory
from tests.own_database import SUPERUSER, OwnDatabase


class Addresses(list[str]):
    """What the checker draws an example from: each an address of its own in the verified domain."""

    def __getitem__(self, index: Any) -> Any:
        return f"{uuid4()}@acme.example"


ADDRESSES = Addresses(["an address"])


class CheckedEmail(ScimEmail):
    value: str | None = Field(None, examples=ADDRESSES)
    type: str | None = Field(None, examples=["work"])


class CheckedUser(ScimUser):
    """Our resource, with what the checker cannot know: which names and addresses the directory may use."""

    user_name: Annotated[str | None, Required.true, Uniqueness.server] = Field(None, examples=ADDRESSES)
    # Narrower than ours, as the checker fills it.
    emails: list[CheckedEmail] | None = None  # type: ignore[assignment]


@pytest.fixture
def served(own_database: OwnDatabase, settings: Any) -> Iterator[tuple[Directory, str]]:
    """A directory, and the address of a server of its own."""
    port = free_port()
    settings.PORTAL_URL = f"http://127.0.0.1:{port}"
    with own_database.in_use(SUPERUSER):
        directory = make_directory()
        server = uvicorn.Server(uvicorn.Config(django_application, port=port, log_config=None, lifespan="off"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield directory, f"{settings.PORTAL_URL}/scim/v2"
        server.should_exit = True
        thread.join(20)


# Resource, check and attribute -> why we answer otherwise (docs/adr/0013-provisioning.md).
DEVIATIONS: dict[tuple[str, str, str | None], str] = {
    ("User", "search_with_attributes", None): "people and groups are searched apart, at /Users/.search",
    ("Group", "search_with_attributes", None): "and at /Groups/.search",
    ("User", "check_add_attribute", "emails"): "one address is kept, the primary: a second one changes nothing",
    ("User", "check_replace_attribute", "emails"): "and the one that is kept is primary whatever it says",
    ("User", "check_remove_attribute", "emails"): "who has no address goes by the userName, which is one",
    ("User", "check_remove_attribute", "active"): "a person is a member or is not: there is no third state",
    ("Group", "check_add_attribute", "members"): "what a member is called is what the person is called",
    ("Group", "check_replace_attribute", "members"): "the same",
}


def test_the_standard_is_kept_but_for_what_is_named(served: tuple[Directory, str]):
    directory, url = served
    headers = {"Authorization": f"Bearer {directory.secret}"}
    with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        provider = ScimProvider(models=[CheckedUser, ScimGroup])
        results = check_server(SyncSCIMClient(client, provider=provider))

    wrong = {
        (result.resource_type, result.title, (result.data or {}).get("urn")): result.reason
        for result in results
        if result.status in (Status.DEVIATION, Status.ERROR, Status.CRITICAL)
    }
    assert {found: reason for found, reason in wrong.items() if found not in DEVIATIONS} == {}
    kept = [result for result in results if result.status in (Status.SUCCESS, Status.COMPLIANT)]
    assert len(kept) >= 55


def test_a_client_learns_everything_from_the_service_itself(served: tuple[Directory, str]):
    directory, url = served
    headers = {"Authorization": f"Bearer {directory.secret}"}
    with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        scim = SyncSCIMClient(client)
        scim.discover()
        # Any: a model that the client made of what it read.
        user_model: Any = scim.get_resource_model("User")
        user: Any = scim.create(user_model(user_name="grace@acme.example"))
        wanted: Any = SearchRequest.model_validate({"filter": 'userName eq "GRACE@acme.example"'})
        found: Any = scim.query(user_model, query_parameters=wanted)

    assert user.active is True
    assert [one.id for one in found.resources] == [user.id]
