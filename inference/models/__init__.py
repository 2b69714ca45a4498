"""Who serves the models, and what every request came to."""

from inference.models.deployment import Deployment
from inference.models.receipt import IdempotencyClaim, Receipt

__all__ = ["Deployment", "IdempotencyClaim", "Receipt"]
