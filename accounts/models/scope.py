"""What keys may do."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Scope(models.TextChoices):
    INFERENCE = "inference", _("Call models")
    INSTANCES_READ = "instances:read", _("See instances")
    INSTANCES_WRITE = "instances:write", _("Launch and end instances")
    USAGE_READ = "usage:read", _("See usage and receipts")
    BILLING_READ = "billing:read", _("See spend and invoices")
    KEYS_WRITE = "keys:write", _("Create and revoke keys")
    WEBHOOKS_WRITE = "webhooks:write", _("Manage webhooks")
    AUDIT_READ = "audit:read", _("See the audit log")
