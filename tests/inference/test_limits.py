"""Limits hold over all processes, for key, project and organization; and nothing stops when Valkey is away."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import redis
from django.conf import settings
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from accounts.models import Rates
from dev.services import Valkey
from inference.gateway import counters
from inference.gateway.counters import Ask, LocalCounters, SharedCounters
from inference.gateway.errors import ApiError
from inference.gateway.limits import Limits, Subject
from tests.inference.conftest import ServedGateway, wait_until

HELLO = [{"role": "user", "content": "Hello"}]
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def own_counts() -> Iterator[None]:
    with redis.Redis.from_url(settings.REDIS_URL) as store:
        store.flushdb()
        yield


def subject(name: str = "key_a", scope: str = "key", **rates: int) -> Subject:
    return Subject(scope, name, Rates(**rates))


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


@asynccontextmanager
async def processes(count: int, url: str = ""):
    """As many gateways' limits as processes would have."""
    limits = [Limits(SharedCounters(url or settings.REDIS_URL, f"process_{number}")) for number in range(count)]
    for each in limits:
        await each.tend()
    yield limits
    for each in limits:
        await each.close()


async def admitted(limits: Limits, who: Subject, times: int) -> int:
    """Ask so often at once, and return how many requests were let in; none of them ends."""
    answers = await asyncio.gather(*(limits.admit([who]) for _ in range(times)), return_exceptions=True)
    refusals = [answer for answer in answers if isinstance(answer, BaseException)]
    assert all(isinstance(refusal, ApiError) and refusal.status == 429 for refusal in refusals), refusals
    return times - len(refusals)


# --- The law, in Lua and in Python -------------------------------------------------------------------

ASKS = st.lists(
    st.builds(
        Ask,
        name=st.sampled_from(["one", "two"]),
        rates=st.just(Rates()),
        requests=st.integers(0, 30),
        returned=st.integers(0, 5),
        tokens=st.integers(0, 400),
        running=st.integers(0, 6),
        at_once=st.integers(0, 6),
        wants_portion=st.booleans(),
    ),
    max_size=25,
)
# So slow that nothing whole comes back during a test.
RATES = st.builds(
    Rates,
    requests_per_minute=st.none() | st.integers(1, 60),
    tokens_per_minute=st.none() | st.integers(1, 60),
    concurrent_requests=st.none() | st.integers(1, 40),
)


@examples(max_examples=60, deadline=None)
@given(ASKS, RATES, st.lists(st.integers(0, 2), min_size=25, max_size=25))
def test_the_law_is_the_same_in_lua_and_in_python(asks: list[Ask], rates: Rates, whose: list[int]):
    async def compare() -> None:
        with redis.Redis.from_url(settings.REDIS_URL) as store:
            store.flushdb()
        shared = [SharedCounters(settings.REDIS_URL, f"process_{number}") for number in range(3)]
        alone = LocalCounters()
        for ask, process in zip(asks, whose, strict=False):
            at_once = max(ask.at_once, ask.running)
            asked = Ask(
                ask.name, rates, ask.requests, ask.returned, ask.tokens, ask.running, at_once, ask.wants_portion
            )
            [one] = await shared[process].exchange([asked])
            other = alone.judge(asked, f"process_{process}")
            assert (one.requests, one.at_once) == (other.requests, other.at_once)
            assert one.requests_left == pytest.approx(other.requests_left, abs=0.5)
            assert one.tokens_left == pytest.approx(other.tokens_left, abs=0.5)
        for each in shared:
            await each.close()

    asyncio.run(compare())


# --- Over all processes ------------------------------------------------------------------------------


def test_several_processes_let_in_exactly_what_one_would():
    async def flood() -> None:
        who = subject(requests_per_minute=100)
        started = time.monotonic()
        async with processes(4) as gateways:
            let_in = sum(await asyncio.gather(*(admitted(each, who, 100) for each in gateways)))
        refilled = math.ceil((time.monotonic() - started) * 100 / 60)
        # What one process holds at the end of a burst is a part of what was left, so that none is lost.
        assert 100 <= let_in <= 100 + refilled

    run(flood)


def test_what_a_process_took_and_does_not_need_comes_back():
    async def take_turns() -> None:
        who = subject(requests_per_minute=1_000)
        async with processes(2) as (first, second):
            await admitted(first, who, 1)
            share = first._shares[who.name]
            assert share.permits > 0
            share.used_at -= 10
            await first.tend()
            await asyncio.wait_for(first._exchange, 5)
            assert share.permits == 0
            assert 999 <= await admitted(second, who, 1_000) <= 1_000

    run(take_turns)


