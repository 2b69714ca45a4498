"""Answers kept for a day, so that a program may repeat a creating request without creating twice."""

from __future__ import annotations

from django.db import models

from accounts.models.organization import Organization


class KeptAnswer(models.Model):
    """What a creating request with an Idempotency-Key answered, readable only to the API key that asked."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    route = models.CharField(max_length=300)  # method and path, such as POST /api/v1/keys
    key = models.CharField(max_length=255)
    claim = models.UUIDField()  # whose row it is, of several requests that came at once
    body_digest = models.BinaryField()  # SHA-256 of the request's body
    status = models.PositiveSmallIntegerField(null=True)
    content_type = models.CharField(max_length=100)
    # Encrypted under a key derived from the caller's secret, which we do not have: it may hold a new secret.
    body = models.BinaryField()
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="kept_answer_organization_id"),
            models.UniqueConstraint(fields=["organization", "route", "key"], name="kept_answer_once_per_key"),
        ]
        # The sweep forgets by age.
        indexes = [models.Index(fields=["created_at"], name="kept_answer_created_at")]

    def __str__(self) -> str:
        return f"{self.route} {self.key}"
