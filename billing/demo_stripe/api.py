"""One request to Stripe's API from end to end: who asks, what is kept for its key, what it takes, what it answers."""

import base64
import binascii
import re
import secrets
import time
import traceback
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta

from billing.demo_stripe import movements
from billing.demo_stripe.account import Account, copy_of
from billing.demo_stripe.calls import Call, Handler, LaterVerbs, Routes
from billing.demo_stripe.expansion import expand
from billing.demo_stripe.faults import Faults, answer_of
from billing.demo_stripe.forms import read_form
from billing.demo_stripe.handlers import (
    balance,
    catalog,
    checkout,
    customers,
    disputes,
    notices,
    payment_intents,
    payment_methods,
    payment_pages,
    portal,
    refunds,
    setup_intents,
    tax,
)
from billing.demo_stripe.idempotency import Kept, Keys, fingerprint_of
from billing.demo_stripe.refusals import Body, Refused
from billing.demo_stripe.spec.endpoints import find_endpoint
from billing.demo_stripe.spec.requests import read_parameters
from billing.demo_stripe.spec.shapes import Shape
from billing.demo_stripe.spec.source import api_version
from billing.demo_stripe.web import Answer, Request, json_answer

_NOUNS = (
    balance,
    catalog,
    checkout,
    customers,
    disputes,
    notices,
    payment_intents,
    payment_methods,
    portal,
    refunds,
    setup_intents,
    tax,
)
ROUTES: Routes = {address: route for noun in _NOUNS for address, route in noun.ROUTES.items()}
LATER: LaterVerbs = {
    verb: action
    for noun in (balance, checkout, customers, disputes, movements, refunds)
    for verb, action in noun.LATER.items()
}

_TEST_KEY = re.compile(r"[sr]k_test_[\w-]+")
_OURS = ("not_implemented_in_double",)


@dataclass(frozen=True, slots=True)
class _Work:
    """A request that was read: what answers it, what it expands, and what its answer is held to."""

    handler: Handler
    call: Call
    paths: list[str]
    answers: Shape | None
    place: str


@dataclass(slots=True)
class Api:
    """key: the only secret key that is let in; without one, every test key is."""

    account: Account
    key: str = ""
    keys: Keys = field(default_factory=Keys)
    faults: Faults = field(default_factory=Faults)
    asked: deque[Body] = field(default_factory=lambda: deque(maxlen=10_000))

    def __post_init__(self) -> None:
        self.account.verbs |= LATER

    def reset(self) -> None:
        self.keys.reset()
        self.faults.coming.clear()
        self.asked.clear()

    def answer(self, request: Request) -> Answer:
        """Answer a request; whatever comes is answered, with Stripe's form of an error if need be."""
        request_id = f"req_{secrets.token_hex(8)}"
        headers = {"Request-Id": request_id, "Stripe-Version": request.headers.get("stripe-version", api_version())}
        key = request.headers.get("idempotency-key") if request.method == "post" else None
        if key:
            headers["Idempotency-Key"] = key
        fault = self.faults.next_for(request.method, request.path)
        if fault and fault.milliseconds:
            time.sleep(timedelta(milliseconds=fault.milliseconds).total_seconds())
        try:
            if fault and not fault.after:
                status, body = answer_of(fault) if fault.kind != "drop" else (0, {})
            else:
                self._check_caller(request)
                with self.keys.held(key), self.account.lock:
                    status, body, is_replay = self._once(request, key, request_id)
                    if fault and fault.kind != "drop":
                        status, body = answer_of(fault)
                        self.keys.keep(key, Kept(_fingerprint(request), status, body, self.account.now()))
                    elif fault:
                        status = 0
                if is_replay:
                    headers["Idempotent-Replayed"] = "true"
        except Refused as refused:
            status, body = refused.status, refused.body
        self.asked.append({"method": request.method, "path": request.path, "key": key, "status": status})
        return json_answer(status, body, headers) if status else Answer(0)

    def _check_caller(self, request: Request) -> None:
        given = _key_of(request)
        if not _TEST_KEY.fullmatch(given) or (self.key and not secrets.compare_digest(given, self.key)):
            raise Refused("Invalid API key: a demonstration takes its test key only.", status=401)
        version = request.headers.get("stripe-version")
        if version not in (None, api_version()):
            raise Refused(
                f"The double speaks {api_version()} only, the version of the installed library.",
                status=501,
                code=_OURS[0],
            )

    def _once(self, request: Request, key: str | None, request_id: str) -> tuple[int, Body, bool]:
        """Return status, body, and whether they were kept from before."""
        self.account.advance(0)
        fingerprint = _fingerprint(request)
        kept = self.keys.find(key, fingerprint, self.account.now())
        if kept:
            return kept.status, kept.body, True
        work = self._read(request)
        try:
            with self.account.one_request(request_id, key):
                status, body = 200, self._do(work)
        except Refused as refused:
            status, body = refused.status, refused.body
            self._hold_to_codes(body)
        except Exception:
            # A defect of the double, which must not pass for an answer of Stripe's.
            self.account.drift.append(f"{request.method} {request.path}: {traceback.format_exc()}")
            raise Refused("The double failed; see its drift.", status=500, kind="api_error") from None
        self.keys.keep(key, Kept(fingerprint, status, body, self.account.now()))
        return status, body, False

    def _read(self, request: Request) -> _Work:
        form = read_form(request.body.decode(errors="replace") if request.method == "post" else request.query)
        found = find_endpoint(request.method, request.path)
        if found is None:
            return self._read_own_page(request, form)
        endpoint = found.endpoint
        route = ROUTES.get((endpoint.method, endpoint.path))
        if route is None:
            raise _not_here(f"{endpoint.method.upper()} {endpoint.path}")
        is_current = "stripe-version" in request.headers
        if not is_current and "payment_method_types" in form:
            # The name of older versions, which callers without a version speak.
            form["allowed_payment_method_types"] = form.pop("payment_method_types")
        given = read_parameters(endpoint, form)
        paths = given.pop("expand", [])
        for name in given:
            if name not in route.takes:
                raise _not_here(f"the parameter {name} of {endpoint.path}", name)
        call = Call(self.account, request.path, found.ids, given, is_current)
        return _Work(route.handler, call, paths, endpoint.answers, f"{endpoint.method} {endpoint.path}")

    def _read_own_page(self, request: Request, form: Body) -> _Work:
        own = payment_pages.find_handler(request.method, request.path)
        if own is None:
            raise Refused(
                f"Unrecognized request URL ({request.method.upper()}: {request.path}).", status=404, code="url_invalid"
            )
        handler, ids = own
        return _Work(handler, Call(self.account, request.path, ids, form), [], None, "")

    def _do(self, work: _Work) -> Body:
        body = copy_of(work.handler(work.call))
        expand(self.account, body, work.paths)
        if work.answers is not None:
            self.account.hold_to(work.answers, body, work.place)
        return body

    def _hold_to_codes(self, body: Body) -> None:
        code = body["error"].get("code")
        if code is not None and code not in _OURS:
            self.account.hold_code(code)


def _fingerprint(request: Request) -> str:
    return fingerprint_of(request.method, request.path, request.body)


def _key_of(request: Request) -> str:
    """Return the secret key, which comes as a token or as the name of basic authentication."""
    given = request.headers.get("authorization", "")
    if given.startswith("Basic "):
        try:
            return base64.b64decode(given[6:], validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return given.removeprefix("Bearer ")


def _not_here(what: str, param: str | None = None) -> Refused:
    return Refused(
        f"Stripe has {what}, and the double has not.", status=501, kind="api_error", code=_OURS[0], param=param
    )
