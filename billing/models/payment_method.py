"""Cards that an organization has let us keep, at the payment provider."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models import Organization, User
from portal.lib.public_ids import new_card_id


class PaymentMethodQuerySet(models.QuerySet["PaymentMethod"]):
    def owned_by(self, organization: Organization) -> PaymentMethodQuerySet:
        return self.filter(organization=organization)

    def of_organization(self, organization_id: int) -> PaymentMethodQuerySet:
        return self.filter(organization_id=organization_id)

    def usable(self) -> PaymentMethodQuerySet:
        """Those that can be charged, the default one first and then the newest."""
        return self.filter(removed_at=None, is_attached=True).order_by("-is_default", "-pk")

    def to_be_detached(self) -> PaymentMethodQuerySet:
        """Those that somebody removed and the provider still keeps."""
        return self.filter(removed_at__isnull=False, is_attached=True).order_by("pk")


class PaymentMethod(models.Model):
    """A card that the provider keeps for an organization. Of the card itself no more than this is here."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="payment_methods")
    public_id = models.CharField(max_length=32, unique=True, default=new_card_id, editable=False)
    stripe_payment_method_id = models.CharField(max_length=64, unique=True)
    brand = models.CharField(max_length=24)
    last_four = models.CharField(max_length=4)
    expires_month = models.PositiveSmallIntegerField()
    expires_year = models.PositiveSmallIntegerField()
    is_default = models.BooleanField(default=False)
    is_attached = models.BooleanField(default=True)  # at the provider, when it was last asked
    created_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True)  # a person removed it here: it never comes back
    removed_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    objects = PaymentMethodQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="payment_method_organization_id"),
            models.UniqueConstraint(
                fields=["organization"], condition=Q(is_default=True), name="payment_method_one_default"
            ),
            models.CheckConstraint(
                condition=Q(is_default=False) | Q(removed_at=None, is_attached=True),
                name="payment_method_default_can_be_charged",
            ),
            models.CheckConstraint(
                condition=Q(expires_month__gte=1, expires_month__lte=12), name="payment_method_expires_in_a_month"
            ),
        ]
        # What a job lets go at the provider.
        indexes = [
            models.Index(
                fields=["id"],
                condition=Q(removed_at__isnull=False, is_attached=True),
                name="payment_method_to_detach",
            )
        ]

    def __str__(self) -> str:
        return self.public_id
