"""Public keys that customers log in with."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization, User
from portal.lib.public_ids import new_ssh_id


class SshKeyQuerySet(models.QuerySet["SshKey"]):
    def owned_by(self, organization: Organization) -> SshKeyQuerySet:
        return self.filter(organization=organization)

    def by_name(self) -> SshKeyQuerySet:
        return self.order_by("name", "pk")


class SshKey(models.Model):
    """A public key of an organization, stored only as we encoded it ourselves: no options, no foreign bytes."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="ssh_keys")
    public_id = models.CharField(max_length=32, unique=True, default=new_ssh_id, editable=False)
    name = models.CharField(_("name"), max_length=80)
    public_key = models.TextField()  # "ssh-ed25519 AAAA…", without options and comment
    fingerprint = models.CharField(max_length=60)  # SHA256:…, as ssh-keygen -l prints it
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField()

    objects = SshKeyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="ssh_key_organization_id"),
            models.UniqueConstraint(fields=["organization", "name"], name="ssh_key_name_once_per_organization"),
            models.UniqueConstraint(fields=["organization", "fingerprint"], name="ssh_key_once_per_organization"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint})"
