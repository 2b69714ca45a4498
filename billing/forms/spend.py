"""What the address of the spend page may say."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from billing.selectors import Grouping, Range
from billing.selectors.center_spend import GROUPINGS

# A cost center may be called anything, so those that have a name say that they do.
_IS = "is:"
_NONE = "none"


class SpendForm(forms.Form):
    """The span and the grouping of the spend page, and which cost center it is of; what is missing has a default.

    centers: those that there are. Without any the page asks for none, and every spend is without.
    """

    range = forms.ChoiceField(label=_("Range"), choices=Range.choices)
    by = forms.ChoiceField(label=_("By"), choices=Grouping.choices)

    def __init__(self, query: QueryDict, centers: Sequence[str]) -> None:
        super().__init__({"range": Range.THIRTY_DAYS.value, "by": Grouping.PRODUCT.value} | query.dict())
        self.centers = centers
        known = [(f"{_IS}{center}", center) for center in centers]
        choices = [("", _("All")), *known, (_NONE, _("Without one"))]
        self.fields["center"] = forms.ChoiceField(label=_("Cost center"), choices=choices, required=False)

    def clean(self) -> dict[str, Any]:
        chosen: dict[str, Any] = super().clean() or {}
        if chosen.get("center") and chosen.get("by", GROUPINGS[0]) not in GROUPINGS:
            self.add_error("by", _("Of one cost center, spend is shown by product or project."))
        return chosen

    def chosen_range(self) -> Range:
        return Range(self.cleaned_data.get("range", Range.THIRTY_DAYS))

    def chosen_grouping(self) -> Grouping:
        return Grouping(self.cleaned_data.get("by", Grouping.PRODUCT))

    def chosen_center(self) -> str | None:
        """Return the cost center that the page is of, "" for what has none, None for everything."""
        chosen: str = self.cleaned_data.get("center", "")
        return chosen.removeprefix(_IS) if chosen.startswith(_IS) else "" if chosen == _NONE else None


class AnomalyMailsForm(forms.Form):
    """Whether members are mailed of unusual days."""

    is_on = forms.BooleanField(required=False)
