"""P10: what people ask and what models answer is in no table, log, cache, queue or file."""

import json
import time
from pathlib import Path

import httpx2 as httpx
import pytest
import redis
from psycopg import sql

from dev.paths import VAR
from inference.models import Receipt
from tests.inference.conftest import ServedGateway, wait_until
from tests.own_database import SUPERUSER, OwnDatabase

CANARY = "canary-7f3a9c51-in-the-coal-mine"


def everything_in(own: OwnDatabase) -> str:
    """Return every row of every table as text."""
    with own.connect(SUPERUSER) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        rows = [
            row
            for (table,) in tables
            for (row,) in connection.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(table)))
        ]
    return "\n".join(rows)


def everything_cached(own: OwnDatabase) -> str:
    """Return every key and value of the cache and of the queues, which share it."""
    readers = {
        b"string": lambda store, key: store.get(key),
        b"list": lambda store, key: store.lrange(key, 0, -1),
        b"set": lambda store, key: store.smembers(key),
        b"zset": lambda store, key: store.zrange(key, 0, -1),
        b"hash": lambda store, key: store.hgetall(key),
        b"stream": lambda store, key: store.xrange(key),
    }
    with redis.Redis.from_url(own.valkey.url(own.redis_database)) as store:
        return "\n".join(f"{key} {readers[store.type(key)](store, key)}" for key in store.scan_iter())


def files_that_hold(texts: list[str], *, since: float) -> list[Path]:
    """Return the files of this checkout's services, databases included, that were written lately and hold a text."""
    found = []
    for folder, _, names in VAR.walk():
        for name in names:
            path = folder / name
            try:
                if path.stat().st_mtime < since or not path.is_file():
                    continue
                content = path.read_bytes()
            except OSError:
                # Databases drop files at any time.
                continue
            if any(text.encode() in content for text in texts):
                found.append(path)
    return found


CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"


def asked_of(model: str) -> list[tuple[str, str, bool]]:
    """Return paths with bodies that hold the canary, and whether they can be served."""
    said = {"model": model, "messages": [{"role": "user", "content": CANARY}], "max_tokens": 50}
    item = {"model": model, "input": CANARY, "max_output_tokens": 50, "instructions": CANARY}
    block = {"type": CANARY, "text": CANARY}
    asked: list[tuple[str, str, bool]] = []
    for path, body, unserved in (
        # Refused in many ways: an error must not repeat what it is about.
        (CHAT, said, {"max_tokens": CANARY}),
        (RESPONSES, item, {"input": [block]}),
        (RESPONSES, item, {"tools": [block], "text": {"format": {"type": CANARY}}}),
        (MESSAGES, said, {"messages": [{"role": CANARY, "content": CANARY}]}),
        (MESSAGES, said, {"messages": [{"role": "user", "content": [block]}], "tools": [block]}),
    ):
        text = json.dumps(body)
        served = [text, json.dumps(body | {"stream": True}), json.dumps(body | {"temperature": CANARY, "user": CANARY})]
        refused = [json.dumps(body | unserved), json.dumps(body | {"model": CANARY}), text[:-1], text + CANARY]
        asked += [(path, content, True) for content in served] + [(path, content, False) for content in refused]
    return list(dict.fromkeys(asked))


@pytest.mark.parametrize("model", ["demo-chat", "broken", "cut", "silent"])
def test_keeps_neither_prompt_nor_answer(
    gateway: ServedGateway, own_database: OwnDatabase, caplog: pytest.LogCaptureFixture, model: str
):
    caplog.set_level("DEBUG")
    started = time.time() - 1
    gateway.faulty_model("broken", "status=500", gateway.deployment.base_url)
    gateway.faulty_model("cut", "cut=30", gateway.deployment.base_url)
    gateway.faulty_model("silent", "silent", gateway.deployment.base_url)
    gateway.start()
    asked = asked_of(model)

    with httpx.Client(base_url=gateway.url, headers={"authorization": f"Bearer {gateway.key.secret}"}) as client:
        answers = [
            client.post(path, content=content, headers={"idempotency-key": f"try-{number}"})
            for number, (path, content, _) in enumerate(asked)
        ]
    wait_until(Receipt.objects.exists)
    gateway.stop()

    refused = [answer for answer, (_, _, is_served) in zip(answers, asked, strict=True) if not is_served]
    assert {answer.status_code for answer in answers if answer not in refused} <= {200, 503}
    assert {answer.status_code for answer in refused} == {400, 404}
    assert not any(CANARY in answer.text for answer in refused)
    secrets = [CANARY, gateway.key.secret]
    if answers[0].status_code == 200:
        secrets.append(answers[0].json()["choices"][0]["message"]["content"][:40])
    kept = "\n".join([everything_in(own_database), everything_cached(own_database), caplog.text])
    assert "req_" in kept
    assert not [secret for secret in secrets if secret in kept]
    assert not files_that_hold(secrets, since=started)
