"""What a unit of a SKU costs ourselves, as finance enters it: for margins, never for bills."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from catalog.models import Sku


class SkuCost(models.Model):
    """A cost from a UTC month on, until that of a later month. Rows are only added: the newest of a month holds."""

    sku = models.ForeignKey(Sku, on_delete=models.PROTECT, related_name="+")
    from_month = models.DateField()  # its first day
    cost_nano = models.BigIntegerField()  # nano-dollars per unit_size units
    unit_size = models.BigIntegerField()
    entered_by = models.CharField(max_length=32)  # public id of a member of staff
    entered_at = models.DateTimeField()

    class Meta:
        verbose_name, verbose_name_plural = _("cost of a SKU"), _("revenue and margin")
        constraints = [
            models.CheckConstraint(condition=Q(cost_nano__gte=0, unit_size__gt=0), name="sku_cost_not_negative"),
            models.CheckConstraint(condition=Q(from_month__day=1), name="sku_cost_from_the_first_of_a_month"),
        ]

    def __str__(self) -> str:
        return f"{self.sku_id} from {self.from_month:%Y-%m} ({self.pk})"
