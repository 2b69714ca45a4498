"""Who an organization is on its invoices. Rules: docs/algorithms/tax.md."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization


class BillingDetailsQuerySet(models.QuerySet["BillingDetails"]):
    def owned_by(self, organization: Organization) -> BillingDetailsQuerySet:
        return self.filter(organization=organization)

    def unconfirmed(self) -> BillingDetailsQuerySet:
        """Those with a tax id that nobody asked its tax office about."""
        return self.exclude(tax_id="").filter(tax_id_confirmed_at=None)


class BillingDetails(models.Model):
    """What an organization says of itself for its invoices, and what staff have found out about it.

    It is copied onto every invoice at its issue; a change reaches later ones only.
    """

    organization = models.OneToOneField(Organization, on_delete=models.PROTECT, related_name="billing_details")
    legal_name = models.CharField(_("legal name"), max_length=160)
    address = models.TextField(_("address"), max_length=400)
    country = models.CharField(_("country"), max_length=2)
    tax_id = models.CharField(_("tax id"), max_length=32, blank=True, default="")
    purchase_order = models.CharField(_("purchase-order number"), max_length=60, blank=True, default="")
    # Beside the members who may manage billing.
    invoice_emails = ArrayField(models.EmailField(), default=list, blank=True)
    # What staff found out: that the tax office knows the id, and a certificate of exemption.
    tax_id_confirmed_at = models.DateTimeField(null=True, blank=True)
    exemption = models.CharField(max_length=60, blank=True, default="")
    changed_at = models.DateTimeField()

    objects = BillingDetailsQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("billing details"), _("billing details")
        permissions = [("confirm_tax_details", "Can confirm tax ids and exemptions")]
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="billing_details_organization_id"),
            models.CheckConstraint(
                condition=Q(tax_id_confirmed_at=None) | ~Q(tax_id=""), name="billing_details_confirmed_id_is_one"
            ),
            models.CheckConstraint(condition=Q(country__regex="^[A-Z]{2}$"), name="billing_details_country_code"),
        ]

    def __str__(self) -> str:
        return f"billing details of organization {self.organization_id}"

    @property
    def confirmed_tax_id(self) -> str:
        return self.tax_id if self.tax_id_confirmed_at is not None else ""
