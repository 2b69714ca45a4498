"""Tags as people type them."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from billing.models import CostTags


class CostTagsForm(forms.Form):
    """A cost center, and other tags: one in a line, as key=value."""

    cost_center = forms.CharField(
        label=_("Cost center"),
        required=False,
        max_length=80,
        help_text=_("As your own books call it, such as 4711. Spend pages and invoices add up by it."),
    )
    tags = forms.CharField(
        label=_("Other tags"),
        required=False,
        max_length=2_600,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=_("One in a line, such as team=search. Exports have them."),
    )

    def __init__(self, data: Mapping[str, Any] | None, *, tags: Mapping[str, str] | None = None) -> None:
        rest = dict(tags or {})
        center = rest.pop(CostTags.COST_CENTER, "")
        lines = "\n".join(f"{key}={value}" for key, value in sorted(rest.items()))
        super().__init__(data, initial={"cost_center": center, "tags": lines})

    def clean_tags(self) -> dict[str, str]:
        tags: dict[str, str] = {}
        for line in filter(None, map(str.strip, self.cleaned_data["tags"].splitlines())):
            key, equals, value = (part.strip() for part in line.partition("="))
            if not equals:
                raise forms.ValidationError(_("%(line)s has no = in it."), params={"line": line[:40]})
            if key == CostTags.COST_CENTER:
                raise forms.ValidationError(_("The cost center has a field of its own."))
            if key in tags:
                raise forms.ValidationError(_("%(key)s is there twice."), params={"key": key[:40]})
            tags[key] = value
        return tags

    def chosen(self) -> dict[str, str]:
        """Return all tags that were typed."""
        center, tags = self.cleaned_data["cost_center"], dict[str, str](self.cleaned_data["tags"])
        return tags | ({CostTags.COST_CENTER: center} if center else {})
