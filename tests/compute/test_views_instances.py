"""Pages of instances and SSH keys, as members see them."""

from datetime import UTC, datetime
from decimal import Decimal

import asyncssh
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Membership, Organization, Role
from billing.selectors import budget_of
from compute.models import Instance, Pool, SshKey
from compute.reconcile import State, Want
from compute.services.instances import terminate_instance
from tests.compute.test_services_instances import reconcile
from tests.factories.accounts import make_membership, make_organization, make_project, make_user
from tests.factories.catalog import make_image
from tests.factories.compute import make_instance, make_pool, make_ssh_key

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HTMX = {"HX-Request": "true"}


@pytest.fixture
def organization() -> Organization:
    return make_organization()


def client_of(organization: Organization, role: Role = Role.OWNER) -> Client:
    member: Membership = make_membership(organization, make_user(), role)
    client = Client()
    client.force_login(member.user)
    return client


def address(name: str, organization: Organization, *args: str) -> str:
    return reverse(f"compute:{name}", args=[organization.slug, *args])


def launch_values(organization: Organization, pool: Pool, **changes: object) -> dict[str, object]:
    project = organization.projects.first()
    assert project is not None
    return {
        "instance_type": pool.instance_type.name,
        "region": pool.region.name,
        "lease_class": "on_demand",
        "image": make_image().name,
        "user_data": "",
        "ssh_keys": [make_ssh_key(organization).public_id],
        "new_public_key": "",
        "name": "train-1",
        "project": project.public_id,
        "auto_stop": "after",
        "auto_stop_hours": 4,
        "request_key": "k" * 20,
        **changes,
    }


def test_shows_offers_with_prices_and_says_what_is_sold_out(organization):
    pool, empty = make_pool(), make_pool(total_units=0)
    make_image()

    page = client_of(organization).get(address("instance-launch", organization))

    content = page.content.decode()
    assert page.status_code == 200
    assert pool.instance_type.name in content
    assert f'value="{empty.instance_type.name}" required disabled' in content
    assert "Sold out everywhere" in content
    assert "Free in 1 region" in content
    assert "$2.49</b><span>/h on demand" in content
    assert "SSH public key" in content
    assert "Launch for $2.49/h" in content
    assert "$1,817.70" in content  # If left on all month.


def test_computes_the_summary_for_the_choice(organization):
    pool = make_pool()

    page = client_of(organization).get(
        address("instance-launch", organization), {"instance_type": pool.instance_type.name}, headers=HTMX
    )

    assert page.content.decode().lstrip().startswith('<section id="launch-summary"')
    assert "Launch for $2.49/h" in page.content.decode()


def test_launches_once_for_a_double_click_and_saves_a_pasted_key(organization):
    pool, client = make_pool(), client_of(organization)
    line = asyncssh.generate_private_key("ssh-ed25519", comment="me@laptop").export_public_key().decode()
    values = launch_values(organization, pool, ssh_keys=[], new_public_key=line)

    first = client.post(address("instance-launch", organization), values)
    second = client.post(address("instance-launch", organization), values)

    instance = Instance.objects.get()
    assert first.status_code == second.status_code == 302
    assert first["Location"] == second["Location"] == address("instance-detail", organization, instance.public_id)
    assert instance.ssh_key_names == ["me@laptop"]
    assert SshKey.objects.filter(name="me@laptop").count() == 1
    assert instance.expires_at is not None
    assert (instance.expires_at - instance.created_at).total_seconds() == 4 * 3600


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ssh_keys": []}, "at least one SSH key"),
        ({"ssh_keys": [], "new_public_key": "-----BEGIN OPENSSH PRIVATE KEY-----"}, "This is a private key"),
        ({"name": "no spaces"}, "letters, digits and hyphens"),
        ({"auto_stop": "at", "auto_stop_at": ""}, "at which date"),
        ({"auto_stop": "at", "auto_stop_at": "2020-01-01T00:00"}, "in the future"),
        ({"lease_class": "reserved"}, "not one of the available choices"),
        ({"instance_type": "nothing"}, "not one of the available choices"),
    ],
)
def test_refuses_bad_input_beside_the_field_and_changes_nothing(organization, changes, words):
    pool = make_pool()
    values = launch_values(organization, pool, **changes)
    keys_before = SshKey.objects.count()

    page = client_of(organization).post(address("instance-launch", organization), values)

    pool.refresh_from_db()
    assert page.status_code == 422
    assert words in page.content.decode()
    assert not Instance.objects.exists()
    assert pool.sold_units == 0
    assert SshKey.objects.count() == keys_before


