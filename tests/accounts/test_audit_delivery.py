"""The audit log arrives: in order, signed, at least once, whatever the receiver and our own workers do."""

import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.db import transaction

from accounts import tasks
from accounts.chain import genesis
from accounts.models import AuditEndpoint, AuditEvent, EndpointState, Organization, Overlap, Role
from accounts.sealed import AUDIT_SECRET
from accounts.services import audit_delivery
from accounts.services.audit import record_event
from accounts.services.audit_delivery import (
    CLAIM,
    LONGEST_WAIT,
    MOST_BYTES,
    MOST_ENTRIES,
    MOST_FAILURES,
    deliver_next,
    enqueue_deliveries,
    tell_of_paused_endpoints,
    wait_after,
)
from accounts.services.audit_endpoints import (
    change_endpoint_address,
    pause_endpoint,
    remove_endpoint,
    request_test,
    resume_endpoint,
    rotate_endpoint_secret,
)
from dev.paths import ROOT
from portal.lib import outbound
from portal.lib.sealing import NotSealedForThis
from portal.lib.tenancy import as_platform
from tests.doubles.receiver import Received, Receiver, drip, hang, hang_up, receiving, status
from tests.factories.accounts import (
    SIGNING_SECRET,
    make_audit_endpoint,
    make_membership,
    make_organization,
    make_user,
)
from tests.own_database import SUPERUSER, OwnDatabase

NOW = datetime.now(UTC)


