"""Signatures as the Standard Webhooks convention has them."""

import base64
from datetime import UTC, datetime

from portal.lib.webhook_signing import new_signing_secret, signature_headers

# The example that the convention's own documentation is checked with.
SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"
MESSAGE_ID = "msg_loFOjxBNrRLzqYUf"
AT = datetime.fromtimestamp(1731705121, UTC)
BODY = b'{"event_type":"ping","data":{"success":true}}'
SIGNATURE = "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="


def test_signs_the_example_of_the_convention():
    assert signature_headers(message_id=MESSAGE_ID, at=AT, body=BODY, signing_secrets=[SECRET]) == {
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": "1731705121",
        "webhook-signature": SIGNATURE,
    }


def test_each_secret_signs_by_itself():
    other = new_signing_secret()
    alone = signature_headers(message_id=MESSAGE_ID, at=AT, body=BODY, signing_secrets=[other])["webhook-signature"]

    both = signature_headers(message_id=MESSAGE_ID, at=AT, body=BODY, signing_secrets=[other, SECRET])

    assert both["webhook-signature"].split(" ") == [alone, SIGNATURE]


def test_a_secret_has_256_bits_and_is_no_other():
    made = {new_signing_secret() for _ in range(100)}

    assert len(made) == 100
    assert all(one.startswith("whsec_") and len(base64.b64decode(one[6:])) == 32 for one in made)
