"""Two organizations ask models at the same time, each with a word of its own: no answer holds the other's (T3)."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx2 as httpx
from django.conf import settings

from billing.models import SpendCap
from inference.models import Receipt
from tests.browser import session_of
from tests.factories.accounts import make_key, make_organization, make_user
from tests.filling import fill
from tests.inference.conftest import ServedGateway

WORDS = ("kestrel", "wagtail")
ROUNDS = 3
TOKEN = "t" * 32
PIECE = re.compile(r'"(?:text|content)":\s?"((?:[^"\\]|\\.)*)"')
# The answer repeats the last word of its question: in the playground, and as a program streamed, and whole as it came
# and as its one piece; so do responses and messages.
WHERE_READ = 8


def test_no_answer_of_a_model_says_a_word_of_the_other_organization(gateway: ServedGateway):
    theirs = make_organization("wagtail", owner=(their_owner := make_user("wagtail@example.com")))
    sides = {}
    for word, organization, owner in zip(
        WORDS, (gateway.organization, theirs), (gateway.owner, their_owner), strict=True
    ):
        fill(organization, owner, word)
        SpendCap.objects.of_organization(organization.pk).update(limit_nano=10**12)
        key = make_key(organization.projects.in_order()[0], now=datetime.now(UTC)).secret
        sides[word] = (organization.slug, session_of(owner), key)
    gateway.start()

    def ask(word: str, number: int) -> str:
        slug, session, key = sides[word]
        prompt = f"Whose word is {word}"
        cookie = f"{settings.CSRF_COOKIE_NAME}={TOKEN}; {settings.SESSION_COOKIE_NAME}={session}"
        bearer, once = {"authorization": f"Bearer {key}"}, {"idempotency-key": f"the-same-in-both-{number}"}
        chat = {"model": "demo-chat", "messages": [{"role": "user", "content": prompt}]}
        asked = {"model": "demo-chat", "input": prompt}
        with httpx.Client(base_url=gateway.url, timeout=30) as client:
            answers = [
                client.post(
                    f"/o/{slug}/stream/playground",
                    json={"model": "demo-chat", "prompt": prompt},
                    headers={"host": "localhost", "x-csrftoken": TOKEN, "cookie": cookie},
                ),
                client.post("/v1/chat/completions", json=chat, headers=bearer | once),
                client.post("/v1/chat/completions", json=chat | {"stream": True}, headers=bearer),
                client.post("/v1/chat/completions", json=chat | {"model": "none-such"}, headers=bearer),
                client.post("/v1/responses", json=asked, headers=bearer),
                client.post("/v1/messages", json=chat | {"max_tokens": 90}, headers={"x-api-key": key}),
                client.get("/v1/models", headers=bearer),
            ]
        return "\n".join(whole(answer) for answer in answers)

    with ThreadPoolExecutor(len(WORDS)) as pool:
        rounds = [list(pool.map(ask, WORDS, [number] * len(WORDS))) for number in range(ROUNDS)]
    gateway.stop()

    for said in rounds:
        for word, other, text in zip(WORDS, reversed(WORDS), said, strict=True):
            assert text.count(f'"{word}"') == WHERE_READ
            assert other not in text
    assert Receipt.objects.filter(organization=theirs).exists()


def whole(answer: httpx.Response) -> str:
    """Return an answer with what was streamed as one text: a word comes in pieces."""
    pieces = [piece[1] for piece in PIECE.finditer(answer.text)]
    return f"{answer.headers}\n{answer.text}\n{''.join(pieces)}".replace('\\"', '"')
