"""What the lists of models and of instance types have in common."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

MAXIMUM_COMPARED = 4


class Row(Protocol):
    """A row that can be sorted and compared."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...


class ListForm[R: Row](forms.Form):
    """A subclass adds its filters as fields, says which rows they let through and how rows are ranked."""

    FILTERS: Sequence[str] = ()
    DEFAULT_SORT = ""

    def __init__(self, data: QueryDict, *, rows: Iterable[R]) -> None:
        super().__init__(data)
        self._rows = list(rows)
        self.fields["compare"] = forms.MultipleChoiceField(
            required=False, choices=[(row.name, row.title) for row in self._rows]
        )

    def clean_compare(self) -> list[str]:
        names: list[str] = self.cleaned_data["compare"]
        if len(names) > MAXIMUM_COMPARED:
            raise ValidationError(_("Four fit side by side: take one away before you choose another."))
        return names

    @property
    def sort_value(self) -> str:
        return self.cleaned_data.get("sort") or self.DEFAULT_SORT

    def filters(self) -> list[forms.BoundField]:
        return [self[name] for name in (*self.FILTERS, "sort")]

    def matching(self) -> list[R]:
        """Return the rows that the filters let through, in the order asked for; a wrong filter filters nothing."""
        rows = [row for row in self._rows if self.matches(row)]
        key = self.sort_value.removeprefix("-")
        return sorted(rows, key=lambda row: self.rank(row, key), reverse=self.sort_value.startswith("-"))

    def matches(self, row: R) -> bool:
        raise NotImplementedError

    def rank(self, row: R, key: str) -> tuple[int | str, str]:
        """Return what to sort the row by in the column `key`, and then its title, so that no order is by chance."""
        raise NotImplementedError

    def compared(self) -> list[R]:
        """Return the rows to show side by side, in the order of the list."""
        names = set(self.cleaned_data.get("compare") or ())
        return [row for row in self._rows if row.name in names]
