"""Who is deactivated in their directory is out everywhere: their own keys stop on every process."""

from datetime import UTC, datetime

import pytest

from accounts.models import Membership, Role, Scope
from accounts.services.api_keys import issue_key
from tests.accounts.directories import Directory
from tests.factories.accounts import make_directory_token, make_domain
from tests.inference.conftest import ServedGateway
from tests.inference.test_doors import gateway_processes, refuse_everywhere
from tests.own_database import OwnDatabase


@pytest.mark.processes
@pytest.mark.asvs("8.3.2")
def test_a_leaver_s_own_key_stops_on_every_process(gateway: ServedGateway, own_database: OwnDatabase):
    now = datetime.now(UTC)
    make_domain(gateway.organization, "acme.example")
    owner = Membership.objects.get(organization=gateway.organization, role=Role.OWNER)
    directory = Directory(gateway.organization, make_directory_token(owner, now=now).secret)
    person = directory.user_id("ada")
    # Viewers have no keys.
    Membership.objects.filter(user__email="ada@acme.example").update(role=Role.DEVELOPER)
    member = Membership.objects.get(user__email="ada@acme.example")
    secret = issue_key(
        project=gateway.project,
        name="Ada's own",
        scopes=[Scope.INFERENCE],
        created_by=member.user,
        now=now,
        is_personal=True,
    ).secret

    def deactivate() -> None:
        answer = directory.patch(f"Users/{person}", {"op": "Replace", "path": "active", "value": "False"})
        assert (answer.status, answer.body["active"]) == (200, False)

    with gateway_processes(own_database) as urls:
        refuse_everywhere(urls, secret, deactivate)