def test_keeps_the_form_and_charges_nothing_when_the_last_unit_went(organization):
    pool = make_pool(total_units=1)
    values = launch_values(organization, pool)
    Pool.objects.update(sold_units=1)

    page = client_of(organization).post(address("instance-launch", organization), values)

    assert page.status_code == 422
    assert "sold out" in page.content.decode()
    assert 'value="train-1"' in page.content.decode()
    assert budget_of(organization).reserved_nano == 0


def test_lets_a_viewer_look_and_not_touch(organization):
    instance = make_instance(NOW, make_project(organization))
    client = client_of(organization, Role.VIEWER)

    assert client.get(address("instance-list", organization)).status_code == 200
    assert client.get(address("instance-detail", organization, instance.public_id)).status_code == 200
    assert client.get(address("ssh-key-list", organization)).status_code == 200
    assert client.get(address("instance-launch", organization)).status_code == 403
    assert client.post(address("instance-terminate", organization, instance.public_id)).status_code == 403
    assert client.post(address("ssh-key-create", organization)).status_code == 403
    instance.refresh_from_db()
    assert instance.want == Want.RUNNING


def test_lists_instances_with_one_poll_for_those_that_move(organization, double):
    project = make_project(organization)
    moving = make_instance(NOW, project)
    gone = make_instance(NOW, project)
    terminate_instance(instance=gone, now=NOW)
    reconcile(gone, NOW)
    client = client_of(organization)

    content = client.get(address("instance-list", organization)).content.decode()

    assert content.count('hx-trigger="every 3s"') == 1
    poll = client.get(
        address("instance-status", organization), {"id": [moving.public_id, gone.public_id]}, headers=HTMX
    )
    answer = poll.content.decode()
    assert answer.count('hx-swap-oob="true"') == 2
    assert "Queued" in answer
    assert f"id={gone.public_id}" not in answer

    terminate_instance(instance=moving, now=NOW)
    reconcile(moving, NOW)
    assert (
        "hx-trigger"
        not in client.get(
            address("instance-status", organization), {"id": moving.public_id}, headers=HTMX
        ).content.decode()
    )


def test_shows_an_empty_list_with_one_thing_to_do(organization):
    content = client_of(organization).get(address("instance-list", organization)).content.decode()

    assert "No instances yet" in content
    assert address("instance-launch", organization) in content


@pytest.mark.parametrize(("name", "most"), [("instance-list", 12), ("instance-launch", 16), ("ssh-key-list", 12)])
def test_asks_the_database_no_more_for_many_rows(organization, settings, name, most):
    settings.STARTER_CREDIT_USD = Decimal(1000)
    project, pool = make_project(organization), make_pool(total_units=100)
    for _ in range(20):
        make_pool()
        make_instance(NOW, project, pool=pool)
    client = client_of(organization)

    client.get(address(name, organization))
    with CaptureQueriesContext(connection) as asked:
        page = client.get(address(name, organization))

    # Roles and transactions are the suite's, and telling PostgreSQL whose rows to show reads none.
    others = ("SAVEPOINT", "RELEASE", "SET ROLE", "SELECT current_user", "SELECT set_config")
    own = [query["sql"] for query in asked if not query["sql"].startswith(others)]
    assert page.status_code == 200
    assert len(own) <= most


