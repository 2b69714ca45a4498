"""The console's streams: by session and CSRF token, through the same budget and metering as programs."""

import json
from collections.abc import Mapping
from decimal import Decimal

import httpx2 as httpx
import pytest
from django.conf import settings
from django.test import Client

from accounts.models import Role, User
from billing.models import Reservation, UsageEvent
from inference.models import Receipt
from tests.factories.accounts import make_membership, make_user
from tests.inference.conftest import ServedGateway, wait_until

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
TOKEN = "t" * 32
ASKED = {"model": "demo-chat", "prompt": "Hello there", "max_tokens": 12}


@pytest.fixture
def started(gateway: ServedGateway) -> ServedGateway:
    gateway.start()
    return gateway


def run(
    gateway: ServedGateway,
    user: User | None = None,
    *,
    asked: object = ASKED,
    content: bytes | None = None,
    headers: Mapping[str, str | None] | None = None,
) -> httpx.Response:
    """Post as a page does. headers: what to send otherwise; None leaves one away."""
    browser = Client()
    cookies = {settings.CSRF_COOKIE_NAME: TOKEN}
    if user is not None:
        browser.force_login(user, backend=BACKEND)
        cookies[settings.SESSION_COOKIE_NAME] = browser.cookies[settings.SESSION_COOKIE_NAME].value
    lines = {"x-csrftoken": TOKEN, "host": "localhost", "content-type": "application/json"}
    return httpx.post(
        f"{gateway.url}/o/{gateway.organization.slug}/stream/playground",
        content=json.dumps(asked).encode() if content is None else content,
        cookies=cookies,
        headers={name: value for name, value in (lines | dict(headers or {})).items() if value is not None},
        timeout=10,
    )


def events_of(answer: httpx.Response) -> list[tuple[str, dict[str, object]]]:
    pairs = [event.split("\n") for event in answer.text.split("\n\n") if event]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in pairs]


def refusal_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def assert_nothing_happened(gateway: ServedGateway) -> None:
    gateway.stop()
    assert not Receipt.objects.exists()
    assert not UsageEvent.objects.exists()
    assert not Reservation.objects.exists()


def test_streams_text_and_says_what_it_cost(started: ServedGateway):
    answer = run(started, started.owner)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    *deltas, (last, done) = events_of(answer)
    assert "".join(str(data["text"]) for _, data in deltas).startswith("This is a demo")
    assert {name for name, _ in deltas} == {"delta"}
    assert (last, done["status"], done["finish_reason"]) == ("done", "completed", "length")
    wait_until(Receipt.objects.exists)
    receipt = Receipt.objects.get()
    assert (receipt.user, receipt.api_key, receipt.project) == (started.owner, None, started.project)
    assert done["request_id"] == answer.headers["x-request-id"] == receipt.request_id
    assert done["usage"] == {
        "input_tokens": receipt.input_tokens,
        "cached_input_tokens": receipt.cached_input_tokens,
        "output_tokens": 12,
    }
    # A dollar per million tokens of either kind.
    assert Decimal(str(done["cost"])) == receipt.cost_usd == Decimal(receipt.input_tokens + 12) / 1_000_000


def test_bills_a_run_exactly_once(started: ServedGateway):
    for _ in range(2):
        run(started, started.owner)
    started.stop()

    receipts = Receipt.objects.all()
    assert len(receipts) == 2
    assert UsageEvent.objects.count() == 4
    assert Decimal(started.cap.settled_nano).scaleb(-9) == sum(receipt.cost_usd for receipt in receipts)
    assert started.cap.reserved_nano == 0


def test_takes_a_form_as_it_takes_json(started: ServedGateway):
    answer = run(
        started,
        started.owner,
        content=b"model=demo-chat&prompt=Hello+there&max_tokens=12",
        headers={"content-type": "application/x-www-form-urlencoded"},
    )

    assert events_of(answer)[-1][1]["usage"] == events_of(run(started, started.owner))[-1][1]["usage"]


def test_asks_a_visitor_to_sign_in(started: ServedGateway):
    assert refusal_of(run(started)) == (401, "signed_out")

    assert_nothing_happened(started)


def test_hides_the_stream_from_strangers(started: ServedGateway):
    stranger = make_user("stranger@example.com")

    assert refusal_of(run(started, stranger)) == (404, "unknown_url")

    assert_nothing_happened(started)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.BILLING])
def test_refuses_members_who_may_not_call_models(started: ServedGateway, role: Role):
    member = make_membership(started.organization, make_user("member@example.com"), role).user

    assert refusal_of(run(started, member)) == (403, "forbidden")

    assert_nothing_happened(started)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-csrftoken": None},
        {"x-csrftoken": "x" * 32},
        {"origin": "http://elsewhere.example"},
        {"origin": "null"},
        {"origin": "https://localhost"},
    ],
)
def test_refuses_requests_that_another_site_could_have_sent(started: ServedGateway, headers: dict[str, str | None]):
    assert refusal_of(run(started, started.owner, headers=headers)) == (403, "csrf_failed")

    assert_nothing_happened(started)


def test_takes_requests_of_its_own_origin(started: ServedGateway):
    assert run(started, started.owner, headers={"origin": "http://localhost"}).status_code == 200


def test_refuses_a_host_that_is_not_ours(started: ServedGateway):
    answer = run(started, started.owner, headers={"host": "elsewhere.example", "origin": "http://elsewhere.example"})

    assert refusal_of(answer) == (403, "csrf_failed")
    assert_nothing_happened(started)


@pytest.mark.parametrize(
    ("content", "status", "code", "sentence"),
    [
        (b"{", 400, "invalid_json", "The body is not valid JSON."),
        (b"\xff\xfe", 400, "invalid_json", "The body is not valid JSON."),
        (b"[" * 100_000, 400, "invalid_json", "The body is not valid JSON."),
        (b'{"model": "demo-chat"}', 400, None, "prompt is required."),
        (b'{"prompt": "x"}', 400, None, "model: Expected `str`, got `null`."),
        (b'{"model": "demo-chat", "prompt": 7}', 400, None, "messages: Expected `str | array | null`, got `int`."),
        (
            b'{"model": "demo-chat", "prompt": "x", "max_tokens": "%s"}' % (b"9" * 5_000),
            400,
            None,
            "max_tokens: Expected `int | null`, got `str`.",
        ),
        (
            b'{"model": "no-such", "prompt": "x"}',
            404,
            "model_not_found",
            "There is no such model. GET /v1/models lists them.",
        ),
    ],
)
def test_says_in_a_sentence_what_is_wrong_with_a_body(
    started: ServedGateway, content: bytes, status: int, code: str | None, sentence: str
):
    answer = run(started, started.owner, content=content)

    assert refusal_of(answer) == (status, code)
    assert answer.json()["error"]["message"] == sentence
    assert_nothing_happened(started)


def test_answers_other_names_and_methods_without_touching_anything(started: ServedGateway):
    address = f"{started.url}/o/{started.organization.slug}/stream"

    assert refusal_of(httpx.post(f"{address}/nothing")) == (404, "unknown_url")
    assert refusal_of(httpx.get(f"{address}/playground")) == (405, "method_not_allowed")
    assert_nothing_happened(started)


def test_refuses_with_402_when_the_credit_is_used_up(gateway: ServedGateway):
    gateway.set_cap(1_000)
    gateway.start()

    assert refusal_of(run(gateway, gateway.owner)) == (402, "budget_exceeded")

    assert_nothing_happened(gateway)
