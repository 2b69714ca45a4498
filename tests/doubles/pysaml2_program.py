"""A SAML identity provider of pysaml2 and xmlsec1: `python3 pysaml2_program.py '<json>'`, until it is ended.

It runs by the system's Python, where Debian's python3-pysaml2 is, and imports nothing of ours. The JSON says: port,
host, key and cert (files), sp (metadata of whoever it answers, as a file that may come later), signs, people (subject
and mail).
"""

import html
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
from saml2.authn_context import PASSWORD
from saml2.config import IdPConfig
from saml2.metadata import create_metadata_string
from saml2.saml import NAMEID_FORMAT_PERSISTENT, NAMEID_FORMAT_TRANSIENT, NameID
from saml2.server import Server
from saml2.xmldsig import DIGEST_SHA1, DIGEST_SHA256, SIG_RSA_SHA1, SIG_RSA_SHA256

GIVEN = json.loads(sys.argv[1])
BASE = f"http://{GIVEN['host']}:{GIVEN['port']}"


def configuration(with_partner):
    return {
        "entityid": f"{BASE}/metadata",
        "key_file": GIVEN["key"],
        "cert_file": GIVEN["cert"],
        "metadata": {"local": [GIVEN["sp"]]} if with_partner else {},
        "service": {
            "idp": {
                "endpoints": {"single_sign_on_service": [(f"{BASE}/sign-in", BINDING_HTTP_REDIRECT)]},
                "name_id_format": [NAMEID_FORMAT_PERSISTENT],
                "sign_assertion": "Assertion" in GIVEN["signs"],
                "sign_response": "Response" in GIVEN["signs"],
                "policy": {"default": {"lifetime": {"minutes": 5}, "attribute_restrictions": None}},
            }
        },
    }


def provider():
    """Return the provider with the partner whose metadata has been written by now."""
    made = IdPConfig()
    made.load(configuration(with_partner=True))
    return Server(config=made)


def answer(query):
    server = provider()
    request = server.parse_authn_request(query["SAMLRequest"][0], BINDING_HTTP_REDIRECT).message
    where = server.response_args(request)
    person = GIVEN["people"][query["person"][0]]
    is_transient = "transient" in query
    response = server.create_authn_response(
        identity={"mail": [person["mail"]]},
        in_response_to=where["in_response_to"],
        destination=where["destination"],
        sp_entity_id=where["sp_entity_id"],
        name_id=NameID(
            format=NAMEID_FORMAT_TRANSIENT if is_transient else NAMEID_FORMAT_PERSISTENT,
            sp_name_qualifier=where["sp_entity_id"],
            text=person["subject"],
        ),
        authn={"class_ref": PASSWORD, "authn_auth": BASE},
        sign_assertion="Assertion" in GIVEN["signs"],
        sign_response="Response" in GIVEN["signs"],
        sign_alg=SIG_RSA_SHA1 if "sha1" in query else SIG_RSA_SHA256,
        digest_alg=DIGEST_SHA1 if "sha1" in query else DIGEST_SHA256,
    )
    packed = server.apply_binding(
        BINDING_HTTP_POST, str(response), where["destination"], query["RelayState"][0], response=True
    )
    return packed["data"]


def choices(query):
    kept = "&".join(f"{name}={quote(query[name][0], safe='')}" for name in ("SAMLRequest", "RelayState"))
    links = "".join(
        f'<p><a href="/answer?person={name}&amp;{html.escape(kept)}">Sign in as {name}</a></p>'
        for name in GIVEN["people"]
    )
    return f"<!doctype html><title>Provider</title><h1>Who are you?</h1>{links}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if parts.path == "/metadata":
            made = IdPConfig()
            made.load(configuration(with_partner=False))
            text = create_metadata_string(None, made)
        elif parts.path == "/sign-in":
            text = choices(query)
        elif parts.path == "/answer":
            text = answer(query)
        else:
            self.send_error(404)
            return
        body = text if isinstance(text, bytes) else str(text).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", GIVEN["port"]), Handler).serve_forever()