def test_no_more_run_at_once_than_may_and_an_end_lets_the_next_in():
    async def fill() -> None:
        who = subject(concurrent_requests=5)
        async with processes(3) as (first, second, third):
            running = [await first.admit([who]) for _ in range(2)] + [await second.admit([who]) for _ in range(3)]
            assert await admitted(third, who, 1) == 0
            running[0].end()
            running[0].end()
            deadline = time.monotonic() + 5
            while not await admitted(third, who, 1):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
            assert await admitted(first, who, 2) == 0

    run(fill)


def test_what_a_killed_process_ran_is_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(counters, "HELD_SECONDS", 1)

    async def die() -> None:
        who = subject(concurrent_requests=1)
        async with processes(2) as (killed, living):
            await killed.admit([who])
            assert await admitted(living, who, 1) == 0
            deadline = time.monotonic() + 10
            while not await admitted(living, who, 1):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)

    run(die)


def test_tokens_count_when_they_are_known_and_the_next_requests_wait():
    async def spend() -> None:
        who = subject(tokens_per_minute=6_000)
        async with processes(2) as (first, second):
            request = await first.admit([who])
            request.spend_tokens(6_030)
            deadline = time.monotonic() + 5
            while await admitted(second, who, 1):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
            with pytest.raises(ApiError) as refused:
                await first.admit([who])
            assert refused.value.details["limited"] == "tokens_per_minute"
            assert int(refused.value.headers["retry-after"]) >= 1
            # A hundred tokens come back each second.
            while not await admitted(first, who, 1):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)

    run(spend)


def test_the_tightest_of_key_project_and_organization_holds_and_is_named():
    async def refuse() -> None:
        whole = subject("org_a", "organization", requests_per_minute=3)
        async with processes(1) as (limits,):
            for number in range(3):
                await limits.admit([subject(f"key_{number}", requests_per_minute=10), whole])
            with pytest.raises(ApiError) as refused:
                await limits.admit([subject("key_4", requests_per_minute=10), whole])
            assert refused.value.details == {
                "scope": "organization",
                "limit": "3",
                "limited": "requests_per_minute",
            }
            assert "Your organization may send 3 requests per minute" in str(refused.value)
            assert refused.value.headers["x-ratelimit-limit-requests"] == "3"

    run(refuse)


def test_a_higher_limit_holds_at_once():
    async def raise_it() -> None:
        async with processes(1) as (limits,):
            assert await admitted(limits, subject(concurrent_requests=1), 3) == 1
            assert await admitted(limits, subject(concurrent_requests=3), 3) == 2

    run(raise_it)


# --- Without Valkey ------------------------------------------------------------------------------------


def test_without_valkey_each_process_keeps_to_its_share(tmp_path: Path):
    valkey = Valkey(tmp_path)
    valkey.start()

    async def go_on() -> None:
        who = subject(requests_per_minute=100, concurrent_requests=80, tokens_per_minute=1_000)
        async with processes(4, valkey.url()) as gateways:
            for each in gateways:
                await each.tend()
            valkey.stop()
            # Each may run 20 at once of its 25 requests.
            assert [await admitted(each, who, 30) for each in gateways] == [20] * 4

    try:
        run(go_on)
    finally:
        valkey.stop()


def test_a_gateway_that_never_saw_valkey_serves_by_itself():
    async def go_on() -> None:
        async with processes(1, NOWHERE) as (limits,):
            assert 5 <= await admitted(limits, subject(requests_per_minute=5), 20) <= 6

    run(go_on)


# --- Through the gateway -------------------------------------------------------------------------------


def test_a_caller_who_is_too_fast_is_told_so_and_charged_nothing(gateway: ServedGateway):
    gateway.limit(requests_per_minute=2)
    gateway.start()
    client = gateway.client()

    answers = [client.chat.completions.with_raw_response.create(model="demo-chat", messages=HELLO) for _ in range(2)]
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(model="demo-chat", messages=HELLO)

    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0"]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "2"
    assert '"requests";q=2;w=60' in answers[0].headers["ratelimit-policy"]
    error: Any = refused.value.body
    assert (refused.value.code, error["scope"], error["limit"]) == ("rate_limit_exceeded", "key", "2")
    assert "This key may send 2 requests per minute" in error["message"]
    assert 1 <= int(refused.value.response.headers["retry-after"]) <= 31


def test_a_stream_takes_a_place_until_it_ends(stalling: ServedGateway):
    stalling.limit(concurrent_requests=1)
    stalling.start()
    client = stalling.client()

    stream = client.chat.completions.create(model="stalling", messages=HELLO, stream=True)
    next(iter(stream))
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(model="demo-chat", messages=HELLO)
    stream.close()

    def is_free() -> bool:
        try:
            client.chat.completions.create(model="demo-chat", messages=HELLO)
        except openai.RateLimitError:
            return False
        return True

    assert "may have 1 requests running at once" in str(refused.value)
    wait_until(is_free)
