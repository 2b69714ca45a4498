"""Every column that holds a secret is registered, and changing keys reaches all of them, whatever happens."""

import base64
import json
import re
from typing import Any

import pytest
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from cryptography.fernet import Fernet
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection, models

from accounts.models import Overlap
from accounts.sealed import AUDIT_FORMER_SECRET, AUDIT_SECRET
from accounts.services.audit_endpoints import rotate_endpoint_secret
from portal.lib.sealed import SealedColumn, SealedText
from portal.lib.sealing import UnknownKey, key_id_of, newest_header
from portal.lib.sessions import SessionStore
from portal.lib.tenancy import as_platform
from portal.sealed import BEFORE, SEALED, count_by_key, rotate_secrets
from tests.factories.accounts import SIGNING_SECRET, THEN, make_audit_endpoint, make_organization, make_user
from tests.own_database import SUPERUSER, OwnDatabase

OLD, NEW = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
FORMER = Fernet.generate_key().decode()

# Bytes that are no secret to be read again, and columns that sound like one: what they are.
NOT_SEALED = {
    "accounts_apikey.digest": "HMAC of the key",
    "accounts_directorytoken.digest": "HMAC of the token",
    "accounts_domain.token": "stands in the public DNS",
    "accounts_operatorkey.digest": "HMAC of the key",
    "accounts_operatorkey.former_digest": "HMAC of the key",
    "billing_usagefate.content_digest": "hash of a report",
    "accounts_retiredsecret.digest": "HMAC of the key",
    "accounts_invitation.digest": "hash of the token",
    "accounts_keptanswer.body": "under a key that only the caller has",
    "accounts_keptanswer.body_digest": "hash of a request",
    "accounts_auditevent.previous": "hash",
    "accounts_auditevent.digest": "hash",
    "inference_receipt.body_digest": "hash of a request",
    "inference_receipt.idempotency_digest": "hash",
    "inference_idempotencyclaim.idempotency_digest": "hash",
    "inference_idempotencyclaim.body_digest": "hash",
    "accounts_user.password": "Argon2 hash",
    "account_emailconfirmation.key": "unused: addresses are confirmed by codes, which are in sealed sessions",
    "accounts_keptanswer.key": "what a program calls its request",
    "socialaccount_socialapp.key": "never stored: clients come from the environment",
    "socialaccount_socialapp.secret": "never stored: clients come from the environment",
    "socialaccount_socialtoken.token": "never stored: SOCIALACCOUNT_STORE_TOKENS",
    "socialaccount_socialtoken.token_secret": "never stored: SOCIALACCOUNT_STORE_TOKENS",
}
SECRET_NAMES = re.compile(
    r"key|session_data|.*(secret|seed|token|passw|private|credential|_pin)(?!s?_(count|id|at|ms|until)).*"
)


@pytest.fixture(autouse=True)
def old_keys(settings):
    settings.KEY_ENCRYPTION_KEYS, settings.MFA_ENCRYPTION_KEYS = [OLD], [FORMER]


def columns() -> dict[str, "models.Field[Any, Any]"]:
    return {
        f"{model._meta.db_table}.{field.column}": field
        for model in apps.get_models(include_auto_created=True)
        for field in model._meta.local_concrete_fields
    }


def test_every_registered_column_exists_with_its_row():
    known = columns()
    for one in SEALED:
        assert f"{one.table}.{one.column}" in known
        if isinstance(one, SealedColumn | SealedText):
            assert known[f"{one.table}.{one.row}"].unique, one


def test_every_column_that_may_hold_a_secret_is_registered_or_explained():
    registered = {f"{one.table}.{one.column}" for one in SEALED}
    suspects = {
        name
        for name, field in columns().items()
        if isinstance(field, models.BinaryField)
        or (
            SECRET_NAMES.fullmatch(str(field.column))
            and isinstance(field, models.CharField | models.TextField | models.JSONField)
        )
    }

    assert suspects - registered - set(NOT_SEALED) == set()
    assert set(NOT_SEALED) <= set(columns())


def second_factors(count: int) -> list[Authenticator]:
    """A TOTP for each of so many people, some stored as before envelope encryption, and recovery codes."""
    made = []
    for number in range(count):
        seed = f"SEED{number}"
        stored = Fernet(FORMER).encrypt(seed.encode()).decode() if number % 3 == 0 else get_adapter().encrypt(seed)
        made.append(Authenticator.objects.create(user=make_user(), type="totp", data={"secret": stored}))
    RecoveryCodes.activate(made[0].user)
    old = {"migrated_codes": [get_adapter().encrypt(code) for code in ("11111111", "22222222")], "used_mask": 0}
    Authenticator.objects.create(user=made[1].user, type="recovery_codes", data=old)
    Authenticator.objects.create(user=made[2].user, type="webauthn", data={"name": "a passkey", "credential": {}})
    return made


def seeds_of(factors: list[Authenticator]) -> list[str]:
    for one in factors:
        one.refresh_from_db()
    return [get_adapter().decrypt(one.data["secret"]) for one in factors]


