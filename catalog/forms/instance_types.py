"""The list of instance types. Where they are free is known to compute, which passes it in."""

from collections.abc import Collection, Iterable, Mapping

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from catalog.forms.lists import ListForm
from catalog.models import InstanceType, LeaseClass, Region
from catalog.selectors import InstanceTypeRow
from portal.lib.money import NANO_PER_USD
from portal.lib.sorting import Column, sort_choices

INSTANCE_TYPE_COLUMNS = (
    Column("title", _("Instance type")),
    Column("memory", _("Accelerator memory"), is_number=True),
    Column("vcpus", _("vCPUs"), is_number=True),
    Column("price", _("Price per hour"), is_number=True),
)


class InstanceTypeListForm(ListForm[InstanceTypeRow]):
    FILTERS = ("kind", "min_memory", "lease_class", "max_price", "region")
    DEFAULT_SORT = "price"

    kind = forms.ChoiceField(label=_("Kind"), required=False, choices=[("", _("All")), *InstanceType.Kind.choices])
    min_memory = forms.TypedChoiceField(
        label=_("Memory of one"),
        required=False,
        coerce=int,
        empty_value=None,
        choices=[("", _("Any")), *((str(gib), _("From %s GiB") % gib) for gib in (32, 48, 80, 141, 180))],
    )
    lease_class = forms.ChoiceField(
        label=_("Lease class"),
        required=False,
        choices=[
            ("", LeaseClass.ON_DEMAND.label),
            (LeaseClass.SURPLUS.value, LeaseClass.SURPLUS.label),
            (LeaseClass.RESERVED.value, LeaseClass.RESERVED.label),
        ],
    )
    max_price = forms.TypedChoiceField(
        label=_("Price per hour"),
        required=False,
        coerce=int,
        empty_value=None,
        choices=[("", _("Any")), *((str(usd), _("Up to $%s") % usd) for usd in (1, 3, 10, 25))],
    )
    sort = forms.ChoiceField(label=_("Order"), required=False, choices=sort_choices(INSTANCE_TYPE_COLUMNS))

    def __init__(
        self,
        data: QueryDict,
        *,
        rows: Iterable[InstanceTypeRow],
        regions: Iterable[Region],
        free_in: Mapping[str, Collection[str]],
    ) -> None:
        """free_in: the names of the regions that have capacity, by name of the instance type."""
        super().__init__(data, rows=rows)
        self._free_in = free_in
        self.fields["region"] = forms.ChoiceField(
            label=_("Free in"),
            required=False,
            choices=[("", _("Any region")), *((region.name, region.description) for region in regions)],
        )

    @property
    def lease_class_value(self) -> str:
        return self.cleaned_data.get("lease_class") or LeaseClass.ON_DEMAND.value

    def matches(self, row: InstanceTypeRow) -> bool:
        kind, min_memory, _lease_class, max_price, region = (self.cleaned_data.get(name) for name in self.FILTERS)
        return (
            (not kind or row.kind == kind)
            and (min_memory is None or row.accelerator_memory_gib >= min_memory)
            and (max_price is None or self._price_nano(row) <= max_price * NANO_PER_USD)
            and (not region or region in self._free_in.get(row.name, ()))
        )

    def rank(self, row: InstanceTypeRow, key: str) -> tuple[int | str, str]:
        values: dict[str, int | str] = {
            "title": "",
            "memory": row.accelerator_memory_gib,
            "vcpus": row.vcpus,
            "price": self._price_nano(row),
        }
        return values[key], f"{row.accelerator.lower()} {row.accelerator_count:02}"

    def _price_nano(self, row: InstanceTypeRow) -> int:
        """Return the price per hour in the chosen lease class; what is not sold in it counts as dearest."""
        price = row.price_of(self.lease_class_value)
        return price.nano_per_hour if price else 2**63
