"""What is left of an organization that was closed: its bill and its log; nothing that opens anything, nobody's name."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from accounts.models import ApiKey, Organization, User
from accounts.services.closing import GRACE, close_due_organizations, request_deletion
from compute.models import Instance
from portal.lib.retention import Whose
from portal.lib.tenancy import as_platform
from portal.retention import TABLES, delete_past
from tests.factories.accounts import (
    make_directory_group,
    make_directory_person,
    make_domain,
    make_organization,
    make_user,
)
from tests.filling import fill
from tests.portal.test_views_data import signed_in

NOW = datetime.now(UTC).replace(microsecond=0)
SECOND = timedelta(seconds=1)
RULES = {table.name: table.after_closing for table in TABLES if table.after_closing is not None}
GOING = [name for name, rule in RULES.items() if not rule.clears]
# What has no end after the closing, and why.
STAYING = {
    "accounts_organization": "what was billed belongs to it",
    "accounts_organizationterms": "what was billed was owed under them",
    "accounts_project": "so does usage",
    "accounts_ratelimit": "numbers over projects and keys",
    "accounts_retiredsecret": "digests, which are known as ours when they turn up in public",
    "accounts_keyleak": "it says why a key ended",
    "accounts_keptanswer": "a day",
    "accounts_membership": "who owes the last bill, and whom mails go to",
    "accounts_projectmembership": "as memberships",
    "accounts_serviceaccount": "usage names them, by way of their keys",
    "accounts_notice": "90 days, by public id",
    "accounts_auditevent": "the log",
    "accounts_auditorigin": "400 days",
}


def filled(word: str) -> tuple[Organization, User]:
    owner = make_user()
    organization = make_organization(owner=owner)
    fill(organization, owner, word)
    Instance.objects.update(user_data="#!/bin/sh")
    ApiKey.objects.update(last_used_address="192.0.2.7", last_used_agent="curl/8")
    return organization, owner


def close(organization: Organization, at: datetime) -> None:
    request_deletion(organization=organization, now=at - GRACE)
    with as_platform():
        assert close_due_organizations(now=at) == 1


def delete_all_past(now: datetime) -> None:
    with as_platform():
        assert delete_past(now=now)


def counts(organization: Organization) -> dict[str, int]:
    found = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            if table.whose is Whose.ORGANIZATION and table.name != "accounts_organization":
                cursor.execute(f"SELECT count(*) FROM {table.name} WHERE organization_id = %s", [organization.pk])
                found[table.name] = cursor.fetchone()[0]
    return found


def texts() -> set[tuple[str, ...]]:
    keys = ApiKey.objects.values_list("last_used_address", "last_used_agent")
    return {*keys, *Instance.objects.values_list("user_data")}


@pytest.mark.django_db
def test_what_opens_something_or_is_somebody_s_goes_thirty_days_after_the_closing():
    organization, _owner = filled("Acme")
    close(organization, NOW)
    before = counts(organization)
    assert not [name for name in GOING if not before[name]]

    delete_all_past(NOW + timedelta(days=30) - SECOND)
    assert {name: count for name, count in counts(organization).items() if name in GOING} == {
        name: before[name] for name in GOING
    }
    assert texts() == {("192.0.2.7", "curl/8"), ("#!/bin/sh",)}

    delete_all_past(NOW + timedelta(days=30))
    after = counts(organization)
    assert {name: after[name] for name in GOING} == dict.fromkeys(GOING, 0)
    assert texts() == {("", ""), ("",)}
    # The bill and the log have lost nothing.
    billed = [name for name in before if name.startswith(("billing_", "inference_receipt", "accounts_auditevent"))]
    assert billed
    assert {name: after[name] for name in billed} == {name: before[name] for name in billed}


@pytest.mark.django_db
def test_nothing_goes_from_who_is_open_closing_or_under_a_legal_hold():
    organizations = [filled(word)[0] for word in ("Open", "Closing", "Held")]
    _open, closing, held = organizations
    request_deletion(organization=closing, now=NOW)
    close(held, NOW)
    Organization.objects.filter(pk=held.pk).update(legal_hold=True)
    # Its own age would take it first.
    kept = [name for name in GOING if name != "accounts_invitation"]
    before = [counts(organization) for organization in organizations]

    delete_all_past(NOW + timedelta(days=40))
    after = [counts(organization) for organization in organizations]
    assert [{name: one[name] for name in kept} for one in after] == [
        {name: one[name] for name in kept} for one in before
    ]

    Organization.objects.filter(pk=held.pk).update(legal_hold=False)
    delete_all_past(NOW + timedelta(days=40))
    assert not any(counts(held)[name] for name in GOING)


@pytest.mark.django_db
def test_an_organization_is_taken_along_until_it_closes():
    organization, owner = filled("Acme")
    request_deletion(organization=organization, now=NOW)
    client, address = signed_in(owner), f"/o/{organization.slug}/data/export/"

    assert client.post(address).getvalue().startswith(b"PK")
    with as_platform():
        assert close_due_organizations(now=NOW + GRACE) == 1
    assert client.post(address).status_code == 404


@pytest.mark.django_db
def test_batches_that_are_smaller_than_an_organization_take_all_of_it():
    organization, _owner = filled("Acme")
    for number in range(3):
        make_domain(organization, f"acme{number}.example")
        make_directory_group(
            organization, f"group {number}", make_directory_person(organization, f"{number}@a.example")
        )
    close(organization, NOW)

    with as_platform():
        runs = [delete_past(now=NOW + timedelta(days=30), batch=1, most_batches=10) for _ in range(5)]

    assert (runs[0], runs[-1]) == (False, True)
    assert not any(counts(organization)[name] for name in GOING)


def test_every_table_that_may_say_who_somebody_is_or_is_sealed_has_an_end_after_the_closing():
    without = {
        table.name
        for table in TABLES
        if table.whose is Whose.ORGANIZATION and table.name.startswith("accounts_") and table.after_closing is None
    }

    assert without == set(STAYING)


def test_a_rule_says_in_words_what_it_does():
    assert str(RULES["accounts_domain"]) == "; no longer than 30 days after the organization closed"
    assert "`last_used_address` and `last_used_agent` no longer" in str(RULES["accounts_apikey"])
