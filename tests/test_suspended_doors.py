"""While work is stopped for an unpaid bill: every changing operation, and whether it is open then (ADR 0036).

A route that takes a change and is not in the tables fails here, so that a new one is decided about.
"""

import json

import pytest
from django.contrib.messages import get_messages
from django.urls import reverse

from accounts.models import Organization, Role, Scope
from compute.models import Instance
from tests.factories.accounts import make_membership
from tests.policy import Audience
from tests.routes import ROUTES
from tests.support import undone
from tests.world import World

SENTENCE = "suspended for an unpaid bill"
# --- Pages: what a person may not do then ---
CLOSED = {
    *("accounts:project-create", "accounts:project-rename", "inference:project-region"),
    *("accounts:rate-limit-of-project", "accounts:rate-limit-of-key"),
    *("accounts:key-create", "accounts:key-change", "accounts:key-rotate"),
    *("accounts:service-account-create", "accounts:service-account-enable"),
    *("billing:cap-create", "billing:cap-change", "billing:cap-remove"),
    *("compute:instance-launch", "compute:instance-start", "compute:instance-restart", "compute:ssh-key-create"),
    *("quickstart-key", "quickstart-run"),
    "quickstart",  # takes no change, and a POST to it is refused before that is said
}
# --- And may: what is needed to pay, export, leave and stay safe, and what ends something ---
OPEN = {
    *("billing:top-up", "billing:debt-pay", "billing:invoice-pay", "billing:payment-again", "billing:payment-cancel"),
    *("billing:payment-refund", "billing:card-add", "billing:card-default", "billing:card-remove"),
    *("billing:customer-portal", "billing:auto-reload", "billing:details", "billing:anomaly-mails"),
    "billing:project-tags",
    *("organization-export", "accounts:member-leave", "accounts:ownership-transfer"),
    *("accounts:organization-delete", "accounts:organization-keep", "accounts:organization-settings"),
    *("accounts:member-invite", "accounts:member-role", "accounts:member-remove"),
    *("accounts:invitation-resend", "accounts:invitation-revoke"),
    *("accounts:project-member-set", "accounts:project-member-remove"),
    *("accounts:directory", "accounts:directory-token-revoke", "accounts:directory-group-role"),
    *("accounts:domain-list", "accounts:domain-detail", "accounts:domain-verify", "accounts:domain-remove"),
    *("accounts:sso-settings", "accounts:sso-saml", "accounts:sso-remove", "accounts:sso-require"),
    *("accounts:sso-make-optional", "accounts:sso-owner"),
    *("accounts:audit-endpoint-add", "accounts:audit-endpoint-change", "accounts:audit-endpoint-rotate"),
    *("accounts:audit-endpoint-test", "accounts:audit-endpoint-pause", "accounts:audit-endpoint-resume"),
    "accounts:audit-endpoint-remove",
    *("accounts:key-revoke", "accounts:service-account-disable", "accounts:service-account-delete"),
    *("compute:instance-stop", "compute:instance-terminate", "compute:ssh-key-delete"),
}
# --- Programs: the operation, and whether it is open ---
PROGRAMS = {
    ("accounts:api-key-list", "POST"): False,
    ("accounts:api-key-detail", "PATCH"): False,
    ("accounts:api-key-detail", "DELETE"): True,
    ("accounts:api-key-rotation", "POST"): False,
    ("accounts:api-service-account-list", "POST"): False,
    ("accounts:api-service-account-detail", "DELETE"): True,
    ("accounts:api-service-account-disable", "POST"): True,
    ("accounts:api-service-account-enable", "POST"): False,
    ("billing:api-key-cap", "PUT"): False,
    ("billing:api-key-cap", "DELETE"): False,
    ("compute:api-launch", "POST"): False,
    ("compute:api-terminate", "POST"): True,
    ("compute:api-restart", "POST"): False,
    ("compute:api-ssh-key-list", "POST"): False,
    ("compute:api-ssh-key-detail", "DELETE"): True,
}
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


def stop(world: World) -> None:
    Organization.objects.filter(pk=world.ours.pk).update(payment_state=Organization.PaymentState.SUSPENDED)


@pytest.fixture
def stopped(world: World) -> World:
    stop(world)
    return world


