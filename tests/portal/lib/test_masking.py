"""Secrets are told from other words by their shape or by what stands before them."""

import json

import pytest

from portal.lib.key_format import KeyKind, new_secret
from portal.lib.masking import masked
from portal.lib.webhook_signing import new_signing_secret

WORD = "aB3-xY9_zz00"


@pytest.mark.parametrize("kind", KeyKind)
def test_masks_every_kind_of_key_wherever_it_stands(kind: KeyKind):
    key = new_secret("hr", kind)
    start = f"hr_{kind.value}_"

    for text in ("{}", "/api/v1/keys/{}/rotate", "Bearer-{}.", "'{}'", '"{}\\n"', "({})"):
        assert masked(text.format(key)) == text.format(f"{start}***")
    assert key[-20:].lower() not in masked(key.upper()).lower()
    assert masked(key[:-12]) == f"{start}***", "one that was cut short"


def test_masks_signing_secrets():
    assert masked(f"secret {new_signing_secret()}\n") == "secret whsec_***\n"
    assert masked("whsec_ab%2Bcd%2F") == "whsec_***"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"Authorization: Bearer {WORD}", "Authorization: Bearer ***"),
        (f"'authorization': 'BASIC {WORD}=='}}", "'authorization': 'BASIC ***'}"),
        (f"(b'authorization', b'bearer  {WORD}')", "(b'authorization', b'bearer  ***')"),
        (f"/x/Bearer%20{WORD}", "/x/Bearer%20***"),
        (f"Cookie: session={WORD}; __Host-csrf={WORD}; a=b", "Cookie: session=***; __Host-csrf=***; a=b"),
        (f"{{'__Host-session': '{WORD}', 'a': 'b'}}", "{'__Host-session': '***', 'a': 'b'}"),
        (f"?csrfmiddlewaretoken={WORD}&a=b", "?csrfmiddlewaretoken=***&a=b"),
        (f'"password": "{WORD}",', '"password": "***",'),
        (f"client_secret={WORD}&id_token={WORD}", "client_secret=***&id_token=***"),
        (f"access_token: {WORD}", "access_token: ***"),
        (f"session%3D{WORD}", "session%3D***"),
        (f'name="password"\r\n\r\n{WORD}\r\n--', 'name="password"\r\n\r\n***\r\n--'),
        (f"GET /invitations/{WORD}/ 500", "GET /invitations/***/ 500"),
        (f"/invitations/{WORD}", "/invitations/***"),
        (f"?next=%2Finvitations%2F{WORD}%2F", "?next=%2Finvitations%2F***%2F"),
    ],
)
def test_masks_what_follows_a_name_and_nothing_else(text: str, left: str):
    assert masked(text) == left
    assert json.loads(masked(json.dumps({"text": f"\n{text} é"}))) == {"text": f"\n{left} é"}


@pytest.mark.parametrize(
    "text",
    [
        '{"event": "portal.session.unreadable", "reason": "x", "session_count": 3}',
        "/o/acme/invitations/invite_8fQ2abcdefghijklmnop/resend/",
        "/o/acme/invitations/",
        "The password must have 12 letters.",
        "key_8fQ2abcdefghijklmnop",
        "tests/test_live_updates.py",
        "csrf_failed",
    ],
)
def test_leaves_other_words_alone(text: str):
    assert masked(text) == text


def test_a_masked_line_of_json_is_one_still():
    words = ['Bearer longé"b\\c', "Bearer \\", 'session="\\', "password: '\\u00e9longer\"x", "whsec_\\", "bearer \n\t"]

    line = masked(json.dumps({"text": words, **dict.fromkeys(words, 1)}))

    assert "***" in line
    assert json.loads(line)
