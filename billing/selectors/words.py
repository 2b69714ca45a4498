"""Quantities and prices as pages print them."""

from django.utils.translation import gettext as _
from django.utils.translation import ngettext


def quantity_words(quantity: int, unit: str) -> str:
    """Return a quantity with its unit, such as 1,234 tokens."""
    if unit == "token":
        return ngettext("%(count)s token", "%(count)s tokens", quantity) % {"count": f"{quantity:,}"}
    if unit == "second":
        return ngettext("%(count)s second", "%(count)s seconds", quantity) % {"count": f"{quantity:,}"}
    return f"{quantity:,} {unit}".rstrip()


def per_words(unit_size: int, unit: str) -> str:
    """Return what a price is for, such as per million tokens."""
    if (unit_size, unit) == (1_000_000, "token"):
        return _("per million tokens")
    if (unit_size, unit) == (3_600, "second"):
        return _("per hour")
    return _("per %(quantity)s") % {"quantity": quantity_words(unit_size, unit)}
