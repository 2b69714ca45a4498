"""Models that the owner hosts and customers call."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class ServedModel(models.Model):
    """A model in the catalog; which upstreams serve it is inference's business."""

    class Kind(models.TextChoices):
        CHAT = "chat", _("Chat")
        EMBEDDING = "embedding", _("Embedding")

    class TokenKind(models.TextChoices):
        INPUT = "input", _("Input tokens")
        CACHED_INPUT = "cached_input", _("Cached input tokens")
        OUTPUT = "output", _("Output tokens")

    name = models.CharField(max_length=120, unique=True)  # what programs say, e.g. llama-3.3-70b-instruct
    title = models.CharField(max_length=120)
    publisher = models.CharField(max_length=80)
    kind = models.CharField(max_length=20, choices=Kind)
    description = models.TextField()
    license_name = models.CharField(max_length=80)
    context_length = models.PositiveIntegerField()  # tokens, prompt and completion together
    max_output_tokens = models.PositiveIntegerField(default=0)
    # What a request that names no limit may produce, so that its worst case is known.
    default_output_tokens = models.PositiveIntegerField(default=0)
    quantization = models.CharField(max_length=20, blank=True)
    released_on = models.DateField(null=True, blank=True)
    is_listed = models.BooleanField(default=True)

    def __str__(self) -> str:
        return self.name

    def sku(self, kind: TokenKind) -> str:
        """Return the code of the SKU that meters this model's tokens of that kind."""
        return f"model.{self.name}.{kind.value}"
