"""What pages of lower apps show of caps."""

from datetime import datetime

from django import template

from accounts.models import ApiKey
from billing.selectors import tightest_cap_of
from billing.selectors.caps import CapLeft

register = template.Library()


@register.simple_tag
def tightest_cap(api_key: ApiKey, now: datetime) -> CapLeft:
    """Return the cap over what a key does that has the least left, as `GET /api/v1/key` names it."""
    return tightest_cap_of(api_key, now)
