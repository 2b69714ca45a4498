"""The files that invoices are computed again from, kept when the events that they were made of are gone."""

from __future__ import annotations

from django.db import models

from accounts.models import Organization
from billing.models.invoice import Invoice


class InvoiceFileQuerySet(models.QuerySet["InvoiceFile"]):
    def of_invoice(self, invoice: Invoice) -> InvoiceFileQuerySet:
        return self.filter(organization_id=invoice.organization_id, invoice=invoice)


class InvoiceFile(models.Model):
    """Where the file of an issued invoice is, and what it is known by; written once."""

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_index=False)
    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, related_name="kept_file")
    name = models.CharField(max_length=160, unique=True)  # in STORAGES["invoice_files"], compressed by gzip
    digest = models.CharField(max_length=64)  # SHA-256 of what a customer downloads, in hexadecimal
    size = models.BigIntegerField()  # of the same, in bytes
    made_at = models.DateTimeField()

    objects = InvoiceFileQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="invoice_file_organization_id"),
            models.CheckConstraint(condition=models.Q(size__gt=0), name="invoice_file_has_content"),
        ]

    def __str__(self) -> str:
        return self.name
