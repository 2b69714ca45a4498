"""What the component gallery shows: made-up values for every component, in every state."""

from datetime import UTC, datetime

from django import forms

from portal.lib.charts import StackedBars, stacked_bars

NANO = 1_000_000_000
STATES = (
    *("queued", "provisioning", "booting", "active", "unhealthy", "stopping"),
    *("stopped", "preempted", "failed", "terminating", "terminated"),
)
OTHER_STATES = (
    *("available", "limited", "unavailable", "revoked", "expired"),
    *("expiring", "past_due", "grace", "suspended", "disputed"),
)


class GalleryForm(forms.Form):
    """One field of every kind."""

    name = forms.CharField(label="Name", help_text="Letters, digits and hyphens.", max_length=40)
    limit = forms.DecimalField(label="Monthly limit, USD", required=False, min_value=0)
    region = forms.ChoiceField(label="Region", choices=[("eu-north-1", "Europe, north"), ("us-east-1", "US, east")])
    public_key = forms.CharField(
        label="Public key", widget=forms.Textarea(attrs={"rows": 2, "placeholder": "ssh-ed25519 AAAA…"})
    )
    scopes = forms.MultipleChoiceField(
        label="Scopes",
        help_text="Give a key no more than it needs.",
        choices=[("models:use", "Call models"), ("usage:read", "Read usage")],
        widget=forms.CheckboxSelectMultiple,
    )
    ends = forms.ChoiceField(
        label="Stop automatically",
        choices=[("4", "After 4 hours"), ("never", "Never")],
        widget=forms.RadioSelect,
    )
    agrees = forms.BooleanField(label="Stop at the limit", help_text="Calls are refused from then on.")


def context() -> dict[str, object]:
    """Return the gallery's template context."""
    return {
        "form": GalleryForm(auto_id="good_%s"),
        "wrong_form": GalleryForm({"name": "", "limit": "-1"}, auto_id="wrong_%s"),
        "states": STATES,
        "other_states": OTHER_STATES,
        "amount": 4844 * NANO + 940_000_000,
        "instant": datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC),
        "chart": _chart(),
    }


def _chart() -> StackedBars:
    """Return 30 days that look like somebody's month, the same on every call."""
    days = []
    for day in range(1, 31):
        swing = (day * day * 37) % 83
        amounts = {
            "Instances": (60 + swing) * NANO,
            "Models": (18 + day * 2 + swing // 3) * NANO,
            "Storage": (4 + day % 5) * NANO,
        }
        days.append((f"Nov {day}", amounts))
    return stacked_bars("Daily spend, November", days)
