"""The list of models."""

from collections.abc import Iterable

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from catalog.forms.lists import ListForm
from catalog.models import ServedModel
from catalog.selectors import ServedModelRow
from portal.lib.sorting import Column, sort_choices

# The price filter counts thousandths of a dollar, so that its values are whole numbers.
NANO_PER_THOUSANDTH = 1_000_000
MODEL_COLUMNS = (
    Column("title", _("Model")),
    Column("kind", _("Kind")),
    Column("context", _("Context"), is_number=True),
    Column("input", _("Input"), is_number=True),
    Column("output", _("Output"), is_number=True),
)


class ModelListForm(ListForm[ServedModelRow]):
    FILTERS = ("kind", "publisher", "max_input", "min_context")
    DEFAULT_SORT = "title"

    kind = forms.ChoiceField(label=_("Kind"), required=False, choices=[("", _("All")), *ServedModel.Kind.choices])
    max_input = forms.TypedChoiceField(
        label=_("Input price"),
        required=False,
        coerce=int,
        empty_value=None,
        choices=[("", _("Any")), ("50", _("Up to $0.05")), ("100", _("Up to $0.10")), ("250", _("Up to $0.25"))],
    )
    min_context = forms.TypedChoiceField(
        label=_("Context"),
        required=False,
        coerce=int,
        empty_value=None,
        choices=[
            ("", _("Any")),
            ("32768", _("From 32,768 tokens")),
            ("131072", _("From 131,072 tokens")),
            ("262144", _("From 262,144 tokens")),
        ],
    )
    sort = forms.ChoiceField(label=_("Order"), required=False, choices=sort_choices(MODEL_COLUMNS))

    def __init__(self, data: QueryDict, *, rows: Iterable[ServedModelRow]) -> None:
        super().__init__(data, rows=rows)
        publishers = sorted({row.publisher for row in self._rows})
        self.fields["publisher"] = forms.ChoiceField(
            label=_("Publisher"), required=False, choices=[("", _("All")), *((name, name) for name in publishers)]
        )

    def matches(self, row: ServedModelRow) -> bool:
        kind, publisher, max_input, min_context = (self.cleaned_data.get(name) for name in self.FILTERS)
        return (
            (not kind or row.kind == kind)
            and (not publisher or row.publisher == publisher)
            and (max_input is None or row.input_nano <= max_input * NANO_PER_THOUSANDTH)
            and (min_context is None or row.context_length >= min_context)
        )

    def rank(self, row: ServedModelRow, key: str) -> tuple[int | str, str]:
        values: dict[str, int | str] = {
            "title": "",
            "kind": row.kind,
            "context": row.context_length,
            "input": row.input_nano,
            "output": row.output_nano,
        }
        return values[key], row.title.lower()
