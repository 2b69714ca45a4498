"""Caps as pages, programs and the gateway read them."""

from billing.models import SpendCap
from billing.selectors.budget import starter_credit_nano


def has_cap(api_key_id: int) -> bool:
    """Whether the API key has a cap of its own."""
    return SpendCap.objects.current().filter(api_key_id=api_key_id).exists()


def left_under_caps(*, organization_id: int, project_id: int, api_key_id: int | None) -> int:
    """Return limit less settled of the tightest cap that stops work of the project and key, in nano-dollars.

    Before the organization's account is open, that is the starter credit.
    """
    keys = [] if api_key_id is None else [api_key_id]
    over = SpendCap.objects.current().over(organization_id=organization_id, project_ids=[project_id], key_ids=keys)
    lefts = over.filter(stops=True).values_list("limit_nano", "settled_nano")
    return min((limit - settled for limit, settled in lefts), default=starter_credit_nano())
