"""Under which key the provider is asked for a row's object: made of the row, so that asking twice is asking once."""

from collections.abc import Iterator
from contextlib import contextmanager

from billing.gateways.payment_provider import ProviderTrouble
from billing.models import BillingAccount, Payment, Refund


@contextmanager
def renewing_key_of(asked_for: Payment | BillingAccount | Refund) -> Iterator[None]:
    """Let the next try use another key where the provider would answer this one with the same failure for a day."""
    try:
        yield
    except ProviderTrouble as error:
        if error.is_answer:
            rows = type(asked_for).objects.filter(pk=asked_for.pk, generation=asked_for.generation)
            rows.update(generation=asked_for.generation + 1)
        raise