def test_every_operation_of_a_person_is_open_or_closed_as_the_table_says(stopped: World):
    client, slug = stopped.client(stopped.members[Role.OWNER]), stopped.ours.slug
    before, found = stopped.checksum(stopped.ours), set()
    pages = [route for route in ROUTES if route.is_of_organization]
    for route in pages:
        if route.name in CLOSED:
            answer = client.post(route.address(slug, stopped.objects))
            assert answer.status_code == 402, route
            assert SENTENCE in answer.content.decode(), route
            assert reverse("billing:invoice-list", args=[slug]) in answer.content.decode(), route
            found.add(route.name)
    assert stopped.checksum(stopped.ours) == before
    assert found == CLOSED

    for route in pages:
        if route.name not in CLOSED:
            with undone():
                answer = client.post(route.address(slug, stopped.objects))
            assert answer.status_code != 402, route
            if answer.status_code != 405:
                found.add(route.name)
    assert found - CLOSED == OPEN


def test_every_operation_of_a_program_is_open_or_closed_as_the_table_says(world: World):
    client, found = world.client(None), {}
    # Made while they can be.
    secrets: dict[object, str] = {scope: world.secret(world.ours, scope) for scope in Scope}
    secrets[Audience.KEY] = secrets[Scope.USAGE_READ]
    stop(world)
    before = world.checksum(world.ours)
    for route in ROUTES:
        if not route.is_of_programs or route.rule.who not in secrets:
            continue
        for method in UNSAFE:
            with undone():
                answer = client.generic(
                    method,
                    route.address("", world.objects),
                    "{}",
                    content_type="application/json",
                    headers={"Authorization": f"Bearer {secrets[route.rule.who]}"},
                )
            if answer.status_code == 402:
                assert SENTENCE in answer.content.decode()
                body, is_lambda = json.loads(answer.content), route.name.startswith("compute:")
                code = body["error"]["code"] if is_lambda else body["code"]
                assert code == ("global/account-inactive" if is_lambda else "organization_suspended")
            if answer.status_code != 405:
                found[route.name, method] = answer.status_code != 402

    assert found == PROGRAMS
    assert world.checksum(world.ours) == before


def test_pages_and_answers_are_read_as_ever(world: World):
    owner, secret = world.client(world.members[Role.OWNER]), world.secret(world.ours, Scope.BILLING_READ)
    stop(world)

    for name in (
        "billing:invoice-list",
        "billing:credit",
        "billing:spend",
        "compute:instance-list",
        "accounts:key-list",
    ):
        assert owner.get(reverse(name, args=[world.ours.slug])).status_code == 200
    headers = {"Authorization": f"Bearer {secret}"}
    assert world.client(None).get(reverse("billing:api-invoice-list"), headers=headers).status_code == 200


def test_people_leave_end_and_take_away(stopped: World):
    owner, slug = stopped.client(stopped.members[Role.OWNER]), stopped.ours.slug
    leaver = stopped.client(make_membership(stopped.ours, role=Role.VIEWER).user)
    ended = reverse("compute:instance-terminate", args=[slug, stopped.objects["instance"]])
    revoked = reverse("accounts:key-revoke", args=[slug, stopped.objects["key"]])

    assert leaver.post(reverse("accounts:member-leave", args=[slug])).status_code == 302
    assert owner.post(ended).status_code == 302
    assert owner.post(revoked).status_code == 302
    assert Instance.objects.get(public_id=stopped.objects["instance"]).want == "terminated"


def test_a_role_without_the_permission_is_told_so_first(stopped: World):
    viewer = stopped.client(stopped.members[Role.VIEWER])

    assert viewer.post(reverse("accounts:key-create", args=[stopped.ours.slug])).status_code == 403


def test_a_form_that_is_sent_by_script_is_led_to_the_bill(stopped: World):
    owner = stopped.client(stopped.members[Role.OWNER])
    address = reverse("compute:instance-launch", args=[stopped.ours.slug])

    answer = owner.post(address, headers={"HX-Request": "true"})

    assert (answer.status_code, answer["HX-Redirect"]) == (
        402,
        reverse("billing:invoice-list", args=[stopped.ours.slug]),
    )
    assert SENTENCE in str(next(iter(get_messages(answer.wsgi_request))))
    assert SENTENCE in owner.get(answer["HX-Redirect"]).content.decode()


def test_only_who_is_stopped_is_refused_at_the_door(world: World):
    owner, refused = world.client(world.members[Role.OWNER]), set()
    address = reverse("accounts:project-rename", args=[world.ours.slug, world.objects["project"]])
    for state in Organization.PaymentState:
        Organization.objects.filter(pk=world.ours.pk).update(payment_state=state)
        if owner.post(address).status_code == 402:
            refused.add(state.value)

    assert refused == {"suspended", "terminated"}