@pytest.mark.django_db
def test_rotation_reaches_every_secret_and_leaves_what_it_says(settings):
    factors = second_factors(7)
    endpoint = make_audit_endpoint(make_organization())
    rotate_endpoint_secret(endpoint=endpoint, overlap=Overlap.WEEK, now=THEN)
    session = SessionStore()
    session["word"] = "canary"
    session.save()
    codes = Authenticator.objects.get(user=factors[0].user, type="recovery_codes")
    unused = codes.wrap().get_unused_codes()
    with as_platform():
        assert count_by_key()["mfa_authenticator", "data", BEFORE] == 3
    settings.KEY_ENCRYPTION_KEYS = [NEW, OLD]

    with as_platform():
        done = {(one.table, one.column): (one.done, one.failed) for one in rotate_secrets(batch=2)}
        counts = count_by_key()

    assert done == {
        ("mfa_authenticator", "data"): (9, 0),
        ("accounts_auditendpoint", "secret"): (1, 0),
        ("accounts_auditendpoint", "former_secret"): (1, 0),
        ("accounts_ssoconnection", "client_secret"): (0, 0),
        ("django_session", "session_data"): (1, 0),
    }
    assert {key for _table, _column, key in counts} == {key_id_of(newest_header())}
    assert sum(counts.values()) == 13
    settings.KEY_ENCRYPTION_KEYS, settings.MFA_ENCRYPTION_KEYS = [NEW], []
    assert seeds_of(factors) == [f"SEED{number}" for number in range(7)]
    assert SessionStore(session.session_key)["word"] == "canary"
    endpoint.refresh_from_db()
    assert AUDIT_FORMER_SECRET.unseal(bytes(endpoint.former_secret or b""), row=endpoint.public_id) == SIGNING_SECRET
    assert AUDIT_SECRET.unseal(endpoint.secret, row=endpoint.public_id).startswith("whsec_")
    codes.refresh_from_db()
    assert codes.wrap().get_unused_codes() == unused
    migrated = Authenticator.objects.get(user=factors[1].user, type="recovery_codes")
    assert migrated.wrap().get_unused_codes() == ["11111111", "22222222"]
    assert Authenticator.objects.get(type="webauthn").data == {"name": "a passkey", "credential": {}}


@pytest.mark.django_db
def test_rotating_again_changes_nothing(settings):
    factors = second_factors(3)
    settings.KEY_ENCRYPTION_KEYS = [NEW, OLD]
    with as_platform():
        list(rotate_secrets())
        before = list(Authenticator.objects.order_by("pk").values_list("data"))
        again = [(one.done, one.failed) for one in rotate_secrets()]

    assert set(again) == {(0, 0)}
    assert list(Authenticator.objects.order_by("pk").values_list("data")) == before
    assert seeds_of(factors) == ["SEED0", "SEED1", "SEED2"]


@pytest.mark.django_db
def test_a_secret_that_no_key_opens_stays_and_does_not_keep_the_others(settings, capsys):
    factors = second_factors(4)
    settings.KEY_ENCRYPTION_KEYS = [base64.b64encode(b"x" * 32).decode()]
    lost = Authenticator.objects.create(user=make_user(), type="totp", data={"secret": get_adapter().encrypt("LOST")})
    settings.KEY_ENCRYPTION_KEYS = [NEW, OLD]

    with pytest.raises(CommandError, match="1 secrets are under a key that is gone"):
        call_command("rotate_secrets")

    assert "mfa_authenticator.data: 6 rotated, 1 failed" in capsys.readouterr().out
    assert seeds_of(factors) == [f"SEED{number}" for number in range(4)]
    lost.refresh_from_db()
    with pytest.raises(UnknownKey):
        get_adapter().decrypt(lost.data["secret"])


@pytest.mark.django_db
def test_the_command_counts_without_changing(settings, capsys):
    second_factors(3)
    before = list(Authenticator.objects.order_by("pk").values_list("data"))
    old_id = key_id_of(newest_header())
    settings.KEY_ENCRYPTION_KEYS = [NEW, OLD]

    call_command("rotate_secrets", "--check")

    said = capsys.readouterr().out
    assert f"mfa_authenticator.data: 5 under {old_id}\n" in said
    assert "mfa_authenticator.data: 1 under before\n" in said
    assert list(Authenticator.objects.order_by("pk").values_list("data")) == before


@pytest.mark.django_db
def test_the_command_stops_at_keys_that_are_none(settings):
    settings.KEY_ENCRYPTION_KEYS = ["nonsense"]

    with pytest.raises(CommandError, match="KEY_ENCRYPTION_KEYS"):
        call_command("rotate_secrets")


class Killed(Exception):
    pass


def test_an_interrupted_rotation_keeps_its_batches_and_the_next_one_goes_on(settings, own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        factors = second_factors(7)
        settings.KEY_ENCRYPTION_KEYS = [NEW, OLD]

        def die_in_the_third_batch(execute, query, values, many, context):
            if query.startswith("UPDATE"):
                written.append(query)
                if len(written) == 6:
                    raise Killed
            return execute(query, values, many, context)

        written: list[str] = []
        with as_platform():
            with connection.execute_wrapper(die_in_the_third_batch), pytest.raises(Killed):
                list(rotate_secrets(batch=2))
            halfway = count_by_key()
            rest = {(one.table, one.column): one.done for one in rotate_secrets(batch=2)}

        assert halfway["mfa_authenticator", "data", key_id_of(newest_header())] == 4
        assert rest["mfa_authenticator", "data"] == 5
        assert seeds_of(factors) == [f"SEED{number}" for number in range(7)]
        assert "SEED" not in json.dumps(list(Authenticator.objects.values_list("data")))