def test_turns_pages_by_key(organization, settings):
    settings.STARTER_CREDIT_USD = Decimal(1000)
    project, pool = make_project(organization), make_pool(total_units=100)
    for _ in range(60):
        make_instance(NOW, project, pool=pool)
    client = client_of(organization)

    first = client.get(address("instance-list", organization)).context["page"]
    second = client.get(address("instance-list", organization), {"after": first.next_after}).context["page"]

    assert (len(first.rows), len(second.rows), second.next_after) == (50, 10, "")
    assert len({row.status.public_id for row in (*first.rows, *second.rows)}) == 60
    assert client.get(address("instance-list", organization), {"after": "inst_\0"}).context["page"] == first
    assert client.get(address("instance-status", organization), {"id": "inst_\0"}).status_code == 200


def test_shows_how_to_log_in_and_answers_a_poll_only_when_the_state_changed(organization, double):
    instance = reconcile(make_instance(NOW, make_project(organization)), NOW)
    client = client_of(organization)
    here = address("instance-detail", organization, instance.public_id)

    page = client.get(here)

    assert f"ssh -p {instance.port} ubuntu@{instance.host}" in page.content.decode()
    same = client.get(here, {"state": "active"}, headers=HTMX)
    assert same.content.decode().startswith('<dl class="facts" id="instance-spend"')
    assert (same["HX-Retarget"], same["HX-Reswap"]) == ("#instance-spend", "outerHTML")
    changed = client.get(here, {"state": "booting"}, headers=HTMX).content.decode().lstrip()
    assert changed.startswith('<div id="instance-body"')


def test_stops_starts_restarts_and_terminates(organization, double):
    instance = reconcile(make_instance(NOW, make_project(organization)), NOW)
    client = client_of(organization)

    def press(verb: str) -> str:
        answer = client.post(address(f"instance-{verb}", organization, instance.public_id))
        assert answer.status_code == 302
        instance.refresh_from_db()
        return instance.state

    assert press("restart") == State.BOOTING
    reconcile(instance, datetime.now(UTC))
    assert press("stop") == State.STOPPING
    reconcile(instance, datetime.now(UTC))
    assert press("start") == State.BOOTING
    confirm = client.get(address("instance-terminate", organization, instance.public_id))
    assert "lost for good" in confirm.content.decode()
    assert press("terminate") == State.TERMINATING
    assert press("stop") == State.TERMINATING


def test_hides_instances_of_others(organization):
    stranger = make_organization("Other")
    instance = make_instance(NOW, make_project(stranger))
    client = client_of(organization)

    assert client.get(address("instance-detail", organization, instance.public_id)).status_code == 404
    assert client.post(address("instance-terminate", organization, instance.public_id)).status_code == 404
    status = client.get(address("instance-status", organization), {"id": instance.public_id})
    assert instance.public_id not in status.content.decode()


def test_adds_and_deletes_ssh_keys(organization):
    client = client_of(organization)
    line = asyncssh.generate_private_key("ssh-ed25519", comment="me@laptop").export_public_key().decode()

    refused = client.post(address("ssh-key-create", organization), {"public_key": f'command="x" {line}'})
    added = client.post(address("ssh-key-create", organization), {"public_key": line})

    assert refused.status_code == 422
    assert "Options before the key" in refused.content.decode()
    assert added.status_code == 302
    ssh_key = SshKey.objects.get()
    assert "me@laptop" in client.get(address("ssh-key-list", organization)).content.decode()
    client.post(address("ssh-key-delete", organization, ssh_key.public_id))
    assert not SshKey.objects.exists()


def test_a_private_key_that_was_pasted_is_not_shown_again(organization):
    private = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END OPENSSH PRIVATE KEY-----"

    refused = client_of(organization).post(address("ssh-key-create", organization), {"public_key": private})

    assert "This is a private key" in refused.content.decode()
    assert "b3BlbnNzaC1rZXk" not in refused.content.decode()
