"""What the address of the spend page may say."""

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from billing.selectors import Grouping, Range


class SpendForm(forms.Form):
    """The span and the grouping of the spend page; what is missing has a default."""

    range = forms.ChoiceField(label=_("Range"), choices=Range.choices)
    by = forms.ChoiceField(label=_("By"), choices=Grouping.choices)

    def __init__(self, query: QueryDict) -> None:
        super().__init__({"range": Range.THIRTY_DAYS.value, "by": Grouping.PRODUCT.value} | query.dict())

    def chosen_range(self) -> Range:
        return Range(self.cleaned_data.get("range", Range.THIRTY_DAYS))

    def chosen_grouping(self) -> Grouping:
        return Grouping(self.cleaned_data.get("by", Grouping.PRODUCT))


class AnomalyMailsForm(forms.Form):
    """Whether members are mailed of unusual days."""

    is_on = forms.BooleanField(required=False)
