"""Settings of django-allauth that must differ from its defaults, or must not change (security A3.3), and why."""

from typing import Any

import pytest
from allauth import app_settings as allauth
from allauth.account import app_settings as account
from allauth.account.adapter import get_adapter
from allauth.core.internal.ratelimit import parse_rates
from allauth.mfa import app_settings as mfa
from allauth.mfa.adapter import get_adapter as get_mfa_adapter
from allauth.usersessions import app_settings as usersessions
from django.conf import settings

from accounts.adapter import AccountAdapter, MFAAdapter
from portal import settings as portal

# As allauth reads them: a name that it no longer knew would show here.
PINNED: dict[str, tuple[Any, Any]] = {
    "factors: apps, passkeys and recovery codes": (
        sorted(mfa.SUPPORTED_TYPES),
        ["recovery_codes", "totp", "webauthn"],
    ),
    "a passkey signs in alone": (mfa.PASSKEY_LOGIN_ENABLED, True),
    "and signs up": (mfa.PASSKEY_SIGNUP_ENABLED, True),
    "a code of an app is that of its half minute": ((mfa.TOTP_PERIOD, mfa.TOTP_TOLERANCE), (30, 0)),
    "no code opens everything": (mfa.TOTP_INSECURE_BYPASS_CODE, None),
    "no browser is spared its second factor": (mfa.TRUST_ENABLED, False),
    "an address is proved first": (str(account.EMAIL_VERIFICATION.value), "mandatory"),
    "by a code, which no other program follows as a link": (account.EMAIL_VERIFICATION_BY_CODE_ENABLED, True),
    "that lives ten minutes (ASVS 6.5.5)": (account.EMAIL_VERIFICATION_BY_CODE_TIMEOUT, 600),
    "as does one to sign in": (account.LOGIN_BY_CODE_TIMEOUT, 600),
    "and one to choose a password": (account.PASSWORD_RESET_BY_CODE_TIMEOUT, 600),
    "each for three tries": (
        (
            account.EMAIL_VERIFICATION_BY_CODE_MAX_ATTEMPTS,
            account.LOGIN_BY_CODE_MAX_ATTEMPTS,
            account.PASSWORD_RESET_BY_CODE_MAX_ATTEMPTS,
        ),
        (3, 3, 3),
    ),
    "no form tells who has an account": (account.PREVENT_ENUMERATION, "strict"),
    "what gives rights away asks for a proof": (account.REAUTHENTICATION_REQUIRED, True),
    "that is five minutes old at most": (account.REAUTHENTICATION_TIMEOUT, 300),
    "people hear of changes of how they sign in (ASVS 6.3.7)": (account.EMAIL_NOTIFICATIONS, True),
    "no picture signs anybody out": (account.LOGOUT_ON_GET, False),
    "sessions say when they were last used": (usersessions.TRACK_ACTIVITY, True),
    "one network of IPv6 is one address": (allauth.RATE_LIMIT_IPV6_PREFIX, 64),
}


@pytest.mark.parametrize("why", PINNED)
def test_a_setting_is_as_it_must_be(why: str):
    found, expected = PINNED[why]

    assert found == expected


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        # Failed sign-ins, by password and by a code of an app: from one address, and at one account from wherever.
        ("login_failed", [(10, 60, "ip"), (5, 300, "key")]),
        ("login", [(30, 60, "ip")]),
        ("signup", [(20, 60, "ip")]),
        ("request_login_code", [(20, 60, "ip"), (3, 60, "key")]),
        ("reset_password", [(20, 60, "ip"), (5, 60, "key")]),
        ("reauthenticate", [(10, 60, "user")]),
    ],
)
@pytest.mark.asvs("6.3.1")
def test_tries_are_limited(action: str, expected: list[tuple[int, int, str]]):
    limits = [(rate.amount, rate.duration, rate.per) for rate in parse_rates(account.RATE_LIMITS[action])]

    assert limits == expected


def test_limits_and_used_codes_are_remembered_by_all_processes_together():
    assert portal.CACHES["default"]["BACKEND"] == "django.core.cache.backends.redis.RedisCache"


def test_stored_factors_are_sealed_by_us_and_the_library_asks_us():
    assert type(get_mfa_adapter()) is MFAAdapter
    assert type(get_adapter()) is AccountAdapter
    # Its pages of sessions and of passkeys say how long ago something was.
    assert "django.contrib.humanize" in settings.INSTALLED_APPS


def test_a_passkey_answers_to_any_origin_in_development_only():
    assert portal.MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN is portal.DEVELOPMENT


def test_addresses_of_proxies_are_believed_where_there_are_some_only():
    assert allauth.TRUSTED_PROXY_COUNT == 0
