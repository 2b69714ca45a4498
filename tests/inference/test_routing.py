"""Which deployment serves a request, who waits for one, and what the owner takes back."""

import asyncio
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openai
import pytest
import redis
from django.conf import settings

from accounts.services.organizations import pin_project
from catalog.models import Region
from inference.gateway import places as places_module
from inference.gateway.counters import SharedCounters
from inference.gateway.errors import ApiError
from inference.gateway.limits import Limits
from inference.gateway.offers import Upstream, places_of
from inference.gateway.places import Place, Places
from inference.gateway.upstream import DOWN_SECONDS, LONGEST_DOWN_SECONDS, _Health
from inference.models import Deployment, Receipt
from inference.services.offering import offer_deployment
from portal.lib.tenancy import as_platform
from tests.factories.catalog import make_served_model
from tests.inference.conftest import DemoUpstreamProcess, ServedGateway, wait_until

HELLO = [{"role": "user", "content": "Hello"}]
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/algorithms/routing.md"


def upstream(number: int = 1, *, places: int | None = 1) -> Upstream:
    return Upstream(
        id=number,
        public_id=f"dep_{number}",
        base_url="http://127.0.0.1:9",
        upstream_model="demo",
        region_name="somewhere",
        weight=100,
        is_healthy=True,
        has_continuous_usage=False,
        places=places,
    )


@pytest.fixture(autouse=True)
def own_counts() -> Iterator[None]:
    with redis.Redis.from_url(settings.REDIS_URL) as store:
        store.flushdb()
        yield


def with_places(work: Callable[..., Any], *, gateways: int = 1) -> None:
    """Run `work` with the places of as many gateways."""

    async def run() -> None:
        limits = [Limits(SharedCounters(settings.REDIS_URL, f"process_{number}")) for number in range(gateways)]
        await work(*(Places(each) for each in limits))
        for each in limits:
            await each.close()

    asyncio.run(run())


# --- Who waits -----------------------------------------------------------------------------------------


def test_no_deployment_has_more_requests_than_places_over_two_gateways():
    async def crowd(first: Places, second: Places) -> None:
        running, most, done = 0, 0, 0

        async def work(places: Places) -> None:
            nonlocal running, most, done
            place = await places.take([upstream(places=3)], 1)
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.005)
            running -= 1
            done += 1
            place.leave()

        await asyncio.gather(*(work(places) for places in (first, second) for _ in range(20)))
        assert (most, done) == (3, 40)

    with_places(crowd, gateways=2)


def test_who_comes_with_one_request_waits_for_one_of_a_crowd():
    async def take_turns(places: Places) -> None:
        order: list[int] = []

        async def work(organization_id: int) -> None:
            place = await places.take([upstream()], organization_id)
            order.append(organization_id)
            await asyncio.sleep(0)
            place.leave()

        first = await places.take([upstream()], 1)
        crowd = [asyncio.create_task(work(1)) for _ in range(10)]
        await asyncio.sleep(0.01)
        late = asyncio.create_task(work(2))
        await asyncio.sleep(0.01)
        first.leave()
        await asyncio.gather(*crowd, late)
        assert order.index(2) <= 1

    with_places(take_turns)


def test_the_next_deployment_with_a_place_is_taken_before_anybody_waits():
    async def spread(places: Places) -> None:
        both = [upstream(1), upstream(2)]
        taken = [await places.take(both, 1) for _ in range(2)]
        assert {place.upstream.id for place in taken} == {1, 2}
        for place in taken:
            place.leave()

    with_places(spread)