def snippet(name: str) -> Any:
    """Return the function of that name in docs/audit-stream.md, as a receiver would copy it."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "audit-stream.md").read_text(), re.DOTALL)
    [block] = [block for block in blocks if f"def {name}(" in block]
    namespace: dict[str, Any] = {}
    exec(block, namespace)  # noqa: S102  # our own document
    return namespace[name]


is_from_headroom, is_next = snippet("is_from_headroom"), snippet("is_next")


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    """Let it be NOW, however long other tests took since: receivers refuse what was signed five minutes ago."""
    with time_machine.travel(NOW):
        yield


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as listening:
        yield listening


@pytest.fixture
def organization(db: None) -> Organization:
    return make_organization("Lighthouse Labs", owner=make_user("olga@lighthouse.example"))


@pytest.fixture
def endpoint(organization: Organization, receiver: Receiver) -> AuditEndpoint:
    return make_audit_endpoint(organization, receiver.url)


def write(organization: Organization, count: int = 1, text: str = "x") -> None:
    for number in range(count):
        changes = {"name": (None, f"{text}{number}")}
        record_event(
            "project.renamed", organization_id=organization.pk, target=("project", "p"), changes=changes, now=NOW
        )


def deliver(endpoint: AuditEndpoint, now: datetime = NOW) -> bool:
    with as_platform():
        taken = deliver_next(endpoint_id=endpoint.pk, now=now)
    endpoint.refresh_from_db()
    return taken


def sequences(received: list[Received]) -> list[int]:
    return [entry["sequence"] for one in received for entry in json.loads(one.body)["entries"]]


# --- What arrives ---------------------------------------------------------------------------------


def test_entries_arrive_signed_and_the_cursor_follows(
    organization: Organization, endpoint: AuditEndpoint, receiver: Receiver
):
    write(organization, 3)

    assert deliver(endpoint)
    assert not deliver(endpoint)

    [received] = receiver.received
    assert (received.method, received.path, received.headers["content-type"]) == ("POST", "/hook", "application/json")
    assert is_from_headroom(received.headers, received.body, SIGNING_SECRET)
    body = json.loads(received.body)
    assert (body["type"], body["organization"]) == ("audit.entries", organization.public_id)
    assert sequences([received]) == [1, 2, 3]
    assert (endpoint.delivered_sequence, endpoint.delivered_at, endpoint.last_status) == (3, NOW, 204)
    assert (endpoint.claim, endpoint.batch_end, endpoint.state) == (None, None, EndpointState.ACTIVE)


def test_what_was_changed_on_the_way_is_not_from_us(
    organization: Organization, endpoint: AuditEndpoint, receiver: Receiver
):
    write(organization)
    deliver(endpoint)
    [received] = receiver.received
    seconds = int(received.headers["webhook-timestamp"])

    assert not is_from_headroom(received.headers, received.body + b" ", SIGNING_SECRET)
    assert not is_from_headroom({**received.headers, "webhook-id": "msg_other"}, received.body, SIGNING_SECRET)
    later = {**received.headers, "webhook-timestamp": str(seconds + 1)}
    assert not is_from_headroom(later, received.body, SIGNING_SECRET)
    assert not is_from_headroom(received.headers, received.body, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert not is_from_headroom(received.headers, received.body, SIGNING_SECRET, tolerance_seconds=-1)


def test_the_receiver_can_check_the_chain(organization: Organization, endpoint: AuditEndpoint, receiver: Receiver):
    write(organization, 3, "Zoë ")
    deliver(endpoint)

    digest = genesis(organization.public_id)
    for entry in json.loads(receiver.received[0].body)["entries"]:
        assert is_next(entry, digest)
        assert not is_next({**entry, "actor_id": "user_somebody_else"}, digest)
        digest = entry["digest"]


def test_many_entries_come_in_messages_of_bounded_size_without_a_gap(
    organization: Organization, endpoint: AuditEndpoint, receiver: Receiver
):
    write(organization, MOST_ENTRIES + 1)
    write(organization, 6, "x" * (MOST_BYTES // 3))
    write(organization, 2, "x" * (MOST_BYTES + 1))

    while deliver(endpoint):
        pass

    counts = [len(sequences([one])) for one in receiver.received]
    assert sequences(receiver.received) == list(range(1, MOST_ENTRIES + 10))
    assert counts == [MOST_ENTRIES, 3, 2, 2, 1, 1]
    assert len({one.headers["webhook-id"] for one in receiver.received}) == len(counts)


def test_each_organization_gets_its_own_log_only(organization: Organization, receiver: Receiver):
    other = make_organization("Other")
    ours, theirs = make_audit_endpoint(organization, receiver.url), make_audit_endpoint(other, receiver.url)
    write(organization, 1, "ours")
    write(other, 2, "theirs")

    assert deliver(ours)
    assert deliver(theirs)

    bodies = [json.loads(one.body) for one in receiver.received]
    assert [(body["organization"], len(body["entries"])) for body in bodies] == [
        (organization.public_id, 1),
        (other.public_id, 2),
    ]
    assert b"theirs" not in receiver.received[0].body
    assert b"ours" not in receiver.received[1].body


# --- When it does not ------------------------------------------------------------------------------


def test_a_failed_message_comes_again_as_it_was_and_later_ones_wait(
    organization: Organization, endpoint: AuditEndpoint, receiver: Receiver
):
    write(organization, 2)
    receiver.replies.extend([status(500), status(500)])
    assert not deliver(endpoint)
    assert (endpoint.state, endpoint.last_problem) == (EndpointState.FAILING, "it answered 500")
    write(organization, 5)

    assert not deliver(endpoint, NOW + timedelta(seconds=9)), "it waits"
    assert len(receiver.received) == 1
    assert not deliver(endpoint, NOW + timedelta(seconds=10))
    assert not deliver(endpoint, NOW + timedelta(seconds=29))
    assert deliver(endpoint, NOW + timedelta(seconds=30))
    assert deliver(endpoint, NOW + timedelta(seconds=30))

    first, second, third, rest = receiver.received
    assert first.body == second.body == third.body
    assert len({one.headers["webhook-id"] for one in (first, second, third)}) == 1
    assert [int(one.headers["webhook-timestamp"]) - int(NOW.timestamp()) for one in (first, second, third)] == [
        0,
        10,
        30,
    ]
    assert sequences([third, rest]) == [1, 2, 3, 4, 5, 6, 7]
    assert (endpoint.failure_count, endpoint.failing_since, endpoint.next_try_at) == (0, None, None)
    assert endpoint.state is EndpointState.ACTIVE


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (status(301, Location="http://127.0.0.1:1/"), "it answered 301"),
        (status(404), "it answered 404"),
        (status(503, b"x" * 100), "it answered 503"),
        (hang_up, "the connection ended without an answer"),
        (status(200, b"x" * (outbound.LONGEST_ANSWER + 1)), "the answer is larger than 1 MiB"),
    ],
    ids=["redirect", "not found", "unavailable", "hang up", "too much"],
)
def test_nothing_but_2xx_is_taken(
    reply: Any, problem: str, organization: Organization, endpoint: AuditEndpoint, receiver: Receiver
):
    write(organization)
    receiver.replies.append(reply)

    assert not deliver(endpoint)
    assert (endpoint.last_problem, endpoint.delivered_sequence, endpoint.failure_count) == (problem, 0, 1)
    assert deliver(endpoint, NOW + LONGEST_WAIT)
    assert endpoint.delivered_sequence == 1


@pytest.mark.parametrize("misbehave", [hang, drip])
def test_a_receiver_that_hangs_costs_five_seconds_and_is_tried_again(
    misbehave: Any,
    organization: Organization,
    endpoint: AuditEndpoint,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(outbound, "LONGEST_SECONDS", 1)
    released = threading.Event()
    receiver.replies.append(misbehave(released))
    write(organization)
    try:
        assert not deliver(endpoint)
    finally:
        released.set()

    assert "seconds" in endpoint.last_problem
    assert deliver(endpoint, NOW + LONGEST_WAIT)


def test_a_receiver_that_is_away_gets_everything_when_it_is_back(organization: Organization):
    with receiving() as gone:
        endpoint = make_audit_endpoint(organization, gone.url)
    write(organization, 2)
    assert not deliver(endpoint)
    assert endpoint.last_problem == "the connection was refused"
    write(organization, 2)

    with receiving(gone.port) as back:
        now = NOW + wait_after(1)
        assert deliver(endpoint, now)
        assert deliver(endpoint, now)
        assert sequences(back.received) == [1, 2, 3, 4]


def test_an_address_that_leads_inward_is_a_failure_and_nothing_connects(
    organization: Organization, receiver: Receiver, settings: Any
):
    settings.DEVELOPMENT = False
    endpoint = make_audit_endpoint(organization, f"https://127.0.0.1:{receiver.port}/")
    write(organization)

    assert not deliver(endpoint)

    assert (endpoint.last_status, endpoint.last_problem) == (None, "This address is not a public one.")
    assert receiver.connection_count == 0


def test_waits_grow_to_six_hours_and_end_after_two_and_a_half_days():
    waits = [wait_after(count) for count in range(1, MOST_FAILURES)]

    assert waits[:4] == [timedelta(seconds=seconds) for seconds in (10, 20, 40, 80)]
    assert max(waits) == wait_after(10_000) == LONGEST_WAIT
    assert timedelta(days=2) < sum(waits, timedelta()) < timedelta(days=3)


# --- Pausing ---------------------------------------------------------------------------------------


def fail_until_paused(endpoint: AuditEndpoint, receiver: Receiver) -> datetime:
    receiver.usual = status(500)
    now = NOW
    while endpoint.paused_at is None:
        assert not deliver(endpoint, now)
        now = endpoint.next_try_at or now
    return now


def test_after_too_many_failures_it_is_paused_and_owners_are_told_once(
    organization: Organization, endpoint: AuditEndpoint, receiver: Receiver
):
    make_membership(organization, make_user("adam@lighthouse.example"), Role.ADMIN)
    make_membership(organization, make_user("otto@lighthouse.example"), Role.OWNER)
    write(organization)

    now = fail_until_paused(endpoint, receiver)

    assert len(receiver.received) == MOST_FAILURES
    assert (endpoint.state, endpoint.pause_reason) == (EndpointState.PAUSED, "failing")
    assert not deliver(endpoint, now + timedelta(days=1))
    last = AuditEvent.objects.owned_by(organization).newest_first()[0]
    assert (last.action, last.target_id, last.actor_kind) == ("audit_endpoint.paused", endpoint.public_id, "portal")
    assert receiver.url not in last.changes
    with as_platform():
        assert tell_of_paused_endpoints(now=now) == 1
        assert tell_of_paused_endpoints(now=now) == 0
    assert [message.to for message in mail.outbox] == [["olga@lighthouse.example"], ["otto@lighthouse.example"]]
    assert "Lighthouse Labs" in mail.outbox[0].subject
    assert f"/o/{organization.slug}/audit-log/endpoints/{endpoint.public_id}/" in str(mail.outbox[0].body)
    assert "20 tries in a row failed, the last because it answered 500" in str(mail.outbox[0].body)


def test_resumed_it_gets_everything_from_the_cursor_on(
    organization: Organization, endpoint: AuditEndpoint, receiver: Receiver
):
    write(organization, 2)
    deliver(endpoint)
    write(organization, 3)
    now = fail_until_paused(endpoint, receiver)
    receiver.usual = status(200)
    receiver.received.clear()
    assert not deliver(endpoint, now)

    resume_endpoint(endpoint=endpoint, now=now)
    while deliver(endpoint, now):
        pass

    # The portal wrote that it paused and somebody that they resumed it.
    assert sequences(receiver.received) == [3, 4, 5, 6, 7]
    assert endpoint.state is EndpointState.ACTIVE


def test_gone_means_gone(organization: Organization, endpoint: AuditEndpoint, receiver: Receiver):
    receiver.replies.append(status(410))
    write(organization)

    assert not deliver(endpoint)

    assert (endpoint.state, endpoint.failure_count) == (EndpointState.PAUSED, 1)


def test_paused_by_a_member_it_waits_and_nobody_is_mailed(
    organization: Organization, endpoint: AuditEndpoint, receiver: Receiver
):
    write(organization)
    pause_endpoint(endpoint=endpoint, now=NOW)

    assert not deliver(endpoint)
    with as_platform():
        assert tell_of_paused_endpoints(now=NOW) == 0

    assert not receiver.received
    resume_endpoint(endpoint=endpoint, now=NOW)
    assert deliver(endpoint)
    assert sequences(receiver.received) == [1, 2, 3]


def test_a_test_event_says_what_the_receiver_answers_and_moves_nothing(
    organization: Organization, endpoint: AuditEndpoint, receiver: Receiver
):
    write(organization)
    pause_endpoint(endpoint=endpoint, now=NOW)
    request_test(endpoint=endpoint, now=NOW)
    receiver.replies.append(status(418))

    assert not deliver(endpoint)

    [received] = receiver.received
    assert json.loads(received.body) == {"type": "audit.test", "organization": organization.public_id, "entries": []}
    assert is_from_headroom(received.headers, received.body, SIGNING_SECRET)
    assert (endpoint.last_status, endpoint.last_was_test, endpoint.test_requested_at) == (418, True, None)
    assert (endpoint.delivered_sequence, endpoint.failure_count, endpoint.state) == (0, 0, EndpointState.PAUSED)
    assert not deliver(endpoint), "a test is sent once"


# --- Secrets ---------------------------------------------------------------------------------------


def test_during_the_overlap_either_secret_verifies_and_afterwards_the_new_one(
    organization: Organization, endpoint: AuditEndpoint, receiver: Receiver
):
    rotated = rotate_endpoint_secret(endpoint=endpoint, overlap=Overlap.HOUR, now=NOW)
    deliver(endpoint)
    write(organization)
    deliver(endpoint, NOW + timedelta(hours=1))

    during, after = receiver.received

    def opens(received: Received, secret: str) -> bool:
        return bool(is_from_headroom(received.headers, received.body, secret, tolerance_seconds=7_200))

    assert [opens(during, secret) for secret in (SIGNING_SECRET, rotated.secret)] == [True, True]
    assert [opens(after, secret) for secret in (SIGNING_SECRET, rotated.secret)] == [False, True]


def test_without_overlap_the_former_secret_signs_nothing_more(
    organization: Organization, endpoint: AuditEndpoint, receiver: Receiver
):
    rotate_endpoint_secret(endpoint=endpoint, overlap=Overlap.WEEK, now=NOW)
    rotated = rotate_endpoint_secret(endpoint=endpoint, overlap=Overlap.NONE, now=NOW)
    deliver(endpoint)

    [received] = receiver.received
    assert len(received.headers["webhook-signature"].split()) == 1
    assert is_from_headroom(received.headers, received.body, rotated.secret)


def test_a_secret_that_somebody_moved_from_another_row_signs_nothing(
    organization: Organization, endpoint: AuditEndpoint, receiver: Receiver
):
    other = make_audit_endpoint(make_organization())
    AuditEndpoint.objects.filter(pk=endpoint.pk).update(secret=bytes(other.secret))
    write(organization)

    with pytest.raises(NotSealedForThis), transaction.atomic():
        deliver(endpoint)

    assert receiver.connection_count == 0


def test_another_address_goes_on_with_the_same_secret(
    organization: Organization, endpoint: AuditEndpoint, receiver: Receiver
):
    write(organization)
    receiver.replies.append(status(500))
    deliver(endpoint)
    with receiving() as new:
        change_endpoint_address(endpoint=endpoint, url=new.url, now=NOW)
        assert deliver(endpoint)
        assert sequences(new.received) == [1]
        assert is_from_headroom(new.received[0].headers, new.received[0].body, SIGNING_SECRET)


@pytest.mark.parametrize("answer", [200, 410])
def test_what_is_on_its_way_to_the_former_address_counts_for_nothing(
    organization: Organization,
    endpoint: AuditEndpoint,
    receiver: Receiver,
    answer: int,
    monkeypatch: pytest.MonkeyPatch,
):
    write(organization)
    receiver.replies.append(status(answer))
    with receiving() as new:

        def change_meanwhile(name: str) -> None:
            if name == "audit_delivery_after_send":
                monkeypatch.setattr(audit_delivery, "crashpoint", lambda _name: None)
                change_endpoint_address(endpoint=endpoint, url=new.url, now=NOW)

        monkeypatch.setattr(audit_delivery, "crashpoint", change_meanwhile)
        deliver(endpoint)
        assert sequences(receiver.received) == [1]
        assert deliver(endpoint)

        assert sequences(new.received)[:1] == [1]
    assert endpoint.paused_at is None


def test_another_address_is_not_blamed_for_the_former(
    organization: Organization, endpoint: AuditEndpoint, receiver: Receiver
):
    write(organization)
    AuditEndpoint.objects.update(failure_count=MOST_FAILURES - 1, failing_since=NOW)
    with receiving() as new:
        new.replies.append(status(500))
        change_endpoint_address(endpoint=endpoint, url=new.url, now=NOW)
        deliver(endpoint)

    assert (endpoint.failure_count, endpoint.paused_at) == (1, None)


# --- Hints, sweeps and workers that die ----------------------------------------------------------


def test_an_entry_names_the_job_and_only_where_the_log_is_sent(
    organization: Organization, endpoint: AuditEndpoint, django_capture_on_commit_callbacks: Any
):
    with django_capture_on_commit_callbacks() as named:
        write(make_organization())
        assert not named
        write(organization)
    assert len(named) == 1


def test_the_sweep_finds_what_every_lost_hint_left(
    organization: Organization, receiver: Receiver, django_capture_on_commit_callbacks: Any
):
    behind, tested, resting, paused, current = (
        make_audit_endpoint(organization, f"{receiver.url}/{n}") for n in range(5)
    )
    write(organization)
    AuditEndpoint.objects.filter(pk__in=[tested.pk, current.pk]).update(delivered_sequence=1)
    AuditEndpoint.objects.filter(pk=tested.pk).update(test_requested_at=NOW)
    AuditEndpoint.objects.filter(pk=resting.pk).update(failure_count=1, next_try_at=NOW + timedelta(seconds=1))
    AuditEndpoint.objects.filter(pk=paused.pk).update(paused_at=NOW, pause_reason="asked")

    with as_platform():
        waiting = AuditEndpoint.objects.waiting(NOW).order_by("pk")
        assert [one.pk for one in waiting] == [behind.pk, tested.pk]
        with django_capture_on_commit_callbacks() as named:
            assert enqueue_deliveries(now=NOW) == 2
        assert len(named) == 2
        assert enqueue_deliveries(now=NOW + timedelta(seconds=1)) == 3


def test_the_job_sends_what_there_is_in_a_few_messages_and_names_itself_for_the_rest(
    organization: Organization,
    endpoint: AuditEndpoint,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
):
    monkeypatch.setattr(audit_delivery, "MOST_ENTRIES", 1)
    write(organization, tasks.MESSAGES_A_RUN + 2)

    with django_capture_on_commit_callbacks() as named:
        tasks.deliver_to_audit_endpoint(endpoint_id=endpoint.pk, of_the_future=1)
    assert (len(receiver.received), len(named)) == (tasks.MESSAGES_A_RUN, 1)
    with django_capture_on_commit_callbacks() as named:
        tasks.deliver_to_audit_endpoint(endpoint_id=endpoint.pk)
    assert (len(receiver.received), len(named)) == (tasks.MESSAGES_A_RUN + 2, 0)


class Killed(BaseException):
    """As kill -9 between two statements."""


def test_a_worker_that_dies_after_sending_costs_a_repetition_and_no_entry(
    own_database: OwnDatabase, monkeypatch: pytest.MonkeyPatch
):
    def die(name: str) -> None:
        if name == "audit_delivery_after_send":
            raise Killed

    with own_database.in_use(SUPERUSER), receiving() as receiver:
        organization = make_organization()
        endpoint = make_audit_endpoint(organization, receiver.url)
        write(organization, 2)
        with monkeypatch.context() as patched:
            patched.setattr(audit_delivery, "crashpoint", die)
            with pytest.raises(Killed):
                deliver(endpoint)
        write(organization, 1)

        assert not deliver(endpoint, NOW + CLAIM - timedelta(seconds=1)), "the dead one's claim still stands"
        assert deliver(endpoint, NOW + CLAIM)
        assert deliver(endpoint, NOW + CLAIM)

    assert sequences(receiver.received) == [1, 2, 1, 2, 3]
    first, again, _ = receiver.received
    assert (first.body, first.headers["webhook-id"]) == (again.body, again.headers["webhook-id"])


def test_a_worker_that_wakes_after_its_claim_ended_changes_nothing(
    own_database: OwnDatabase, monkeypatch: pytest.MonkeyPatch
):
    """Its message was sent again by another, which is further by now."""
    with own_database.in_use(SUPERUSER), receiving() as receiver:
        organization = make_organization()
        endpoint = make_audit_endpoint(organization, receiver.url)
        write(organization, 1)
        asleep: list[bool] = []

        def sleep(name: str) -> None:
            if not asleep and name == "audit_delivery_after_send":
                asleep.append(True)
                with as_platform():
                    deliver_next(endpoint_id=endpoint.pk, now=NOW + CLAIM)
                    write(organization, 1)
                    deliver_next(endpoint_id=endpoint.pk, now=NOW + CLAIM)

        receiver.replies.append(status(500))
        monkeypatch.setattr(audit_delivery, "crashpoint", sleep)
        deliver(endpoint)

    assert sequences(receiver.received) == [1, 1, 2]
    assert (endpoint.delivered_sequence, endpoint.failure_count) == (2, 0)


def test_many_workers_send_one_message_at_a_time_in_order(own_database: OwnDatabase, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(audit_delivery, "MOST_ENTRIES", 3)
    with own_database.in_use(SUPERUSER), receiving() as receiver:
        organization = make_organization()
        endpoint = make_audit_endpoint(organization, receiver.url)
        write(organization, 30)

        def work(number: int) -> int:
            taken = 0
            with as_platform():
                while AuditEndpoint.objects.get(pk=endpoint.pk).delivered_sequence < 30:
                    taken += deliver_next(endpoint_id=endpoint.pk, now=NOW)
            return taken

        taken = own_database.in_threads(4, work)

    assert [one for one in taken if isinstance(one, Exception)] == []
    assert len(receiver.received) == 10
    assert sequences(receiver.received) == list(range(1, 31))


def test_nothing_is_sent_to_what_was_removed_meanwhile(
    organization: Organization, endpoint: AuditEndpoint, receiver: Receiver
):
    write(organization)
    remove_endpoint(endpoint=endpoint, now=NOW)

    with as_platform():
        assert not deliver_next(endpoint_id=endpoint.pk, now=NOW)

    assert not receiver.received


def test_the_secret_is_sealed_where_it_is_stored(endpoint: AuditEndpoint):
    assert SIGNING_SECRET.encode() not in bytes(endpoint.secret)
    assert AUDIT_SECRET.unseal(endpoint.secret, row=endpoint.public_id) == SIGNING_SECRET
