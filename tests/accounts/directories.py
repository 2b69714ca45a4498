"""A directory that provisions into an organization, for the tests of SCIM."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.test import Client

from accounts.models import Organization
from accounts.services.directory_tokens import issue_directory_token
from tests.factories.accounts import make_domain, make_membership, make_organization, make_user

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


@dataclass
class Answer:
    status: int
    body: Any
    headers: Any = field(repr=False)


@dataclass
class Directory:
    """Asks /scim/v2 with an organization's token."""

    organization: Organization
    secret: str
    client: Client = field(default_factory=Client)

    def ask(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/scim+json", **headers: str
    ) -> Answer:
        content = body if isinstance(body, str | bytes) else "" if body is None else json.dumps(body)
        response = self.client.generic(
            method,
            f"/scim/v2/{path}",
            content,
            content_type=content_type,
            headers={"Authorization": f"Bearer {self.secret}", **headers},
        )
        return Answer(
            response.status_code, json.loads(response.content) if response.content else None, response.headers
        )

    def get(self, path: str, **query: Any) -> Answer:
        response = self.client.get(f"/scim/v2/{path}", query, headers={"Authorization": f"Bearer {self.secret}"})
        return Answer(response.status_code, json.loads(response.content), response.headers)

    def patch(self, path: str, *operations: dict[str, Any]) -> Answer:
        return self.ask("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)})

    def add_user(self, who: str = "ada", **fields: Any) -> Answer:
        email = f"{who}@acme.example"
        body = {"schemas": [USER], "userName": email, "emails": [{"value": email, "type": "work", "primary": True}]}
        return self.ask("POST", "Users", body | fields)

    def user_id(self, who: str = "ada", **fields: Any) -> str:
        added = self.add_user(who, **fields)
        assert added.status == 201, added
        return str(added.body["id"])

    def add_group(self, name: str, *people: str) -> Answer:
        body = {"schemas": [GROUP], "displayName": name, "members": [{"value": one} for one in people]}
        return self.ask("POST", "Groups", body)


def make_directory(*, domain: str = "acme.example") -> Directory:
    """An organization with an owner, a verified domain and a token that works for a year."""
    organization = make_organization("Acme")
    owner = make_membership(organization, make_user())
    make_domain(organization, domain)
    issued = issue_directory_token(name="Okta", life=timedelta(days=365), by=owner, now=datetime.now(UTC))
    return Directory(organization, issued.secret)
