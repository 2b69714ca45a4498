"""What changes something of an organization from outside its own pages is in its log too (security A1).

People press every form of every personal page; who signs in through an organization's own provider is in test_sso.py
and test_saml.py, what programs do at their routes and members at their pages in tests/test_audit_trail.py.
"""

import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import resolve, reverse

from accounts.models import AuditEvent, Membership, Organization, Role, Scope, User
from accounts.services.closing import request_deletion
from accounts.services.staff import StaffGroup
from tests.accounts.test_legal_holds import make_staff
from tests.accounts.test_webhooks import SIGNERS, entry, found, report
from tests.factories.accounts import make_membership
from tests.policy import Audience
from tests.support import undone
from tests.test_audit_trail import NOT_A_CHANGE, WITHOUT_ENTRY, presses
from tests.visits import Scene, make_scene, signed_in, visits
from tests.world import NOW, World

PERSONAL = [visit for visit in visits() if visit.route.rule.who is Audience.SIGNED_IN]
# Personal routes that do something to an organization, each of which writes it into its log.
WRITTEN = {"accounts:invitation", "accounts:domain-join", "accounts:sso-break-glass", "accounts:welcome"}
WRITTEN |= {"accounts:organization-list", "accounts:erase"}
# What people type into personal forms.
TYPED: dict[str, Any] = {
    "accounts:welcome": lambda user: {"name": "Night shift", "kind": "startup"},
    "accounts:erase": lambda user: {"email": user.email},
}
# Erasing takes the origins of a person along.
WITHOUT_ORIGIN = {"member.erased"}
CARDS = "tests.billing.payments.test_cards"
COLLECTING = "tests.billing.payments.test_collecting"
# Route of WITHOUT_ENTRY that does change something -> the test where it does, and finds the entry.
PROVED: dict[str, str] = {
    "accounts:domain-verify": "tests.accounts.test_domains.test_pages_say_what_was_wrong_and_lead_through",
    "accounts:sso-settings": "tests.accounts.test_sso.test_the_form_sets_it_up_and_the_log_says_who_did",
    "accounts:sso-make-optional": f"{__name__}.test_making_single_sign_on_optional_is_written_down",
    "accounts:organization-keep": f"{__name__}.test_keeping_an_organization_is_written_down",
    "billing:customer-portal": f"{CARDS}.test_what_is_changed_on_the_providers_pages_is_followed",
    "billing:invoice-pay": f"{COLLECTING}.test_a_person_pays_an_invoice_from_its_page_and_stands_good_again",
    "quickstart-run": "tests.inference.test_console.test_bills_a_run_exactly_once",
}


@pytest.fixture(scope="module")
def scene(world_of_module: World, django_db_blocker: Any) -> Scene:
    with django_db_blocker.unblock():
        return make_scene(world_of_module)


@pytest.fixture
def stage(scene: Scene, django_db_blocker: Any) -> Iterator[Scene]:
    with django_db_blocker.unblock(), undone():
        yield scene


def everything(world: World) -> dict[str, str]:
    """Return a digest of every table of all organizations."""
    digests = {}
    with connection.cursor() as cursor:
        for table in [*world.tenant_tables, "accounts_organization"]:
            cursor.execute(f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t")
            digests[table] = cursor.fetchone()[0]
    return digests


def known_entries() -> set[tuple[int, int]]:
    return set(AuditEvent.objects.values_list("organization_id", "sequence"))


def entries_since(known: set[tuple[int, int]]) -> list[AuditEvent]:
    return [each for each in AuditEvent.objects.all() if (each.organization_id, each.sequence) not in known]


def person_of(client: Client) -> User:
    return User.objects.get(pk=client.session["_auth_user_id"])


def assert_written_down(since: set[tuple[int, int]], actor_id: str) -> list[AuditEvent]:
    """Fail unless there are entries and each says who, from where and in which request; return them."""
    entries = entries_since(since)
    assert entries
    for each in entries:
        assert each.actor_id == actor_id, each.action
        assert each.request_id, each.action
        assert bool(each.origin_id) == (each.action not in WITHOUT_ORIGIN), each.action
        assert json.loads(each.changes) or not each.action.endswith("changed"), each.action
    return entries


def test_whatever_people_do_to_an_organization_from_their_own_pages_is_written_down(stage: Scene):
    written = set()
    for visit in PERSONAL:
        with undone():
            client, address = stage.begin(visit)
            person = person_of(client)
            with undone():
                forms = list(presses(client, address))
            for target, data in forms:
                name = resolve(target.partition("?")[0]).view_name
                typed = TYPED[name](person) if name in TYPED else {}
                with undone():
                    since, before = known_entries(), everything(stage.world)
                    client.post(target, data | typed)
                    after = everything(stage.world)
                    changed = {table for table in after if after[table] != before[table]} - NOT_A_CHANGE
                    if changed or entries_since(since):
                        assert assert_written_down(since, person.public_id), f"{name} changed {changed}"
                        written.add(name)

    assert written == WRITTEN


def test_what_staff_do_to_an_organization_is_written_down(stage: Scene):
    ours, staff = stage.world.ours, make_staff(StaffGroup.COMPLIANCE)
    client, since = signed_in(staff), known_entries()

    for action in ("set", "clear"):
        form = {"organization": ours.slug, "action": action, "reason": "Preservation order 17/2026"}
        client.post("/admin/accounts/organization/", form)

    assert len(assert_written_down(since, staff.public_id)) == 2


def test_a_key_that_was_found_in_public_is_written_down(stage: Scene, settings: Any):
    settings.LEAK_REPORT_PUBLIC_KEYS = [entry(name, key) for name, (key, _) in SIGNERS.items()]
    secret, since = stage.world.secret(stage.world.ours, Scope.USAGE_READ), known_entries()

    report(Client(), [found(secret)])

    [event] = entries_since(since)
    # The portal ends it, whoever found it; the address is the finder's, which is nobody of the organization.
    assert (event.action, event.actor_kind) == ("key.leaked", "portal")
    assert event.request_id
    assert event.origin_id
    assert json.loads(event.changes)


def test_making_single_sign_on_optional_is_written_down(stage: Scene):
    owner = make_membership(stage.world.ours)
    # The scene's organization has a provider already.
    Membership.objects.filter(pk=owner.pk).update(is_break_glass=True)
    Organization.objects.filter(pk=owner.organization_id).update(sso_required_at=NOW)
    client = signed_in(owner.user)
    client.post(reverse("accounts:sso-break-glass", args=[stage.world.ours.slug]))
    since = known_entries()

    client.post(reverse("accounts:sso-make-optional", args=[stage.world.ours.slug]))

    assert [each.action for each in assert_written_down(since, owner.user.public_id)] == ["sso.made_optional"]


def test_keeping_an_organization_is_written_down(stage: Scene):
    ours = stage.world.ours
    owner = ours.memberships.filter(role=Role.OWNER).order_by("pk")[0].user
    request_deletion(organization=ours, now=NOW)
    since = known_entries()

    signed_in(owner).post(reverse("accounts:organization-keep", args=[ours.slug]))

    assert [each.action for each in assert_written_down(since, owner.public_id)] == ["organization.kept"]


def test_what_the_sweep_leaves_out_is_proved_by_name():
    assert set(PROVED) == set(WITHOUT_ENTRY)
    for test in PROVED.values():
        module, _, name = test.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name)), test
