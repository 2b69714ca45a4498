"""What every request to a model came to: who, what, when, how much. Never what was said (P10)."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import ApiKey, Organization, Project, User
from catalog.models import ServedModel
from inference.models.deployment import Deployment
from portal.lib.public_ids import new_req_id


class ReceiptQuerySet(models.QuerySet["Receipt"]):
    def owned_by(self, organization: Organization) -> ReceiptQuerySet:
        return self.filter(organization=organization)

    def with_names(self) -> ReceiptQuerySet:
        """Bring along what a page or the API names."""
        return self.select_related("organization", "project", "api_key", "user", "served_model", "deployment")

    def newest_first(self) -> ReceiptQuerySet:
        return self.order_by("-requested_at", "-pk")


class Receipt(models.Model):
    """The metadata of one request that reached a deployment; append-only, found by its request id.

    The cost is the exact, unrounded price of the counted tokens; only hourly buckets and invoices round.
    """

    class Endpoint(models.TextChoices):
        CHAT_COMPLETIONS = "chat.completions", _("Chat completion")
        COMPLETIONS = "completions", _("Completion")
        EMBEDDINGS = "embeddings", _("Embedding")
        RESPONSES = "responses", _("Response")
        MESSAGES = "messages", _("Message")

    class Status(models.TextChoices):
        COMPLETED = "completed", _("Completed")
        EMPTY = "empty", _("Empty, free")  # the answer had no content
        CUT = "cut", _("Cut short")  # the upstream broke off; what was delivered is billed
        CANCELLED = "cancelled", _("Cancelled")  # the client went away; what was delivered is billed
        FAILED = "failed", _("Failed, free")  # nothing was delivered

    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.PROTECT, related_name="+")
    user = models.ForeignKey(User, null=True, on_delete=models.PROTECT, related_name="+")  # in the console
    request_id = models.CharField(max_length=32, unique=True, default=new_req_id, editable=False)
    endpoint = models.CharField(max_length=20, choices=Endpoint)
    served_model = models.ForeignKey(ServedModel, on_delete=models.PROTECT, related_name="+")
    deployment = models.ForeignKey(Deployment, null=True, on_delete=models.PROTECT, related_name="+")
    region_name = models.CharField(max_length=40, blank=True)
    status = models.CharField(max_length=12, choices=Status)
    finish_reason = models.CharField(max_length=40, blank=True)
    is_stream = models.BooleanField()
    requested_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    first_token_ms = models.PositiveIntegerField(null=True)  # since requested_at
    input_tokens = models.PositiveIntegerField()  # without the cached ones
    cached_input_tokens = models.PositiveIntegerField()
    output_tokens = models.PositiveIntegerField()
    # Public ids of the price versions that the cost was made with; empty where there was nothing to price.
    input_price_id = models.CharField(max_length=32, blank=True)
    cached_input_price_id = models.CharField(max_length=32, blank=True)
    output_price_id = models.CharField(max_length=32, blank=True)
    # Exact: token prices are whole nano-dollars per at most a billion tokens.
    cost_usd = models.DecimalField(max_digits=30, decimal_places=18)
    # Digests of the Idempotency-Key and of the body that came with it, with the server's pepper.
    idempotency_digest = models.BinaryField(null=True)
    body_digest = models.BinaryField(null=True)

    objects = ReceiptQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="receipt_organization_id"),
            models.UniqueConstraint(fields=["project", "idempotency_digest"], name="receipt_once_per_idempotency_key"),
            models.CheckConstraint(condition=Q(finished_at__gte=F("requested_at")), name="receipt_ends_after_it_began"),
            models.CheckConstraint(condition=Q(cost_usd__gte=0), name="receipt_cost_not_negative"),
            models.CheckConstraint(
                condition=Q(cost_usd=0) | ~Q(status__in=["empty", "failed"]), name="receipt_empty_and_failed_are_free"
            ),
            models.CheckConstraint(
                condition=Q(idempotency_digest=None, body_digest=None)
                | Q(idempotency_digest__isnull=False, body_digest__isnull=False),
                name="receipt_digests_come_together",
            ),
        ]
        indexes = [
            # The list of requests, newest first, and the same filtered by key.
            models.Index(fields=["organization", "-requested_at", "-id"], name="receipt_newest_first"),
            models.Index(fields=["organization", "api_key", "-requested_at", "-id"], name="receipt_of_key"),
        ]

    def __str__(self) -> str:
        return self.request_id

    @property
    def duration_ms(self) -> int:
        return (self.finished_at - self.requested_at) // timedelta(milliseconds=1)


class IdempotencyClaim(models.Model):
    """A request with an Idempotency-Key that is running now; its receipt takes its place when it ends.

    A claim outlives a killed gateway until `expires_at`, longer than any request may take.
    """

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    idempotency_digest = models.BinaryField()
    body_digest = models.BinaryField()
    request_id = models.CharField(max_length=32)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="idempotency_claim_organization_id"),
            models.UniqueConstraint(fields=["project", "idempotency_digest"], name="idempotency_claim_once_per_key"),
        ]

    def __str__(self) -> str:
        return self.request_id