def test_who_waits_in_vain_is_told_so_and_leaves_no_place_behind(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(places_module, "WAIT_SECONDS", 0.1)

    async def wait(places: Places) -> None:
        first = await places.take([upstream()], 1)
        with pytest.raises(ApiError) as refused:
            await places.take([upstream()], 1)
        assert (refused.value.status, refused.value.code) == (503, "model_busy")
        assert refused.value.headers["retry-after"] == "2"
        first.leave()
        (await places.take([upstream()], 1)).leave()

    with_places(wait)


def test_a_full_line_is_refused_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(places_module, "LONGEST_QUEUE_OF_ORGANIZATION", 2)

    async def crowd(places: Places) -> None:
        first = await places.take([upstream()], 1)

        async def pass_through(organization_id: int) -> None:
            (await places.take([upstream()], organization_id)).leave()

        waiting = [asyncio.create_task(pass_through(1)) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(ApiError) as refused:
            await places.take([upstream()], 1)
        assert refused.value.code == "model_busy"
        other = asyncio.create_task(pass_through(2))
        await asyncio.sleep(0.01)
        first.leave()
        await asyncio.gather(*waiting, other)

    with_places(crowd)


def test_who_finds_the_line_full_leaves_nothing_in_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(places_module, "LONGEST_QUEUE", 2)

    async def crowd(places: Places) -> None:
        async def pass_through() -> None:
            (await places.take([upstream()], 2)).leave()

        first = await places.take([upstream()], 1)
        waiting = [asyncio.create_task(pass_through()) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(ApiError):
            await places.take([upstream()], 3)
        first.leave()
        # After the first of them it would be the turn of whoever was refused, had they left a line.
        await asyncio.gather(*waiting)

    with_places(crowd)


def test_who_gives_up_in_the_line_takes_nobodys_place():
    async def give_up(places: Places) -> None:
        first = await places.take([upstream()], 1)
        gone = asyncio.create_task(places.take([upstream()], 1))
        stays = asyncio.create_task(places.take([upstream()], 2))
        await asyncio.sleep(0.01)
        gone.cancel()
        first.leave()
        place: Place = await asyncio.wait_for(stays, 5)
        place.leave()
        (await asyncio.wait_for(places.take([upstream()], 1), 5)).leave()

    with_places(give_up)


# --- Who is asked --------------------------------------------------------------------------------------


def test_each_failure_after_the_second_doubles_the_pause():
    health, pauses = _Health(), []
    for _ in range(8):
        health.note_failure(0.0)
        tenths = next(tenths for tenths in range(1_000) if health.is_up(tenths / 10))
        pauses.append(tenths / 10)

    assert pauses == [0, DOWN_SECONDS, 4, 8, 16, LONGEST_DOWN_SECONDS, LONGEST_DOWN_SECONDS, LONGEST_DOWN_SECONDS]
    # Where no other can be asked it is tried all the same.
    assert [health.may_be_tried(seconds) for seconds in (1.9, DOWN_SECONDS)] == [False, True]


def test_a_request_takes_one_place_and_streams_keep_theirs(stalling: ServedGateway):
    Deployment.objects.filter(served_model__name="stalling").update(concurrent_requests=1)
    stalling.start()
    client = stalling.client()

    stream = client.chat.completions.create(model="stalling", messages=HELLO, stream=True)
    next(iter(stream))
    with pytest.raises(openai.InternalServerError) as busy:
        client.chat.completions.create(model="stalling", messages=HELLO, stream=True)
    stream.close()
    again = client.chat.completions.create(model="stalling", messages=HELLO, stream=True)
    next(iter(again))
    again.close()

    assert busy.value.code == "model_busy"
    assert busy.value.response.headers["retry-after"] == "2"


def test_more_requests_than_places_are_all_answered_in_turn(gateway: ServedGateway):
    Deployment.objects.update(concurrent_requests=2)
    gateway.start()
    client = gateway.client()

    def ask(_: int) -> object:
        return client.chat.completions.create(model="demo-chat", messages=HELLO, max_tokens=3).id

    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(ask, range(36)))

    assert len(answers) == 36
    wait_until(lambda: Receipt.objects.filter(status=Receipt.Status.COMPLETED).count() == 36)


# --- Where, and whose ----------------------------------------------------------------------------------


def test_a_pinned_project_is_never_served_elsewhere(gateway: ServedGateway, mortal_upstream: DemoUpstreamProcess):
    home = Region.objects.create(name="home-1", description="Home")
    both = make_served_model("everywhere")
    gateway.deploy(both, gateway.deployment.base_url)
    at_home = Deployment.objects.create(
        served_model=both, region=home, base_url=mortal_upstream.url, created_at=datetime.now(UTC)
    )
    pin_project(project=gateway.project, region_name="home-1", now=datetime.now(UTC))
    gateway.start()
    client = gateway.client()

    for _ in range(8):
        client.chat.completions.create(model="everywhere", messages=HELLO, max_tokens=1)
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.chat.completions.create(model="demo-chat", messages=HELLO)
    mortal_upstream.kill()
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="everywhere", messages=HELLO, max_tokens=1)

    assert refused.value.code == "region_not_served"
    assert "home-1" in refused.value.message
    wait_until(lambda: Receipt.objects.filter(status=Receipt.Status.COMPLETED).count() == 8)
    assert set(Receipt.objects.filter(status=Receipt.Status.COMPLETED).values_list("deployment", flat=True)) == {
        at_home.pk
    }


def test_what_the_owner_takes_back_gets_nothing_new_and_finishes_what_it_has(stalling: ServedGateway):
    stalling.start()
    client = stalling.client()
    stream = client.chat.completions.create(model="stalling", messages=HELLO, stream=True)
    chunks = iter(stream)
    next(chunks)
    deployment = Deployment.objects.get(served_model__name="stalling")

    with as_platform():
        offer_deployment(public_id=deployment.public_id, percent=0, now=datetime.now(UTC))

    def is_refused() -> bool:
        try:
            client.chat.completions.create(model="stalling", messages=HELLO, stream=True).close()
        except openai.APIStatusError as error:
            return error.code == "model_unavailable"
        return False

    wait_until(is_refused)
    # The running one was not cut: its next piece still comes.
    assert next(chunks) is not None
    stream.close()


# --- The numbers of the document -------------------------------------------------------------------------


def test_the_documents_places_and_weights_are_the_gateways():
    rows = re.findall(r"^\| (any number|\d+) \| (\d+) % \| ([^|]+) \| ([^|]+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert len(rows) == 5
    for at_once, percent, places, weight in rows:
        deployment = Deployment(
            weight=4,
            concurrent_requests=None if at_once == "any number" else int(at_once),
            offered_percent=int(percent),
        )
        if deployment.offered_percent:
            assert str(places_of(deployment) or "any number") == places
            assert str(deployment.weight * deployment.offered_percent) == weight
