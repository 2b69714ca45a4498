"""Webhooks: each event signed and posted to the endpoints that want it, each on its own thread, until it is taken.

So events come out of order by themselves. What tests want to see happen is planned for the deliveries that come next.
"""

import hashlib
import hmac
import http.client
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from billing.demo_stripe.account import Account, copy_of
from billing.demo_stripe.handlers.notices import is_wanted
from billing.demo_stripe.refusals import Body

HERE = ("127.0.0.1", "localhost", "::1")
PATIENCE_SECONDS = 10
ATTEMPTS = 6
OK = range(200, 300)


@dataclass(frozen=True, slots=True)
class Parcel:
    """One event for one endpoint."""

    event: Body
    endpoint: str
    url: str


@dataclass(slots=True)
class Plan:
    """What happens to the next `count` deliveries. kind: drop, delay, duplicate, reorder (sent backwards).

    seconds: how long they are delayed, by the account's clock.
    """

    kind: str
    count: int
    seconds: int = 0
    held: list[Parcel] = field(default_factory=list)


class Deliverer:
    """Delivers the events of an account. first_wait_ms: before the second attempt; each wait doubles the last."""

    def __init__(self, account: Account, first_wait_ms: int = 1000) -> None:
        self.account = account
        self.first_wait_ms = first_wait_ms
        self.plans: deque[Plan] = deque()
        self.log: deque[Body] = deque(maxlen=10_000)
        self._changed = threading.Condition()
        self._under_way = 0
        self._closed = threading.Event()
        account.on_event = self.send
        account.verbs["deliver"] = self._deliver

    def send(self, event: Body) -> None:
        """Send an event to every endpoint that wants it. The caller holds the account's lock."""
        for endpoint in list(self.account.all_of("webhook_endpoint")):
            if endpoint["status"] == "enabled" and is_wanted(event["type"], endpoint["enabled_events"]):
                event["pending_webhooks"] += 1
                self._begin(self._parcel(event, endpoint))

    def redeliver(self, event: Body) -> int:
        """Send an event once more to every enabled endpoint, and return how many those are."""
        endpoints = [each for each in self.account.all_of("webhook_endpoint") if each["status"] == "enabled"]
        for endpoint in endpoints:
            self._start(self._post_until_taken, self._parcel(event, endpoint))
        return len(endpoints)

    def plan(self, plan: Plan) -> None:
        self.plans.append(plan)

    def settle(self, seconds: int = 30) -> bool:
        """Wait until nothing is under way any more; return whether that came to be in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._under_way == 0, timeout=seconds)

    def reset(self) -> None:
        """Forget plans and the log, and let no attempt follow for what is under way."""
        self._closed.set()
        self._closed = threading.Event()
        self.plans.clear()
        self.log.clear()

    def _parcel(self, event: Body, endpoint: Body) -> Parcel:
        # An endpoint of its own version gets events that say so.
        version = endpoint["api_version"] or event["api_version"]
        return Parcel(copy_of(event) | {"api_version": version}, endpoint["id"], endpoint["url"])

    def _deliver(self, account: Account, event: str, endpoint: str) -> None:
        kept = account.objects.get(endpoint)
        if kept and not kept.get("deleted"):
            self._start(self._post_until_taken, self._parcel(account.objects[event], kept))

    def _begin(self, parcel: Parcel) -> None:
        plan = self.plans[0] if self.plans else None
        if plan is None:
            return self._start(self._post_until_taken, parcel)
        plan.count -= 1
        if plan.count == 0:
            self.plans.popleft()
        if plan.kind == "drop":
            return self._note(parcel, 0, "dropped")
        if plan.kind == "reorder":
            plan.held.append(parcel)
            return self._start(self._post_backwards, *plan.held) if plan.count == 0 else None
        if plan.kind == "delay":
            return self.account.happen_later(plan.seconds, "deliver", parcel.event["id"], parcel.endpoint)
        self._start(self._post_until_taken, parcel)
        return self._start(self._post_until_taken, parcel)

    def _start(self, work: Callable[..., None], *parcels: Parcel) -> None:
        with self._changed:
            self._under_way += 1
        threading.Thread(target=self._run, args=(work, parcels, self._closed), daemon=True).start()

    def _run(self, work: Callable[..., None], parcels: tuple[Parcel, ...], closed: threading.Event) -> None:
        try:
            work(*parcels, closed=closed)
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def _post_backwards(self, *parcels: Parcel, closed: threading.Event) -> None:
        for parcel in reversed(parcels):
            self._post_until_taken(parcel, closed=closed)

    def _post_until_taken(self, parcel: Parcel, *, closed: threading.Event) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            status = self._post(parcel)
            self._note(parcel, attempt, status)
            if status in OK:
                with self.account.lock:
                    kept = self.account.objects.get(parcel.event["id"])
                    if kept and kept["pending_webhooks"]:
                        kept["pending_webhooks"] -= 1
                return
            wait = timedelta(milliseconds=self.first_wait_ms * 2 ** (attempt - 1))
            if closed.wait(wait.total_seconds()) or not self._is_wanted_still(parcel):
                return

    def _is_wanted_still(self, parcel: Parcel) -> bool:
        with self.account.lock:
            endpoint = self.account.objects.get(parcel.endpoint)
            return bool(endpoint and endpoint.get("status") == "enabled")

    def _post(self, parcel: Parcel) -> int | str:
        """Return the status that came back, or why none did."""
        parts = urlsplit(parcel.url)
        if parts.scheme != "http" or parts.hostname not in HERE:
            return "not sent: a demonstration sends to this machine only"
        with self.account.lock:
            secret = self.account.secrets.signing.get(parcel.endpoint, "")
        body = json.dumps(parcel.event, indent=2).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature(body, secret),
            "User-Agent": "Stripe/1.0 (demonstration)",
            "Connection": "close",
        }
        connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=PATIENCE_SECONDS)
        try:
            connection.request("POST", f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}", body, headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return f"no answer: {type(error).__name__}"
        finally:
            connection.close()

    def _note(self, parcel: Parcel, attempt: int, status: int | str) -> None:
        self.log.append(
            {
                "event": parcel.event["id"],
                "type": parcel.event["type"],
                "endpoint": parcel.endpoint,
                "attempt": attempt,
                "status": status,
            }
        )


def signature(body: bytes, secret: str) -> str:
    """Return the header that proves who sends a body and when, by the machine's clock, as receivers compare it."""
    at = int(time.time())
    digest = hmac.new(secret.encode(), b"%d.%s" % (at, body), hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
