"""/api/v1/key: what a key is and may spend."""

from dataclasses import dataclass
from datetime import datetime

from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request

from accounts.access import KeyAPIView, is_former_secret
from accounts.selectors import key_view
from accounts.selectors.rate_limits import rates_of_key
from billing import selectors
from billing.api.reading import CURRENCY
from portal.lib.api import JsonResponse
from portal.lib.money import decimal_string
from portal.lib.openapi import described


@dataclass(frozen=True, slots=True)
class FormerSecret:
    """A secret from before a rotation that still works."""

    label: str
    retired_at: datetime
    valid_until: datetime


@dataclass(frozen=True, slots=True)
class KeyDescription:
    """What a key may know of itself: everything that it is limited by. docs/api.md says what each field means.

    The limit of money is that of the tightest cap over its work; `usage` is what this key has cost.
    """

    id: str
    name: str
    label: str
    kind: str
    state: str
    scopes: list[str]
    project: str
    service_account: str | None
    is_personal: bool
    allowed_models: list[str]
    allowed_addresses: list[str]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrent_requests: int | None
    currency: str
    limit: str
    limit_remaining: str
    limit_reset: datetime | None
    usage: str
    usage_daily: str
    usage_monthly: str
    uses_former_secret: bool
    former_secrets: list[FormerSecret]
    last_used_at: datetime | None
    last_used_address: str | None
    last_used_agent: str | None
    expires_at: datetime | None
    created_at: datetime


class KeyDetail(KeyAPIView):
    """The key that asks describes itself."""

    scope = None

    @described(KeyDescription)
    def get(self, request: Request) -> HttpResponse:
        key, now = self.request.api_key, timezone.now()
        known = key_view(key, now)
        tightest, rates = selectors.tightest_cap_of(key, now), rates_of_key(key)
        spend = selectors.spend_of_key(key, now)
        description = KeyDescription(
            id=known.id,
            name=known.name,
            label=known.label,
            kind=known.kind,
            state=known.state,
            scopes=known.scopes,
            project=known.project,
            service_account=known.service_account,
            is_personal=key.is_personal,
            allowed_models=known.allowed_models,
            allowed_addresses=known.allowed_addresses,
            requests_per_minute=rates.requests_per_minute,
            tokens_per_minute=rates.tokens_per_minute,
            concurrent_requests=rates.concurrent_requests,
            currency=CURRENCY,
            limit=decimal_string(tightest.limit_nano),
            limit_remaining=decimal_string(tightest.remaining_nano),
            limit_reset=tightest.resets_at,
            usage=decimal_string(spend.total_nano),
            usage_daily=decimal_string(spend.today_nano),
            usage_monthly=decimal_string(spend.month_nano),
            uses_former_secret=is_former_secret(self.request),
            former_secrets=[
                FormerSecret(f"{key.prefix}…{secret.last_four}", secret.retired_at, secret.valid_until)
                for secret in key.former_secrets_at(now)
            ],
            last_used_at=known.last_used_at,
            last_used_address=known.last_used_address,
            last_used_agent=known.last_used_agent,
            expires_at=known.expires_at,
            created_at=known.created_at,
        )
        return JsonResponse(description)
