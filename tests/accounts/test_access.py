"""The door for programs: what is a key, what never reaches the database."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.access import AddressNotAllowed, InvalidApiKey, authenticate_key
from accounts.models import ApiKey, Scope
from accounts.models.api_key import OperatorScope
from accounts.services.api_keys import KeyLimits, issue_key, revoke_key
from accounts.services.operator_keys import issue_operator_key
from portal.lib.context import Origin
from portal.lib.key_format import API_KEY_KINDS, KeyKind, kind_of
from tests.factories.accounts import make_key, make_project
from tests.mutants import MUTANTS, SENT_MUTANTS, UNKNOWN, fits_a_header, mutants, unknown_keys
from tests.own_database import SUPERUSER, OwnDatabase
from tests.support import normal

NOW = datetime.now(UTC)


ALL_KINDS = tuple(kind.value for kind in KeyKind)


def is_refused(secret: str) -> bool:
    try:
        authenticate_key(secret)
    except InvalidApiKey:
        return True
    return False


@pytest.mark.django_db
@pytest.mark.asvs("6.3.1")
def test_no_mutated_key_is_accepted_and_malformed_ones_ask_the_database_nothing():
    secret = make_key(make_project(), now=NOW).secret
    assert not is_refused(secret)

    well_formed = []
    with CaptureQueriesContext(connection) as queries:
        for mutant in mutants(secret, MUTANTS):
            if kind_of(mutant, "hr") is None:
                assert is_refused(mutant), mutant
            else:
                well_formed.append(mutant)
    assert len(queries) == 0
    # One in 62^6 passes the checksum.
    assert len(well_formed) <= 1
    for mutant in well_formed:
        assert is_refused(mutant), mutant


@pytest.mark.django_db
def test_a_well_formed_key_that_nobody_has_is_looked_up_once():
    make_key(make_project(), now=NOW)

    for secret in unknown_keys(ALL_KINDS, UNKNOWN):
        kind = kind_of(secret, "hr")
        assert kind is not None
        with CaptureQueriesContext(connection) as queries:
            assert is_refused(secret), secret
        # Kinds that are no API keys are refused for what they are.
        assert len(queries) == (1 if kind in API_KEY_KINDS else 0)


@pytest.mark.django_db
@pytest.mark.asvs("6.3.1")
def test_the_api_answers_all_keys_that_open_nothing_alike(client: Client):
    project = make_project()
    secret, revoked, expired = (make_key(project, now=NOW) for _ in range(3))
    revoke_key(api_key=revoked.api_key, now=NOW)
    ApiKey.objects.filter(pk=expired.api_key.pk).update(expires_at=NOW - timedelta(seconds=1))
    operator = issue_operator_key(name="scheduler", scopes=[OperatorScope.POOLS_READ], by=None, now=NOW).secret

    def answer(authorization: str) -> tuple[int, bytes, str]:
        status, body, headers = normal(client.get("/api/v1/projects", headers={"authorization": authorization}))
        return status, body, json.dumps(headers, sort_keys=True)

    near = [each for each in mutants(secret.secret, SENT_MUTANTS // 20) if fits_a_header(each)]
    refused = [*near, *unknown_keys(ALL_KINDS, UNKNOWN // 10), revoked.secret, expired.secret, operator]
    answers = {answer(f"Bearer {each}") for each in refused}
    answers |= {answer(each) for each in ("", "Bearer", "Bearer ", f"Token {secret.secret}", "Basic !", "Basic aGk6")}

    assert answer(f"Bearer {secret.secret}")[0] == 200
    assert len(answers) == 1
    [(status, body, _)] = answers
    assert (status, json.loads(body)["code"]) == (401, "invalid_api_key")


@pytest.mark.django_db
def test_an_operator_key_opens_no_organization():
    secret = issue_operator_key(name="scheduler", scopes=[OperatorScope.POOLS_READ], by=None, now=NOW).secret

    with pytest.raises(InvalidApiKey):
        authenticate_key(secret)


# --- Where a key is used from ----------------------------------------------------------------------


def here(address: str, browser: str = "") -> Origin:
    return Origin(request_id="", address=address, browser=browser)


@pytest.mark.django_db
def test_a_key_opens_from_its_addresses_only():
    limits = KeyLimits(allowed_addresses=["203.0.113.0/24", "2001:db8::/32"])
    issued = issue_key(
        project=make_project(), name="ci", scopes=[Scope.INFERENCE], created_by=None, now=NOW, limits=limits
    )

    for address in ("203.0.113.7", "2001:db8::1", "::ffff:203.0.113.7"):
        assert authenticate_key(issued.secret, here(address)) == issued.api_key
    for address in ("203.0.114.7", "2001:db9::1", "", "unknown"):
        with pytest.raises(AddressNotAllowed):
            authenticate_key(issued.secret, here(address))


@pytest.mark.django_db
def test_a_key_that_has_ended_says_nothing_of_addresses():
    limits = KeyLimits(allowed_addresses=["203.0.113.0/24"])
    issued = issue_key(
        project=make_project(), name="ci", scopes=[Scope.INFERENCE], created_by=None, now=NOW, limits=limits
    )
    revoke_key(api_key=issued.api_key, now=NOW)

    with pytest.raises(InvalidApiKey):
        authenticate_key(issued.secret, here("192.0.2.1"))


@pytest.mark.django_db
def test_a_use_is_noted_with_its_place_and_a_refused_one_is_not(django_capture_on_commit_callbacks: Any):
    limits = KeyLimits(allowed_addresses=["203.0.113.0/24"])
    issued = issue_key(
        project=make_project(), name="ci", scopes=[Scope.INFERENCE], created_by=None, now=NOW, limits=limits
    )
    key = issued.api_key

    with django_capture_on_commit_callbacks(execute=True), pytest.raises(AddressNotAllowed):
        authenticate_key(issued.secret, here("192.0.2.1", "scanner/1"))
    key.refresh_from_db()
    assert (key.last_used_at, key.last_used_address, key.last_used_agent) == (None, "", "")

    with django_capture_on_commit_callbacks(execute=True):
        authenticate_key(issued.secret, here("203.0.113.7", "curl/8"))
    key.refresh_from_db()
    assert key.last_used_at is not None
    assert (key.last_used_address, key.last_used_agent) == ("203.0.113.7", "curl/8")


def test_a_request_by_a_key_leaves_its_row_to_who_changes_it(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        issued = make_key(make_project(), now=datetime.now(UTC))
    with own_database.in_use(), own_database.connect(SUPERUSER) as other:
        with transaction.atomic():
            authenticate_key(issued.secret, here("192.0.2.1", "curl/8"))
            # Fails at once if it would have to wait for the request's end.
            other.execute("SELECT FROM accounts_apikey WHERE id = %s FOR UPDATE NOWAIT", [issued.api_key.pk])
            other.rollback()
        row = other.execute("SELECT last_used_agent FROM accounts_apikey WHERE id = %s", [issued.api_key.pk])
        assert row.fetchone() == ("curl/8",)
