"""Machines: where they are, what shapes they have, what they boot."""

from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


class LeaseClass(models.TextChoices):
    """How long capacity is promised, and with what notice it may be reclaimed."""

    RESERVED = "reserved", _("Reserved")
    ON_DEMAND = "on_demand", _("On demand")
    SURPLUS = "surplus", _("Surplus")

    @property
    def notice_seconds(self) -> int | None:
        """Seconds between a reclaim notice and its deadline; None: never reclaimed before its end date."""
        return {"surplus": 600, "on_demand": 86_400, "reserved": None}[self.value]

    @property
    def notice_in_words(self) -> str:
        match self:
            case LeaseClass.SURPLUS:
                return gettext("may be reclaimed with 10 minutes of notice")
            case LeaseClass.ON_DEMAND:
                return gettext("may be reclaimed with 24 hours of notice")
        return gettext("yours until its end date, by contract")


class Region(models.Model):
    """Where machines are."""

    name = models.SlugField(max_length=40, unique=True)  # us-west-1: what programs say
    description = models.CharField(max_length=120)  # Oregon, USA: what people read

    def __str__(self) -> str:
        return self.name


class InstanceType(models.Model):
    """A sellable machine shape, named <gpu|tpu|cpu>_<n>x_<model>[_<variant>]."""

    class Kind(models.TextChoices):
        GPU = "gpu", _("GPU")
        TPU = "tpu", _("TPU")
        CPU = "cpu", _("CPU")

    name = models.CharField(max_length=60, unique=True)
    kind = models.CharField(max_length=3, choices=Kind)
    description = models.CharField(max_length=200)
    accelerator = models.CharField(max_length=80, blank=True)  # "H100 SXM5"; empty for a CPU shape
    accelerator_count = models.PositiveIntegerField(default=0)
    accelerator_memory_gib = models.PositiveIntegerField(default=0)  # of one accelerator
    interconnect = models.CharField(max_length=80, blank=True)
    vcpus = models.PositiveIntegerField()
    memory_gib = models.PositiveIntegerField()
    storage_gib = models.PositiveIntegerField()
    is_listed = models.BooleanField(default=True)  # False: runs on where it runs, is not sold any more

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind="cpu", accelerator_count=0)
                | models.Q(accelerator_count__gt=0) & ~models.Q(kind="cpu"),
                name="instance_type_has_accelerators_unless_cpu",
            )
        ]

    def __str__(self) -> str:
        return self.name

    def sku(self, lease_class: LeaseClass) -> str:
        """Return the code of the SKU that meters this shape's seconds."""
        return f"instance.{self.name}.{lease_class.value}"


class Image(models.Model):
    """What an instance boots."""

    name = models.SlugField(max_length=60, unique=True)
    family = models.SlugField(max_length=40)
    version = models.CharField(max_length=20)
    description = models.CharField(max_length=200)
    # Kinds of instance types that can boot it.
    kinds = models.JSONField(default=list)
    is_listed = models.BooleanField(default=True)

    def __str__(self) -> str:
        return self.name
