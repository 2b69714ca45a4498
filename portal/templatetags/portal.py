"""The only ways in which templates print money, times and icons, and the looks of every state."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

import lucide
from django import template
from django.forms import BoundField
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from portal.lib.money import display_left, display_usd, usd_to_nano

register = template.Library()


@register.filter
def usd(amount: int | Decimal) -> str:
    """Print nano-dollars (an int) or exact dollars (a Decimal) as $1,234.50."""
    return display_usd(usd_to_nano(amount) if isinstance(amount, Decimal) else amount)


@register.filter
def usd_left(amount_nano: int) -> str:
    """Print what is left of an amount, rounded down to a cent."""
    return display_left(amount_nano)


@register.filter
def without_echo(field: BoundField) -> BoundField:
    """Drop a placeholder that says what the label says, as allauth's do: it looks like an answer and fades too soon."""
    attrs = field.field.widget.attrs
    words = [str(text).lower().replace("-", "") for text in (attrs.get("placeholder"), field.label)]
    if words[0].startswith(words[1]):
        attrs.pop("placeholder", None)
    return field


@register.simple_tag
def time(instant: datetime) -> SafeString:
    """Print an instant in the reader's zone, with its year unless that is now; UTC in the tooltip and for machines."""
    local = timezone.localtime(instant)
    year = "" if local.year == timezone.localtime().year else f" {local.year},"
    utc = instant.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        utc.strftime("%Y-%m-%d %H:%M:%S"),
        f"{local:%b} {local.day},{year} {local:%H:%M}",
    )


@register.simple_tag
@lru_cache(maxsize=512)
def icon(name: str, css: str = "") -> SafeString:
    """Print a lucide icon inline. It is decoration: the words beside it, or an aria-label, say what it means."""
    classes = f"icon {css}".strip()
    svg = lucide._render_icon(name, None, **{"class": classes, "aria-hidden": "true", "focusable": "false"})
    return mark_safe(svg)  # noqa: S308  # drawn by the package from a name in our templates


@dataclass(frozen=True, slots=True)
class Look:
    """How a state is drawn: a tone of tokens.css, an icon, and whether it is on its way to another state."""

    tone: str
    icon: str
    busy: bool = False


NEUTRAL = Look("neutral", "circle")
LOOKS = {
    # States of instances
    "queued": Look("neutral", "hourglass"),
    "provisioning": Look("notice", "loader-circle", busy=True),
    "booting": Look("notice", "loader-circle", busy=True),
    "active": Look("good", "circle-check"),
    "unhealthy": Look("danger", "heart-pulse"),
    "stopping": Look("neutral", "loader-circle", busy=True),
    "stopped": Look("neutral", "circle-pause"),
    "preempted": Look("caution", "undo-2"),
    "failed": Look("danger", "circle-x"),
    "terminating": Look("neutral", "loader-circle", busy=True),
    "terminated": Look("neutral", "circle-slash"),
    # Stock
    "available": Look("good", "circle-check"),
    "limited": Look("caution", "circle-alert"),
    "unavailable": Look("neutral", "circle-slash"),
    # Keys
    "revoked": Look("danger", "ban"),
    "expired": Look("neutral", "clock"),
    "expiring": Look("caution", "clock"),
    # Endpoints
    "failing": Look("caution", "circle-alert"),
    "paused": Look("neutral", "circle-pause"),
    # Service accounts and their keys
    "enabled": Look("good", "circle-check"),
    "disabled": Look("caution", "circle-pause"),
    # Invitations
    "invited": Look("notice", "mail"),
    # Verified domains
    "pending": Look("notice", "clock"),
    "verified": Look("good", "circle-check"),
    # Requests
    "completed": Look("good", "circle-check"),
    "cut": Look("caution", "scissors"),
    "refused": Look("caution", "ban"),
    "cancelled": Look("neutral", "circle-slash"),
    "empty": Look("neutral", "circle-dashed"),
    # Payments
    "created": Look("neutral", "clock"),
    "processing": Look("notice", "loader-circle", busy=True),
    "succeeded": Look("good", "circle-check"),
    "canceled": Look("neutral", "circle-slash"),
    # Refunds
    "asked": Look("neutral", "clock"),
    "approved": Look("notice", "circle-check"),
    "declined": Look("neutral", "circle-slash"),
    # Disputes
    "inquiry": Look("notice", "info"),
    "answered": Look("notice", "clock"),
    "won": Look("good", "circle-check"),
    "lost": Look("danger", "circle-x"),
    "closed": Look("neutral", "circle-slash"),
    # Standing of an organization
    "good": Look("good", "circle-check"),
    "past_due": Look("caution", "clock"),
    "grace": Look("caution", "hourglass"),
    "suspended": Look("danger", "circle-pause"),
    "disputed": Look("caution", "scale"),
    # Invoices
    "draft": Look("neutral", "hourglass"),
    "closing": Look("notice", "loader-circle", busy=True),
    "open": Look("notice", "clock"),
    "paid": Look("good", "circle-check"),
    "void": Look("neutral", "circle-slash"),
    "uncollectible": Look("caution", "circle-x"),
    # Plain tones, for anything else
    "success": Look("good", "circle-check"),
    "info": Look("notice", "info"),
    "warning": Look("caution", "triangle-alert"),
    "danger": Look("danger", "circle-alert"),
    "neutral": NEUTRAL,
}


@register.filter
def look(status: str) -> Look:
    """Return how a stored status is drawn; an unknown one is neutral, never an error on a page."""
    return LOOKS.get(str(status), NEUTRAL)


@register.simple_tag
def badge(status: str, label: str = "") -> SafeString:
    """Print what <c-badge> prints, for the rows of long tables, where a component each would be most of the page."""
    return _badge(str(status), str(label))


@lru_cache(maxsize=512)
def _badge(status: str, label: str) -> SafeString:
    drawn = look(status)
    tone = f"{drawn.tone} badge--busy" if drawn.busy else drawn.tone
    return format_html('<span class="badge badge--{}">{}{}</span>', tone, icon(drawn.icon), label or words(status))


@register.filter
def words(status: str) -> str:
    """Return a stored status in words: past_due becomes Past due."""
    return str(status).replace("_", " ").capitalize()
